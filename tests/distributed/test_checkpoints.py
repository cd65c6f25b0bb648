"""Checkpoints of two real processes, on four devices each, in one folder."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name("checkpoint_worker.py")


def start(folder, acts, *, devices, count=1, index=0, port=0):
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    return subprocess.Popen(
        [sys.executable, str(WORKER), *map(str, (port, count, index, folder)), *acts],
        cwd=WORKER.parents[2],
        env=os.environ | {"XLA_FLAGS": flags, "NPROC": "32"},  # see job.join
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """What the acts found, and what was said on the way."""
    output, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    lines = [json.loads(line) for line in output.splitlines() if line.startswith('["')]
    return [found for _, found in lines], [s for s in said.splitlines() if s.startswith("mlstm:")]


def alone(folder, devices, *acts):
    return finish(start(folder, acts, devices=devices))


def both(folder, *acts):
    """By two processes: what each of them found, and what each said."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = [
        start(folder, acts, devices=4, count=2, index=index, port=port) for index in range(2)
    ]
    try:
        (first, said), (second, also) = map(finish, together)
    finally:
        for process in together:
            process.kill()
    return first, second, said, also


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with steps 1 and 2, saved by two processes."""
    folder = tmp_path_factory.mktemp("saved")
    first, second, said, also = both(folder, "save:run:1:2")
    assert first == second == [[True, True, True]]
    assert said == also == []
    return folder


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def test_what_two_processes_saved_two_restore_bitwise_and_find_damage_alike(saved, tmp_path):
    for name in ("whole", "flipped", "unread", "no rights", "no disk", "bad", "amended"):
        shutil.copytree(saved / "run", tmp_path / name)
    written_by_the_second = max((tmp_path / "flipped" / "2").rglob("ocdbt.process_1/d/*"))
    flip(written_by_the_second)
    acts = ["restore:whole", "restore:flipped", "unreadable:unread:1:damaged"]
    acts += ["unreadable:no rights:1:rights", "unreadable:no disk:1:disk", "restore:no disk"]
    acts += ["bad_sector:bad", "amend:amended:1", "save:whole:3"]
    first, second, said, also = both(tmp_path, *acts)
    on_the_first = [2, True, True], [1, True, True], [1, True, True]
    assert first[:3] == second[:3] == list(on_the_first)
    assert first[3].startswith("Unreadable: process 1: ")
    assert "Permission denied" in first[3]
    assert "Permission denied" in second[3]
    assert first[4:] == second[4:]
    assert first[4:6] == [[1, True, True], [2, True, True]]
    assert first[6] == [1, True, True, [2, True, True]]
    assert first[7:] == [[True, 1, {"at": "later"}, True], [True, True]]
    assert also == []
    assert len(said) == 5
    name = written_by_the_second.relative_to(tmp_path / "flipped" / "2").as_posix()
    assert f"is damaged ({name} has other bytes than were written)" in said[0]
    assert "2.damaged" in os.listdir(tmp_path / "flipped")
    assert "is damaged (process 1: " in said[1]
    assert "no disk/2 is left as it is (process 1: " in said[2]
    assert "bad/2 is left as it is (" in said[3]
    assert "bad/2 could not be read; set aside as 2.damaged, saved anew" in said[4]
    assert sorted(os.listdir(tmp_path / "no rights")) == ["1", "2"]
    assert sorted(os.listdir(tmp_path / "no disk")) == ["1", "2"]
    assert sorted(os.listdir(tmp_path / "bad")) == ["1", "2", "2.damaged"]
    assert sorted(os.listdir(tmp_path / "whole")) == ["1", "2", "3"]


@pytest.mark.slow
def test_a_process_that_cannot_begin_a_save_fails_it_for_all_and_the_next_is_good(tmp_path):
    """Where it is the first, the others find out when the time of the save is over."""
    acts = ["no_memory:second:1:60", "no_memory:first:0:4"]
    first, second, said, also = both(tmp_path, *acts)
    assert first == second == [[False, [], True, True, [2]]] * 2
    assert [line.partition(": MemoryError")[0] for line in said] == [
        f"mlstm: checkpoint of step 1 was NOT saved: process {process}" for process in (1, 0)
    ]
    assert also == []


@pytest.mark.parametrize(
    "devices",
    [8, 1, pytest.param(4, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)],
)
def test_what_two_processes_saved_one_restores_bitwise_on_fewer_devices(saved, devices):
    assert alone(saved, devices, "restore:run") == ([[2, True, True]], [])


def test_what_one_process_saved_two_restore_bitwise(tmp_path):
    assert alone(tmp_path, 2, "save:run:1:2") == ([[True, True, True]], [])
    first, second, said, also = both(tmp_path, "restore:run")
    assert first == second == [[2, True, True]]
    assert said == also == []


def test_a_process_that_cannot_write_fails_the_save_for_all_once_and_the_next_is_good(tmp_path):
    """In the second process, in the first, and in the first before anything is begun."""
    acts = ["full:second:1:20000", "full:first:0:20000", "full:nothing:0:100"]
    first, second, said, also = both(tmp_path, *acts)
    assert first == second == [[False, [], True, True, [2], ["2"]]] * 3
    assert also == []
    assert len(said) == 3
    for line, process in zip(said, (1, 0, 0), strict=True):
        assert f"step 1 was NOT saved: process {process}: " in line
        assert "File too large" in line
        assert line.endswith("training goes on")
