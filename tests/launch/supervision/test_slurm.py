"""launch/slurm: which node this is, and the batch script under a srun and a scontrol of our own."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from launch import node
from launch.supervision import slurm
from mlstm.errors import InputError

SCRIPT = Path(slurm.__file__).parents[1] / "slurm" / "train.sbatch"
STEP = {"SLURM_STEP_NUM_NODES": "3", "SLURM_STEP_NUM_TASKS": "3", "SLURM_NODEID": "2",
        "SLURM_STEP_NODELIST": "gpu[07-09]", "SLURM_JOB_ID": "1201"}  # fmt: skip


@pytest.mark.parametrize(
    ("names", "hosts"),
    [
        ("node001", ["node001"]),
        ("node001,host2", ["node001", "host2"]),
        ("node[001-003],host2", ["node001", "node002", "node003", "host2"]),
        ("node[001,007-009]", ["node001", "node007", "node008", "node009"]),
        ("node[9-11]", ["node9", "node10", "node11"]),
        ("a[1-2]b[01,3]-x.y", ["a1b01-x.y", "a1b3-x.y", "a2b01-x.y", "a2b3-x.y"]),
    ],
)
def test_a_node_list_is_expanded_in_order(names, hosts):
    assert slurm.hosts(names) == hosts


def test_a_range_of_many_nodes_keeps_its_leading_zeros():
    found = slurm.hosts("node[001-0015],host2")
    assert (found[0], found[14], found[15]) == ("node001", "node015", "host2")


@pytest.mark.parametrize("names", ["", "a,", ",a", "a[1", "a]1", "a[]", "a[1-]", "a[x]", "a b"])
def test_a_node_list_that_cannot_be_read_is_an_error_of_one_line(names):
    with pytest.raises(InputError, match=r"list of nodes .* cannot be read"):
        slurm.hosts(names)


def test_the_place_of_a_task_is_found_from_what_srun_says():
    assert slurm.place(STEP) == (3, 2, "gpu07:12016")
    whole = {"SLURM_NNODES": "3", "SLURM_NODEID": "0", "SLURM_JOB_ID": "1"}
    assert slurm.place(whole | {"SLURM_JOB_NODELIST": "a,b,c"}) == (3, 0, "a:12016")


@pytest.mark.parametrize("missing", ["SLURM_NODEID", "SLURM_JOB_ID", "SLURM_STEP_NODELIST"])
def test_there_is_no_place_where_srun_has_started_nothing(missing):
    assert slurm.place({k: v for k, v in STEP.items() if k != missing}) is None
    assert slurm.place({}) is None


def test_one_node_is_no_job_of_several():
    assert slurm.place(STEP | {"SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_NUM_TASKS": "1"}) is None


def test_several_tasks_on_a_node_are_refused():
    with pytest.raises(InputError, match="--ntasks-per-node=1"):
        slurm.place(STEP | {"SLURM_STEP_NUM_TASKS": "6"})
    with pytest.raises(InputError, match="8 tasks on 1 nodes"):
        slurm.place(STEP | {"SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_NUM_TASKS": "8"})


def test_shellcheck_has_nothing_to_say_of_the_script():
    binary = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if not binary:
        pytest.skip("shellcheck is not here (the extra `dev` brings it)")
    subprocess.run([binary, str(SCRIPT)], check=True)


def test_the_signal_comes_early_enough_for_the_grace_of_the_ranks():
    (seconds,) = re.findall(r"^#SBATCH --signal=TERM@(\d+)$", SCRIPT.read_text(), re.MULTILINE)
    assert int(seconds) >= node.GRACE.default + 60


# Starts the command as one task on each of two nodes, all of them here; the step's exit code is
# the highest of a task.
SRUN = """#!/bin/bash
while [[ "$1" == --* ]]; do shift; done
for node in 0 1; do
    SLURM_NODEID=$node SLURM_STEP_NUM_NODES=2 SLURM_STEP_NUM_TASKS=2 \
        SLURM_STEP_NODELIST="localhost,other[1-3]" "$@" & tasks[$node]=$!
    echo $! >> "$FOLDER/tasks"
done
highest=0
for task in "${tasks[@]}"; do
    wait "$task"; code=$?
    [ $code -gt $highest ] && highest=$code
done
exit $highest
"""
SCONTROL = '#!/bin/sh\necho "$@" >> "$FOLDER/scontrol"\n'
NODE = f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("fake_node.py")} "$@"\n'


@pytest.fixture
def submit(job, tmp_path):
    """submit(scenario) -> the job, and the process of its batch script."""
    for name, text in {"srun": SRUN, "scontrol": SCONTROL, "mlstm-node": NODE}.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)

    def make(scenario):
        run = job(scenario)
        # The port depends on the job: one that no other test uses at the same time.
        environment = run.environment() | {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "FOLDER": str(tmp_path),
            "SLURM_JOB_ID": str(os.getpid()),
        }
        flags = [f"--workdir={run.workdir}", "--processes=2", "--heartbeat=1", "--grace=20"]
        batch = subprocess.Popen(
            ["bash", SCRIPT, *flags],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        run.nodes.append(batch)
        return run, batch

    yield make
    tasks = tmp_path / "tasks"
    for task in tasks.read_text().split() if tasks.exists() else []:
        if b"fake_node" in _command_line(task):
            os.kill(int(task), signal.SIGKILL)


def _command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_job_of_two_nodes_runs_to_its_end_over_a_crash(submit, tmp_path):
    run, batch = submit({"*": [["wait"], ["exit 0"]], "3": [["meet 4", "kill 9"], ["exit 0"]]})
    said = run.finish(batch)
    assert batch.returncode == 0, said
    started = run.events("start")
    assert sorted(e["rank"] for e in started[4:]) == [0, 1, 2, 3]
    assert {e["flags"]["coordinator"].partition(":")[0] for e in started} == {"localhost"}
    assert not (tmp_path / "scontrol").exists()


def test_a_job_that_is_told_to_stop_is_requeued_once(submit, tmp_path):
    run, batch = submit({"*": [["wait"]]})
    ranks = run.started(4)
    tasks = (tmp_path / "tasks").read_text().split()
    # As SLURM does it: to all processes of the step, supervisors and ranks.
    for pid in [*tasks, *(e["pid"] for e in ranks)]:
        os.kill(int(pid), signal.SIGTERM)
    said = run.finish(batch)
    assert batch.returncode == 42, said
    assert (tmp_path / "scontrol").read_text() == f"requeue {os.getpid()}\n"
    assert len(run.events("start")) == 4


def test_a_job_that_was_given_something_wrong_is_not_requeued(submit, tmp_path):
    run, batch = submit({"*": [["say no such file", "exit 2"]]})
    said = run.finish(batch)
    assert batch.returncode == 2, said
    assert "no such file" in said
    assert not (tmp_path / "scontrol").exists()
