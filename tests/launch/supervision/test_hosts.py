"""launch.node on several hosts: here several supervisors on one, which share a workdir."""

import contextlib
import dataclasses
import json
import os
import signal
import socket
import sys
import threading
import time

import pytest

from launch.supervision import leader as leaders
from launch.supervision import notes
from launch.supervision.asked import Asked
from launch.supervision.codes import CRASH, Ended, Verdict
from launch.supervision.follower import Follower
from launch.supervision.leader import Leader
from launch.supervision.settings import Settings
from launch.supervision.terminal import Terminal
from mlstm.errors import InputError
from mlstm.output import write_whole

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
WAITS = [["checkpoint 1", "wait"], ["exit 0"]]


@pytest.fixture
def hosts(job):
    """hosts(scenario, nodes) -> the job, and a function that starts the supervisor of a node."""

    def make(scenario, number=2):
        run = job(scenario)
        with socket.socket() as probe:
            probe.bind(("", 0))
            port = min(probe.getsockname()[1], 65000)

        def node(rank, *flags, **settings):
            place = [f"--nodes={number}", f"--node_rank={rank}", f"--coordinator=127.0.0.1:{port}"]
            bounds = ["--processes=2", "--node_timeout=30", "--start_timeout=30"]
            return run.start(*place, *bounds, *flags, **settings)

        return run, node

    return make


def tokens(events):
    return {event["flags"]["attempt"] for event in events}


def test_all_hosts_run_the_same_attempt_to_its_end(hosts):
    run, node = hosts({"*": [["exit 0"]]}, 3)
    nodes = [node(rank) for rank in (2, 0, 1)]
    for each in nodes:
        said = run.finish(each)
        assert each.returncode == 0, said
    started = run.events("start")
    assert sorted(int(e["flags"]["process_id"]) for e in started) == list(range(6))
    assert {e["flags"]["num_processes"] for e in started} == {"6"}
    assert len(tokens(started)) == 1
    assert sorted(p.name for p in (run.workdir / "logs").iterdir())[5] == "rank-5.log"


@pytest.mark.parametrize("killed", [0, 3])
def test_a_rank_killed_on_either_host_starts_both_again_in_one_new_attempt(hosts, killed):
    run, node = hosts({"*": WAITS, "1": [["wait"], ["exit 0"]], "2": [["wait"], ["exit 0"]],
                       "3": [["wait"], ["exit 0"]]})  # fmt: skip
    nodes = [node(0), node(1)]
    first = run.started(4)
    (victim,) = [e["pid"] for e in first if e["rank"] == killed]
    os.kill(victim, signal.SIGKILL)
    told = [run.finish(each) for each in nodes]
    assert [each.returncode for each in nodes] == [0, 0], told
    assert f"rank {killed} ended by SIGKILL" in told[0]
    again = run.events("start")[4:]
    assert sorted(e["rank"] for e in again) == [0, 1, 2, 3]
    assert len(tokens(again)) == 1
    assert tokens(again) != tokens(first)
    assert len({e["flags"]["coordinator"] for e in again} | {first[0]["flags"]["coordinator"]}) == 2


@pytest.mark.parametrize("crashes", ["0", "3"])
def test_no_rank_of_an_attempt_is_alive_once_the_next_has_begun(hosts, crashes):
    deaf = ["ignore", "sleep 600"]
    run, node = hosts(
        {
            "*": [deaf, deaf, ["exit 0"]],
            crashes: [["meet 4", "kill 9"], ["meet 8", "kill 9"], ["exit 0"]],
        }
    )
    nodes = [node(0), node(1)]
    gang = run.workdir / ".gang" / "gang.json"
    for attempt in (1, 2):
        before = [e["pid"] for e in run.started(4 * attempt)[4 * (attempt - 1) :]]

        def next_is_open(attempt=attempt):
            word = json.loads(gang.read_text())
            return word["state"] != "waiting" and word["attempt"] > attempt

        run.until(next_is_open)
        assert [pid for pid in before if run.alive(pid)] == []
    told = [run.finish(each) for each in nodes]
    assert [each.returncode for each in nodes] == [0, 0], told
    assert len(run.events("start")) == 12


@pytest.mark.parametrize("told", [0, 1])
def test_a_host_that_is_told_to_stop_stops_all_and_each_ends_with_42(hosts, told):
    run, node = hosts({"*": [["wait"]]})
    nodes = [node(0), node(1)]
    run.started(4)
    nodes[told].send_signal(signal.SIGTERM)
    said = [run.finish(each) for each in nodes]
    assert [each.returncode for each in nodes] == [42, 42], said
    assert len(run.events("start")) == 4


@pytest.mark.parametrize("dies", [0, 1])
def test_a_supervisor_that_is_killed_ends_the_others_within_the_bound(hosts, dies):
    run, node = hosts({"*": [["ignore", "sleep 600"]]})
    nodes = [node(rank, "--node_timeout=4") for rank in (0, 1)]
    started = run.started(4)
    nodes[dies].kill()
    said = run.finish(nodes[1 - dies])
    assert nodes[1 - dies].returncode == 1
    assert f"node {dies} has not been heard of for 4 s" in said
    run.until(lambda: not any(run.alive(e["pid"]) for e in started))
    assert len(run.events("start")) == 4


def test_a_supervisor_that_gives_up_or_is_told_to_stop_while_it_waits_ends_the_job(hosts):
    run, node = hosts({"*": [["exit 0"]]}, 3)
    nodes = [node(0), node(1)]
    gang = run.workdir / ".gang" / "gang.json"
    run.until(lambda: gang.exists() and json.loads(gang.read_text())["members"][1])
    nodes[1].send_signal(signal.SIGTERM)
    said = [run.finish(each) for each in nodes]
    assert [each.returncode for each in nodes] == [42, 42], said
    assert "node 1 left: SIGTERM" in said[0]
    assert run.events("start") == []


def test_a_host_that_is_killed_by_a_second_signal_ends_the_job(hosts):
    run, node = hosts({"*": [["ignore", "say deaf", "sleep 600"]]})
    nodes = [node(0), node(1)]
    run.started(4)
    run.until(lambda: all("deaf" in run.log(rank) for rank in range(4)))
    nodes[1].send_signal(signal.SIGTERM)
    note = run.workdir / ".gang" / "node-1.json"
    run.until(lambda: json.loads(note.read_text())["stop"] == "SIGTERM")
    nodes[1].send_signal(signal.SIGTERM)
    said = [run.finish(each) for each in nodes]
    assert [each.returncode for each in nodes] == [1, 143], said
    assert "node 1 left: a second SIGTERM" in said[0]
    assert not any(run.alive(e["pid"]) for e in run.events("start"))


def test_bad_input_on_one_host_ends_all_with_2(hosts):
    run, node = hosts({"*": [["ignore", "sleep 600"]], "3": [["say no such file", "exit 2"]]})
    nodes = [node(0, "--grace=1"), node(1, "--grace=1")]
    said = [run.finish(each) for each in nodes]
    assert [each.returncode for each in nodes] == [2, 2], said
    assert "no such file" in said[1]
    assert [e["rank"] for e in run.events("start")].count(3) == 1


def test_a_crash_loop_ends_all_with_1(hosts):
    run, node = hosts({"*": [["exit 0"]], "2": [["exit 1"]]})
    nodes = [node(0, "--fruitless=2"), node(1, "--fruitless=2")]
    said = [run.finish(each) for each in nodes]
    assert [each.returncode for each in nodes] == [1, 1], said
    assert "2 attempts in a row without any checkpoint" in said[0]
    assert "node 1: rank 2 ended by exit code 1" in said[0]
    assert "giving up" in said[1]
    assert [e["rank"] for e in run.events("start")].count(2) == 2


def test_files_of_an_earlier_job_are_ignored_but_for_the_number_of_its_attempts(hosts):
    run, node = hosts({"*": [["exit 0"]]})
    gang = run.workdir / ".gang"
    gang.mkdir()
    old = {"job": "old", "members": [None, "old"], "attempt": 6, "token": "old", "beat": 9,
           "coordinator": "127.0.0.1:1", "code": 2, "why": "old"}  # fmt: skip
    for state, left in (("ended", "left"), ("running", "up"), ("waiting", "down")):
        (gang / "gang.json").write_text(json.dumps(old | {"state": state}))
        theirs = {"id": "old", "job": "old", "state": left, "code": 3, "why": "old", "beat": 1}
        (gang / "node-1.json").write_text(json.dumps(theirs))
        before = len(run.events("start"))
        nodes = [node(1)]
        time.sleep(0.7)  # it looks at the old word for a while
        nodes.append(node(0))
        said = [run.finish(each) for each in nodes]
        assert [each.returncode for each in nodes] == [0, 0], said
        started = run.events("start")[before:]
        assert len(started) == 4
        assert tokens(started) & {"old"} == set()
        assert "attempt 7 " in run.log(3)


def test_a_supervisor_that_still_waits_for_an_earlier_job_does_not_disturb_the_next(hosts):
    run, node = hosts({"*": [["ignore", "sleep 600"], ["exit 0"]]})
    earlier = [node(0), node(1)]
    run.started(4)
    earlier[0].kill()
    later = [node(0), node(1)]
    said = [run.finish(each) for each in (*later, earlier[1])]
    assert [each.returncode for each in later] == [0, 0], said
    assert earlier[1].returncode == 1
    assert "another job has begun" in said[2]


def test_a_host_told_to_stop_when_its_own_ranks_are_done_lets_the_others_end(hosts):
    run, node = hosts({"*": [["wait"]], "2": [["exit 0"]], "3": [["exit 0"]]})
    nodes = [node(0), node(1)]
    run.started(4)
    note = run.workdir / ".gang" / "node-1.json"
    run.until(lambda: json.loads(note.read_text())["state"] == "down")
    nodes[1].send_signal(signal.SIGTERM)
    said = [run.finish(each) for each in nodes]
    assert [each.returncode for each in nodes] == [42, 42], said
    assert len(run.events("exit 42")) == 2


def test_a_job_gives_way_to_another_that_begins_in_its_workdir(hosts):
    run, node = hosts({"*": [["ignore", "sleep 600"]]})
    earlier = [node(0), node(1)]
    first = run.started(4)
    later = node(0, "--start_timeout=2")
    said = [run.finish(each) for each in (*earlier, later)]
    assert [each.returncode for each in (*earlier, later)] == [1, 1, 1], said
    for words in said[:2]:
        assert "another job has begun" in words
    assert not any(run.alive(e["pid"]) for e in first)


@pytest.fixture
def leader(tmp_path):
    """leader(note) -> node 0 of two, where `note` was in WORKDIR/.gang/node-1.json before."""
    given = Settings(
        workdir=tmp_path, logs=tmp_path, program=[], processes=1, by_gpu=False, nodes=2,
        node_rank=0, host="a", port=1, max_restarts=0, fruitless=1, heartbeat=1,
        start_timeout=1, grace=1, node_timeout=9,
    )  # fmt: skip
    (tmp_path / ".gang").mkdir()

    def make(note=None, **settings):
        if note:
            write(note)
        return Leader(dataclasses.replace(given, **settings), Asked(), terminal), write

    def write(note):
        write_whole(tmp_path / ".gang" / "node-1.json", json.dumps(note))

    with Terminal("node") as terminal:
        yield make


NEW = {"id": "x", "job": None, "state": "up", "processes": 1, "beat": 1}


def test_a_node_is_taken_in_when_it_says_something_new(leader):
    node_0, write = leader(NEW)
    write(NEW | {"beat": 2})
    node_0.gather()


def test_a_node_that_was_killed_before_it_was_taken_in_is_not_taken_for_alive(leader):
    node_0, _ = leader(NEW)
    with pytest.raises(Ended, match="node 1 did not appear"):
        node_0.gather()


def test_a_node_of_another_job_is_not_taken_in(leader):
    node_0, write = leader()
    write(NEW | {"job": "another"})
    with pytest.raises(Ended, match="node 1 did not appear"):
        node_0.gather()


@contextlib.contextmanager
def beating(write, says):
    """A node 1 that lives: what it `says(seconds)` is added to its note."""
    ends, began = threading.Event(), time.monotonic()

    def beat():
        number = 1
        while not ends.wait(0.2):
            number += 1
            write(NEW | {"beat": number} | says(time.monotonic() - began))

    thread = threading.Thread(target=beat)
    thread.start()
    yield
    ends.set()
    thread.join()


def test_a_node_that_takes_long_to_end_its_ranks_is_waited_for(leader):
    node_0, write = leader(NEW)
    opened = []

    def says(seconds):
        return {"token": opened[0].token, "state": "down"} if seconds > 4.5 else {}

    with beating(write, says):
        node_0.gather()
        opened.append(node_0.open())
        verdict = node_0.settle(Verdict(CRASH, "rank 0 ended by SIGKILL"))
    assert verdict == Verdict(CRASH, "rank 0 ended by SIGKILL")


def test_a_node_that_lives_and_does_not_end_its_ranks_ends_the_job_by_its_name(leader):
    node_0, write = leader(NEW, node_timeout=2)
    with beating(write, lambda _: {}):
        node_0.gather()
        node_0.open()
        with pytest.raises(Ended, match="node 1 did not end its ranks within 2 s"):
            node_0.settle(Verdict(CRASH, "rank 0 ended by SIGKILL"))


def test_an_attempt_that_was_over_before_a_node_saw_it_has_no_ranks_there(tmp_path):
    given = Settings(
        workdir=tmp_path, logs=tmp_path, program=[], processes=1, by_gpu=False, nodes=2,
        node_rank=1, host="a", port=1, max_restarts=0, fruitless=1, heartbeat=1,
        start_timeout=9, grace=1, node_timeout=9,
    )  # fmt: skip
    follower = Follower(given, Asked())
    ours = tmp_path / ".gang" / "node-1.json"
    word = {"job": "j", "members": [None, json.loads(ours.read_text())["id"]], "attempt": 1}

    def lead():
        write_whole(
            ours.with_name("gang.json"), json.dumps(word | {"state": "waiting", "token": "t"})
        )
        until = time.monotonic() + 9
        while json.loads(ours.read_text())["state"] != "down" and time.monotonic() < until:
            time.sleep(0.05)
        write_whole(ours.with_name("gang.json"), json.dumps(word | {"state": "ended", "code": 1}))

    thread = threading.Thread(target=lead)
    thread.start()
    with pytest.raises(Ended):
        follower.join()
    thread.join()
    said = json.loads(ours.read_text())
    assert (said["state"], said["token"], said["code"]) == ("down", "t", None)


@pytest.mark.parametrize(("fails", "word"), [(2, "ended"), (10**9, "waiting")])
def test_the_last_word_is_tried_for_a_while_when_it_cannot_be_written(
    leader, tmp_path, monkeypatch, fails, word
):
    node_0, _ = leader()
    tries = []

    def write(*arguments):
        tries.append(arguments)
        if len(tries) <= fails:
            raise InputError("the disk is full")
        write_whole(*arguments)

    monkeypatch.setattr(notes, "write_whole", write)
    monkeypatch.setattr(leaders, "_LAST_WORD", 2.0)
    node_0.end(1, "why")
    assert 3 <= len(tries) <= 6
    assert json.loads((tmp_path / ".gang" / "gang.json").read_text())["state"] == word


def test_half_written_or_foreign_files_are_ignored(hosts):
    run, node = hosts({"*": [["exit 0"]]})
    gang = run.workdir / ".gang"
    gang.mkdir()
    (gang / "gang.json").write_text('{"job": "ol')
    (gang / "node-1.json").write_text("[1]")
    nodes = [node(0), node(1)]
    said = [run.finish(each) for each in nodes]
    assert [each.returncode for each in nodes] == [0, 0], said


@pytest.mark.parametrize("there", [0, 1])
def test_a_host_that_never_appears_is_named_after_the_start_timeout(hosts, there):
    run, node = hosts({"*": [["exit 0"]]})
    only = node(there, "--start_timeout=2")
    said = run.finish(only)
    assert only.returncode == 1
    assert f"node {1 - there} did not appear within 2 s" in said
    assert run.events("start") == []


def test_a_supervisor_started_a_second_time_ends_the_job(hosts):
    run, node = hosts({"*": [["ignore", "sleep 600"]]})
    nodes = [node(0), node(1)]
    run.started(4)
    nodes[1].kill()
    second = node(1, "--start_timeout=3")
    said = [run.finish(each) for each in (nodes[0], second)]
    assert (nodes[0].returncode, second.returncode) == (1, 1), said
    assert "node 1 was started a second time" in said[0]
    assert len(run.events("start")) == 4


def test_hosts_with_other_numbers_of_processes_are_refused(hosts):
    run, node = hosts({"*": [["exit 0"]]})
    nodes = [node(0), node(1, "--processes=3")]
    said = [run.finish(each) for each in nodes]
    assert [each.returncode for each in nodes] == [2, 2], said
    assert "node 1 has 3 processes and node 0 2" in said[0]
    assert run.events("start") == []


def test_a_host_that_was_frozen_for_longer_than_the_bound_is_not_taken_for_gone_by_itself(hosts):
    """All of a job may be suspended at once; those that go on must not blame each other."""
    run, node = hosts({"*": [["wait"]]})
    nodes = [node(rank, "--node_timeout=6") for rank in (0, 1)]
    started = run.started(4)
    everybody = [each.pid for each in nodes] + [e["pid"] for e in started]
    for pid in everybody:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(7)
    for pid in reversed(everybody):
        os.kill(pid, signal.SIGCONT)
    time.sleep(1)
    nodes[0].send_signal(signal.SIGTERM)
    said = [run.finish(each) for each in nodes]
    assert [each.returncode for each in nodes] == [42, 42], said
