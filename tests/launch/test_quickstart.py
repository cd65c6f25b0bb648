import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

# The program, with a training that ends as it is told to and saves nothing.
ENDING = """
import sys
from pathlib import Path
from mlstm.training import loop
ended = sys.argv.pop()
loop.run = lambda config, workdir: loop.Result(Path(workdir), 3, 9, ended, None, saved=False)
from launch import quickstart
quickstart.run()
"""
NOT_SAVED = "quickstart: error: the state it ended with could not be saved"


@pytest.mark.parametrize(
    ("ended", "code", "words"),
    [("finished", 1, NOT_SAVED), ("interrupted", 1, NOT_SAVED), ("not finite", 3, "")],
)
def test_a_training_whose_end_is_not_saved_is_not_evaluated(tmp_path, ended, code, words):
    done = subprocess.run(
        [sys.executable, "-c", ENDING, f"--workdir={tmp_path}", ended],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert done.stderr.count("\n") == (1 if words else 0)
    assert "2 of 4" not in done.stdout


@pytest.mark.slow
def test_the_quickstart_ends_with_five_lines_and_a_report(launch, tmp_path):
    flags = "--config=quickstart:tiny", f"--workdir={tmp_path / 'run'}"
    result = launch("quickstart", *flags)
    assert result.returncode == 0, result.stderr.decode()
    lines = result.stdout.decode().splitlines()[-5:]
    assert [line.split("  ")[0] for line in lines] == [
        "held-out text",
        "string neuron",
        "comment neuron",
        "indentation neuron",
        "report",
    ]
    record = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert f"{record['bits_per_byte']:.3f} bits per byte" in lines[0]
    report = tmp_path / "run" / "probe" / "source_code" / "report.html"
    assert str(report) in lines[4]
    assert f"{record['bits_per_byte']:.3f} on the test split" in report.read_text()
    again = launch("quickstart", *flags)
    assert again.stdout.decode().splitlines()[-5:] == lines


@pytest.mark.slow
def test_the_quickstart_of_a_population_ends_with_a_command_that_works(launch, tmp_path):
    run, steps = tmp_path / "run", "--config.train.steps=20"
    result = launch("quickstart", "--config=quickstart:tiny", "--config.seeds=2", steps,
                    f"--workdir={run}")  # fmt: skip
    assert result.returncode == 0, result.stderr.decode()
    report, command = result.stdout.decode().splitlines()[-1].split("next: python -m launch.")
    assert str(run / "probe" / "source_code" / "seed0" / "report.html") in report
    program, *given = shlex.split(command)
    done = launch(program, *given, "--length=5")
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.startswith(b"class ")
