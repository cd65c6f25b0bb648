import shutil
import subprocess
import sys

import numpy as np
import pytest


@pytest.fixture
def run(trained_run, tmp_path):
    return shutil.copytree(trained_run, tmp_path / "run")


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_run_s_checkpoints_are_listed(launch, run):
    (run / "checkpoints" / "3.orbax-checkpoint-tmp").mkdir()
    result = launch("checkpoint", f"--workdir={run}")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.decode().splitlines()
    assert lines[0] == str(run / "checkpoints")
    assert [line.split()[0] for line in lines[2:]] == ["1", "2", "3.orbax-checkpoint-tmp"]
    assert [line.split()[-1] for line in lines[2:]] == ["listed", "listed", "unfinished"]
    assert result.stderr == b""


def test_verify_ends_with_4_where_something_is_damaged_and_repair_mends_it(launch, run):
    assert launch("checkpoint", f"--workdir={run}", "--verify").stdout == b"1: good\n2: good\n"
    flip(run / "checkpoints" / "2" / "training" / "_METADATA")
    result = launch("checkpoint", f"--workdir={run}", "--verify")
    assert result.returncode == 4, result.stderr
    fault = "2: DAMAGED (training/_METADATA has other bytes than were written)"
    assert result.stdout.decode().splitlines() == ["1: good", fault]
    assert result.stderr == b""
    assert launch("checkpoint", f"--workdir={run}", "--verify", "--step=1").returncode == 0
    planned = launch("checkpoint", f"--workdir={run}", "--repair", "--dry_run")
    assert planned.stdout.startswith(b"2: would be set aside as 2.damaged")
    done = launch("checkpoint", f"--workdir={run}", "--repair")
    assert done.stdout == planned.stdout.replace(b"would be ", b"")
    assert (done.returncode, done.stderr) == (0, b"")
    result = launch("checkpoint", f"--workdir={run}", "--verify")
    assert (result.returncode, result.stdout) == (0, b"1: good\n")


def test_checkpoints_that_are_no_folder_are_one_line_and_exit_code_2(launch, run):
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").write_text("")
    for flags in ([], ["--verify"], ["--repair"]):
        result = launch("checkpoint", f"--workdir={run}", *flags)
        assert (result.returncode, result.stdout) == (2, b"")
        assert result.stderr.count(b"\n") == 1
        assert b"it is no folder" in result.stderr


BAD_SECTOR = """
import errno
from launch import checkpoint
from mlstm import checkpoint_files

def fail(path):
    raise OSError(errno.EIO, "Input/output error", str(path))

checkpoint_files._sha256 = fail
checkpoint.run()
"""


def test_verify_ends_with_4_where_something_cannot_be_read(run):
    command = [sys.executable, "-c", BAD_SECTOR, f"--workdir={run}", "--verify"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 4, result.stderr
    one, two = result.stdout.splitlines()
    assert one.startswith("1: UNREADABLE (")
    assert two.startswith("2: UNREADABLE (")


def test_parameters_are_exported(launch, run, tmp_path):
    file = tmp_path / "out" / "model.npz"
    result = launch("checkpoint", f"--workdir={run}", f"--export={file}", "--step=best")
    assert result.returncode == 0, result.stderr
    assert result.stdout.decode() == f"{file}: the parameters of step 2, and the config\n"
    with np.load(file, allow_pickle=False) as arrays:
        assert arrays["layers/0/wmx"].shape == (4, 8)
        assert '"hidden": 8' in str(arrays["config"])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--workdir=nowhere"], "no such folder"),
        (["--workdir=gs://bucket/run"], "paths are local"),
        (["--verify", "--repair"], "one at a time"),
        (["--dry_run"], "--dry_run goes with --repair"),
        (["--export=x.npz"], "--export needs --step"),
        (["--step=1"], "--step goes with --verify or --export"),
        (["--verify", "--step=best"], "--step=best: it is a whole number"),
        (["--verify", "--step=7"], "no checkpoint of step 7; there are 1, 2"),
        (["--export=x.npz", "--step=7"], "no checkpoint of step 7; there are 1, 2"),
        (["--export=x.npz", "--step=newest"], '--step=newest: it is a whole number, or "best"'),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(launch, trained_run, flags, words):
    result = launch("checkpoint", f"--workdir={trained_run}", *flags)
    assert result.returncode == 2, result.stderr
    assert result.stderr.count(b"\n") == 1
    assert words in result.stderr.decode()
