"""launch.node on one host: restarts, final codes, signals, logs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from launch.supervision import alone, codes, gpus, restarts, settings
from launch.supervision import attempt as attempts
from launch.supervision.asked import Asked
from launch.supervision.terminal import Terminal

PATIENCE = 60
REPOSITORY = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def test_a_rank_killed_brings_all_down_and_all_start_again_with_another_token(job):
    run = job({"*": [["checkpoint 1", "wait"], ["exit 0"]], "1": [["wait"], ["exit 0"]]})
    node = run.start("--processes=2")
    first = run.started(2)
    os.kill(first[1]["pid"], signal.SIGKILL)
    said = run.finish(node)
    assert node.returncode == 0, said
    again = run.events("start")[2:]
    assert sorted(e["rank"] for e in again) == [0, 1]
    assert not any(run.alive(e["pid"]) for e in first)
    tokens = [{e["flags"]["attempt"] for e in attempt} for attempt in (first, again)]
    assert [len(each) for each in tokens] == [1, 1]
    assert tokens[0] != tokens[1]
    ports = {e["flags"]["coordinator"] for e in again}
    assert ports != {e["flags"]["coordinator"] for e in first}
    assert f"rank {first[1]['rank']} ended by SIGKILL" in said


def test_the_flags_of_a_rank_say_its_place(job):
    run = job({"*": [["exit 0"]]})
    code, said = run.run("--processes", "3", "--start_timeout", "7", "--config=x", "--other", "y")
    assert code == 0, said
    flags = sorted((e["flags"] for e in run.events("start")), key=lambda f: f["process_id"])
    assert [f["process_id"] for f in flags] == ["0", "1", "2"]
    for each in flags:
        assert each["num_processes"] == "3"
        assert (each["heartbeat"], each["start_timeout"]) == ("1", "7")
        assert (each["config"], each["other"]) == ("x", "")
        assert each["coordinator"].startswith("127.0.0.1:")
        assert "processes" not in each


@pytest.mark.parametrize("processes", ["1", "node"])
def test_a_job_of_one_process_is_a_plain_run(job, processes):
    run = job({"*": [["exit 0"]]})
    code, said = run.run(f"--processes={processes}", "--config=x")
    assert code == 0, said
    (start,) = run.events("start")
    assert set(start["flags"]) == {"workdir", "config", "num_processes"}
    assert start["flags"]["num_processes"] == "1"


def test_restarts_are_bounded_even_with_progress(job):
    starts = [[f"checkpoint {step}", "exit 1"] for step in range(9)]
    run = job({"*": starts})
    code, said = run.run("--processes=1", "--max_restarts=2")
    assert code == 1
    assert len(run.events("start")) == 3
    assert "giving up after 2 restarts within 24 hours (--max_restarts=2)" in said
    assert "rank-0.log" in said


def test_a_crash_loop_without_progress_is_given_up(job):
    run = job({"*": [["exit 1"]]})
    (run.workdir / "checkpoints" / "7").mkdir(parents=True)
    code, said = run.run("--processes=1", "--fruitless=2")
    assert code == 1
    assert len(run.events("start")) == 2
    assert "2 attempts in a row without a new checkpoint beside that of step 7" in said
    assert "rank-0.log" in said


def test_progress_begins_the_count_of_fruitless_attempts_anew(job):
    run = job({"*": [["exit 1"], ["checkpoint 5", "exit 1"], ["exit 1"], ["exit 0"]]})
    code, said = run.run("--processes=1", "--fruitless=2")
    assert code == 0, said
    assert len(run.events("start")) == 4


def test_a_new_checkpoint_below_the_highest_is_progress():
    counted = restarts.Restarts(most=9, fruitless=2)
    assert counted.pause({10, 30}, {10, 30}, "") == 1
    assert counted.pause({10, 30}, {10, 20, 30}, "") == 1
    assert counted.pause({10, 20, 30}, {20, 30}, "") == 1
    with pytest.raises(codes.Ended, match="2 attempts in a row"):
        counted.pause({20, 30}, {20, 30}, "")


def test_restarts_of_more_than_a_day_ago_are_not_counted():
    times = iter([0.0, 23.0, 24.5, 47.5, 48.0])
    counted = restarts.Restarts(most=2, fruitless=1, clock=lambda: next(times) * 3600)
    for _ in range(4):
        counted.pause(set(), {1}, "")
    with pytest.raises(codes.Ended, match="2 restarts within 24 hours"):
        counted.pause(set(), {1}, "")


@pytest.mark.parametrize("final", [0, 2, 3, 42])
def test_a_final_exit_code_is_the_supervisors_and_nothing_starts_again(job, final):
    run = job({"*": [[f"exit {final}"]]})
    code, said = run.run("--processes=2")
    assert code == final, said
    assert len(run.events("start")) == 2


@pytest.mark.parametrize(
    ("codes", "together"), [((2, 3), 2), ((3, 0), 3), ((0, 42), 42), ((42, 2), 2)]
)
def test_of_several_final_codes_the_worst_counts(job, codes, together):
    run = job({str(rank): [[f"exit {code}"]] for rank, code in enumerate(codes)})
    assert run.run("--processes=2")[0] == together


def test_a_crash_beside_a_final_code_starts_all_again(job):
    run = job({"0": [["exit 0"]], "1": [["meet 2", "kill 6"], ["exit 0"]]})
    code, said = run.run("--processes=2")
    assert code == 0, said
    assert len(run.events("start")) == 4
    assert "rank 1 ended by SIGABRT" in said


def test_a_crash_that_follows_bad_input_of_another_rank_is_its_consequence(job):
    run = job({"0": [["sleep 1", "kill 6"]], "1": [["say wrong", "exit 2"]]})
    assert run.run("--processes=2")[0] == 2
    assert len(run.events("start")) == 2


@pytest.mark.parametrize(
    ("returned", "told", "code"),
    [
        ([], False, None),
        ([0, 0], False, 0),
        ([0, 42], False, 42),
        ([42, 3, 2], False, 2),
        ([0, -9], False, codes.CRASH),
        ([1], False, codes.CRASH),
        ([-15, 42], False, codes.CRASH),
        ([-15, 42], True, 42),
        ([-15, -6], True, 42),  # told before all had joined
        ([-9, 42], True, codes.CRASH),
        ([-6, 2], False, codes.CRASH),  # it noticed a peer that has gone
        ([2, -6], False, 2),
        ([3, 0, 134], False, 3),
    ],
)
def test_exit_codes_are_judged_in_the_order_in_which_they_came(returned, told, code):
    assert codes.judge(returned, told) == code


def test_of_ranks_seen_to_have_ended_at_once_those_that_others_may_have_followed_come_first():
    ended = [("a", -6), ("b", 0), ("c", 2), ("d", -15)]
    assert codes.causes_first(ended, told=False) == [("c", 2), ("a", -6), ("b", 0), ("d", -15)]
    assert codes.causes_first(ended, told=True) == [("c", 2), ("d", -15), ("a", -6), ("b", 0)]


class Process:
    """In the place of a rank: it ends when it is told to, or as `codes` say by its number."""

    started: list["Process"]
    codes: dict[int, int]
    hooks: list[Callable[[], None]]

    def __init__(self, number, *_):
        self.number, self.returned = number, None
        self.started.append(self)
        for hook in self.hooks:
            hook()

    def code(self):
        self.returned = self.codes.get(self.number, self.returned)
        return self.returned

    def tell(self, number):
        self.returned = -number

    def kill(self):
        self.returned = -signal.SIGKILL if self.returned is None else self.returned

    def stopped(self):
        return 0.0

    def last_lines(self):
        return []


@pytest.fixture
def attempt(tmp_path, monkeypatch):
    """attempt(on_start, codes) -> the attempt of four processes and what is asked of it;
    `on_start` is called with that and the number of those that have been started."""
    given = settings.Settings(
        workdir=tmp_path, logs=tmp_path, program=[], processes=4, by_gpu=False, nodes=1,
        node_rank=0, host="a", port=1, max_restarts=0, fruitless=1, heartbeat=1,
        start_timeout=1, grace=9, node_timeout=9,
    )  # fmt: skip

    def make(on_start, ends=None):
        asked = Asked()
        Process.started, Process.codes = [], ends or {}
        Process.hooks = [lambda: on_start(asked, len(Process.started))]
        host = alone.Alone(given)
        return attempts.Running(given, host.open(), host, asked, terminal)

    monkeypatch.setattr(attempts, "Rank", Process)
    with Terminal("node") as terminal:
        yield make


def ask(number):
    return lambda asked, started: asked._note(signal.SIGTERM, None) if started == number else None


def test_a_signal_while_ranks_are_started_starts_no_more(attempt):
    verdict = attempt(ask(2)).run()
    assert (verdict.code, verdict.stopped, len(Process.started)) == (42, True, 2)


def test_a_signal_before_the_first_rank_starts_none(attempt):
    running = attempt(ask(9))
    running._asked._note(signal.SIGTERM, None)
    verdict = running.run()
    assert (verdict.code, verdict.stopped, Process.started) == (42, True, [])


def test_a_second_signal_while_ranks_are_started_kills_those_that_are_there(attempt):
    def twice(asked, started):
        for _ in range(2 * (started == 2)):
            asked._note(signal.SIGTERM, None)

    with pytest.raises(codes.Ended, match="a second SIGTERM"):
        attempt(twice).run()
    assert [each.returned for each in Process.started] == [-signal.SIGKILL] * 2


@pytest.mark.parametrize(("ended", "code"), [(-9, 1), (2, 2)])
def test_a_rank_that_ends_badly_while_others_are_started_starts_no_more(attempt, ended, code):
    verdict = attempt(lambda *_: None, {1: ended, 0: 0}).run()
    assert (verdict.code, len(Process.started)) == (code, 2)


def test_ranks_that_are_done_before_others_have_started_do_not_end_the_attempt(attempt):
    verdict = attempt(lambda *_: None, dict.fromkeys(range(4), 0)).run()
    assert (verdict.code, len(Process.started)) == (0, 4)


def test_ranks_that_do_not_follow_a_final_code_are_killed(job):
    run = job({"0": [["ignore", "sleep 600"]], "1": [["say wrong flag", "exit 2"]]})
    code, said = run.run("--processes=2", "--grace=1")
    assert code == 2
    assert "wrong flag" in said  # of a rank that is not seen here the end of its log is
    assert not any(run.alive(e["pid"]) for e in run.events("start"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_is_passed_on_as_sigterm_and_the_ranks_42_is_the_supervisors(job, number):
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("this process ignores the signal, as under nohup, and so do its children")
    run = job({"*": [["wait"]]})
    node = run.start("--processes=2")
    run.started(2)
    node.send_signal(number)
    said = run.finish(node)
    assert node.returncode == 42, said
    assert len(run.events("start")) == len(run.events("told")) == 2


def test_a_crash_of_ranks_that_were_told_to_stop_starts_nothing_again(job):
    run = job({"*": [["wait"]], "1": [["sleep 600"]]})
    node = run.start("--processes=2")
    run.started(2)
    node.send_signal(signal.SIGTERM)
    run.until(lambda: len(run.events("told")) == 2)
    (other,) = [e["pid"] for e in run.events("start") if e["rank"] == 1]
    os.kill(other, signal.SIGKILL)
    said = run.finish(node)
    assert node.returncode == 1, said
    assert len(run.events("start")) == 2
    assert "rank 1 ended by SIGKILL" in said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_kills_at_once(job, number, code):
    run = job({"*": [["ignore", "say deaf", "sleep 600"]]})
    said = run.workdir / "said"
    with said.open("w") as file:
        node = run.start("--processes=1", stdout=file)
    run.started(1)
    run.until(lambda: "deaf" in run.log(0))
    node.send_signal(number)
    run.until(lambda: "told to save and stop" in said.read_text())
    assert node.poll() is None
    node.send_signal(number)
    node.wait(PATIENCE)
    assert node.returncode == code
    assert not run.alive(run.events("start")[0]["pid"])


def test_a_rank_that_does_not_end_in_the_grace_is_killed_and_the_code_is_1(job):
    run = job({"*": [["ignore", "say deaf", "sleep 600"]]})
    node = run.start("--processes=1", "--grace=1")
    run.until(lambda: run.events("start") and "deaf" in run.log(0))
    node.send_signal(signal.SIGTERM)
    said = run.finish(node)
    assert node.returncode == 1
    assert "did not end in 1 s after SIGTERM" in said
    assert not run.alive(run.events("start")[0]["pid"])


def test_a_signal_during_the_back_off_ends_at_once_with_42(job):
    run = job({"*": [["exit 1"]]})
    said = run.workdir / "said"
    with said.open("w") as file:
        node = run.start("--processes=1", "--fruitless=9", stdout=file)
    run.until(lambda: "start again in 4 s" in said.read_text())
    node.send_signal(signal.SIGTERM)
    node.wait(PATIENCE)
    assert node.returncode == 42, said.read_text()
    assert len(run.events("start")) == 3


def test_a_rank_that_is_stopped_is_killed_and_started_again(job):
    run = job({"*": [["checkpoint 1", "wait"], ["exit 0"]]})
    node = run.start("--processes=1")
    (rank,) = run.started(1)
    os.kill(rank["pid"], signal.SIGSTOP)
    said = run.finish(node)
    assert node.returncode == 0, said
    assert "rank 0 was stopped (SIGSTOP) for 2 s" in said
    assert len(run.events("start")) == 2


def test_a_rank_stopped_for_a_moment_goes_on(job):
    run = job({"*": [["wait"]]})
    node = run.start("--processes=1", "--heartbeat=2")
    (rank,) = run.started(1)
    for _ in range(2):
        os.kill(rank["pid"], signal.SIGSTOP)
        time.sleep(0.5)
        os.kill(rank["pid"], signal.SIGCONT)
    time.sleep(5)
    node.send_signal(signal.SIGTERM)
    said = run.finish(node)
    assert node.returncode == 42, said
    assert "was stopped" not in said


def test_the_ranks_die_with_a_supervisor_that_is_killed(job):
    run = job({"*": [["ignore", "say deaf", "sleep 600"]]})
    node = run.start("--processes=2")
    started = run.started(2)
    run.until(lambda: all("deaf" in run.log(rank) for rank in (0, 1)))
    node.kill()
    run.until(lambda: not any(run.alive(e["pid"]) for e in started))


def test_what_a_rank_has_started_ends_with_it(job):
    run = job({"*": [["grandchild", "exit 0"]]})
    code, said = run.run("--processes=1")
    assert code == 0, said
    child = int((run.workdir / "grandchild").read_text())
    run.until(lambda: not run.alive(child))


def test_each_rank_has_a_log_with_a_header_for_each_attempt_and_rank_0_is_seen(job):
    run = job({"0": [["say from zero", "wait"], ["say again", "exit 0"]], "1": [
        ["say from one", "meet 2", "sleep 0.5", "exit 7"], ["exit 0"]]})  # fmt: skip
    code, said = run.run("--processes=2")
    assert code == 0, said
    assert "from zero\n" in said
    assert "again\n" in said
    assert "rank 1 ended by exit code 7" in said
    assert "    from one" in said  # the end of its log, since it failed
    assert run.log(0).count("from zero") == run.log(0).count("again") == 1
    assert run.log(1).count("from one") == 1
    headers = [line for line in run.log(1).splitlines() if line.startswith("=== rank 1, attempt")]
    assert [h.split()[4] for h in headers] == ["1", "2"]


def test_logs_may_be_elsewhere(job, tmp_path):
    run = job({"*": [["say words", "exit 0"]]})
    code, said = run.run("--processes=1", f"--logs={tmp_path / 'kept'}")
    assert code == 0, said
    assert "words" in (tmp_path / "kept" / "rank-0.log").read_text()
    assert not (run.workdir / "logs").exists()


def test_a_terminal_that_nobody_reads_or_that_is_closed_stops_nothing(job):
    many = [f"say {'x' * 1000}"] * 400  # more than a pipe holds
    run = job({"*": [[*many, "exit 7"], [*many, "exit 0"]]})
    node = run.start("--processes=1")
    node.wait(60)
    assert node.returncode == 0
    assert run.log(0).count("x" * 1000) == 800
    run = job({"*": [[*many, "exit 0"]]}, "closed")
    node = run.start("--processes=1")
    node.stdout.close()
    node.wait(60)
    assert node.returncode == 0
    assert run.log(0).count("x" * 1000) == 400


def test_lines_for_a_terminal_that_takes_none_are_dropped_and_nobody_waits():
    code = "from launch.supervision.terminal import Terminal\nwith Terminal('x') as terminal:\n"
    code += "    for _ in range(5000): terminal.show(b'x' * 1000)\n"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.wait(60) == 0


def test_a_full_disk_behind_the_terminal_and_the_log_stops_nothing(job):
    run = job({"*": [["say words", "exit 7"], ["say words", "exit 0"]]})
    logs = run.workdir / "logs"
    logs.mkdir()
    (logs / "rank-0.log").symlink_to("/dev/full")
    with open("/dev/full", "w") as full:
        node = run.start("--processes=1", stdout=full, stderr=full)
        node.wait(60)
    assert node.returncode == 0
    assert len(run.events("start")) == 2


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "--workdir is needed"),
        (["--workdir"], "--workdir is needed"),
        (["--workdir=gs://bucket/run"], "must be a folder here"),
        (["--workdir=/proc/run"], "cannot be written"),
        (["--workdir=run", "--processes=0"], "--processes=0 is neither"),
        (["--workdir=run", "--processes=gpus"], "--processes=gpus is neither"),
        (["--workdir=run", "--processes=257"], "a host has at most 256"),
        (["--workdir=run", "--processes=" + "9" * 5000], "a host has at most 256"),
        (["--workdir=run", "--nodes=0"], "nodes"),
        (["--workdir=run", "--nodes=2"], "needs --node_rank and --coordinator"),
        (["--workdir=run", "--nodes=2", "--node_rank=0"], "needs --node_rank and --coordinator"),
        (["--workdir=run", "--nodes=2", "--node_rank=2", "--coordinator=a:1"], "from 0 to 1"),
        (["--workdir=run", "--node_rank=1"], "from 0 to 0"),
        (["--workdir=run", "--coordinator=a"], "is not HOST:PORT"),
        (["--workdir=run", "--coordinator=a:65535"], "is not HOST:PORT"),
        (["--workdir=run", "--grace=long"], "is not a whole number"),
    ],
)
def test_wrong_flags_are_one_line_and_exit_code_2(tmp_path, flags, words):
    result = subprocess.run(
        [sys.executable, "-P", "-m", "launch.node", *flags],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if not k.startswith("SLURM_")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("node: error: ")
    assert result.stderr.count("\n") == 1, result.stderr
    assert words in result.stderr


def test_help_has_the_exit_codes_and_points_to_launch_train(tmp_path):
    said = subprocess.check_output(
        [sys.executable, "-m", "launch.node", "--config=x", "--help"], cwd=REPOSITORY, text=True
    )
    for words in ("Exit codes:", "42 ", "--fruitless", "launch.train --help"):
        assert words in said


def test_the_supervisor_imports_neither_jax_nor_numpy():
    code = "import sys, launch.node, launch.supervision.job, launch.supervision.slurm;"
    code += "print([m for m in ('jax', 'numpy', 'ml_collections') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_the_supervisor_means_by_each_final_code_what_training_means():
    # In a process of its own: launch.node and launch.train define flags of the same names.
    code = "from launch import train; from mlstm.training import interrupts;"
    code += "print(interrupts.SAVED_AND_STOPPED, train.NOT_FINITE)"
    said = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=REPOSITORY)
    assert said.split() == [str(codes.SAVED_AND_STOPPED), str(codes.NOT_FINITE)]


def test_a_supervisor_whose_children_are_nobodys_business_learns_how_they_end(job):
    """SIGCHLD ignored, as some daemons hand it on to what they start."""
    run = job({"*": [["exit 3"]]})
    ignore = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        node = run.start("--processes=1")
    finally:
        signal.signal(signal.SIGCHLD, ignore)
    run.finish(node)
    assert node.returncode == 3


@pytest.mark.parametrize(
    ("environment", "number"),
    [
        ({}, 3),
        ({"CUDA_VISIBLE_DEVICES": "0,2"}, 2),
        ({"CUDA_VISIBLE_DEVICES": "1,-1,2"}, 1),
        ({"CUDA_VISIBLE_DEVICES": ""}, 0),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, 0),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8932f937,MIG-5a3c"}, 2),
        ({"JAX_PLATFORMS": "cpu"}, 0),
        ({"JAX_PLATFORMS": "cuda,cpu"}, 3),
    ],
)
def test_gpus_are_counted_as_cuda_counts_them(tmp_path, monkeypatch, environment, number):
    for name in ("nvidia0", "nvidia1", "nvidia11", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    plugins = {"jax_cuda13_plugin"}
    monkeypatch.setattr(gpus.importlib.util, "find_spec", lambda name: name in plugins or None)
    assert gpus.count(environment, tmp_path) == number
    plugins.clear()
    assert gpus.count(environment, tmp_path) == 0


def test_with_gpus_each_process_has_one_by_its_number_on_this_host(tmp_path):
    given = settings.Settings(
        workdir=tmp_path, logs=tmp_path, program=["train"], processes=2, by_gpu=True, nodes=2,
        node_rank=1, host="host0", port=8476, max_restarts=1, fruitless=1, heartbeat=1,
        start_timeout=1, grace=1, node_timeout=1,
    )  # fmt: skip
    attempt = alone.new_attempt(given, 17)
    line = settings.command(given, attempt, 1)
    assert {"--process_id=3", "--num_processes=4", "--local_devices=1"} <= set(line)
    assert "--coordinator=host0:8477" in line  # the next port of 16 for each attempt


def test_launch_train_is_ours_in_a_folder_with_strangers_of_the_same_names(tmp_path):
    for package in ("configs", "launch"):
        (tmp_path / package).mkdir()
        for module in ("__init__", "train", "program", "node", "quickstart"):
            (tmp_path / package / f"{module}.py").write_text("raise RuntimeError('a stranger')\n")
    result = subprocess.run(
        [
            sys.executable,
            "-P",
            "-m",
            "launch.node",
            "--config=quickstart",
            "--workdir=run",
            "--foo",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.stdout.startswith("train: error: Unknown command line flag 'foo'")
    assert result.stdout.count("\n") == 1
    assert (result.returncode, result.stderr) == (2, "")
