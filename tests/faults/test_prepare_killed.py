"""kill -9 while a corpus of records is prepared: the same command goes on to the same files."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mlstm.corpus import prepare_texts

ROOT = Path(__file__).parents[2]
GIVEN = {"block_bytes": 8000, "cleaning": "openai"}
PROGRAM = """
import json, sys
from mlstm.corpus import prepare_texts
prepare_texts(sys.argv[1], sys.argv[2], processes=int(sys.argv[3]), **json.loads(sys.argv[4]))
"""


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("text") / "reviews.json"
    with path.open("w") as file:
        for number in range(12_000):
            review = " ".join(rng.choice(["great", "&amp;", "album\n", "café", "it"], 12))
            file.write(json.dumps({"reviewText": f"{number} {review}"}) + "\n")
    return path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def begin(text, output, processes, given):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(text), str(output), str(processes), json.dumps(given)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def pieces(output):
    return len(list(output.parent.glob(f".{output.name}.*.pieces/*.piece")))


def joining(output):
    return any(output.parent.glob(f".{output.name}.*.partial/*.bin"))


MOMENTS = {
    "the first piece": lambda output: pieces(output) >= 1,
    "half of the pieces": lambda output: pieces(output) >= 60,
    "the joining": joining,
}


def kill_when(child, moment, output):
    """Whether it was killed; else it was faster and has ended well."""
    deadline = time.monotonic() + 60
    while child.poll() is None and time.monotonic() < deadline:
        if moment(output):
            child.send_signal(signal.SIGKILL)
            break
        time.sleep(0.001)
    code = child.wait(timeout=60)
    assert code in (0, -signal.SIGKILL)
    return code != 0


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("processes", [1, 2])
def test_killed_and_begun_again_it_ends_in_the_same_files(tmp_path, text, moment, processes):
    whole = prepare_texts(text, tmp_path / "whole", **GIVEN)
    output = tmp_path / "out" / "c"
    assert kill_when(begin(text, output, processes, GIVEN), MOMENTS[moment], output)
    assert not output.exists()
    made = pieces(output)
    assert made > 0
    other = 3 - processes  # what was made by two is used by one, and the other way round
    assert begin(text, output, other, GIVEN).wait(timeout=120) == 0
    assert contents(output) == contents(whole.folder)
    assert os.listdir(output.parent) == ["c"]


@pytest.mark.slow
@pytest.mark.parametrize("given", [{"shards": 5, "deduplicate_against": ["own"]}, {}])
def test_killed_again_and_again_at_any_time(tmp_path, text, given):
    given = GIVEN | given
    whole = prepare_texts(text, tmp_path / "whole", **given)
    output, rng = tmp_path / "out" / "c", np.random.default_rng(1)
    kills = 0
    for _ in range(12):
        child = begin(text, output, 2, given)
        until = time.monotonic() + float(rng.uniform(0.3, 1.5))
        kills += kill_when(child, lambda _: time.monotonic() > until, output)  # noqa: B023
        if output.exists():
            break
    assert begin(text, output, 2, given).wait(timeout=120) == 0
    assert kills
    assert contents(output) == contents(whole.folder)
    assert os.listdir(output.parent) == ["c"]


def test_a_killed_share_is_run_again_while_others_go_on(tmp_path, text):
    whole = prepare_texts(text, tmp_path / "whole", **GIVEN)
    output = tmp_path / "out" / "c"
    program = PROGRAM.replace("prepare_texts", "prepare_share").replace(
        "sys.argv[2],", "sys.argv[2], int(sys.argv[5]), 3,"
    )

    def share(number):
        command = [sys.executable, "-c", program, str(text), str(output), "1", json.dumps(GIVEN)]
        return subprocess.Popen([*command, str(number)], env=os.environ | {"PYTHONPATH": str(ROOT)})

    jobs = [share(number) for number in range(3)]
    assert kill_when(jobs[1], lambda output: pieces(output) >= 10, output)
    assert [job.wait(timeout=60) for job in (jobs[0], jobs[2])] == [0, 0]
    assert not output.exists()
    assert share(1).wait(timeout=60) == 0
    assert contents(output) == contents(whole.folder)
    assert os.listdir(output.parent) == ["c"]
