"""The program launch.train: one clear line for whatever is wrong, exit codes, the dry run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"XLA_FLAGS": "--xla_backend_optimization_level=0"}


def train(*flags):
    return subprocess.run(
        [sys.executable, "-m", "launch.train", *flags],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config.model.hiden=8"], "did you mean 'hidden'"),
        (["--config.model.hidden=8.5"], "8.5 is not a whole number"),
        (["--config.mesh.model=3"], "config.mesh.model=3 does not divide"),
        (["--config.seeds=8", "--config.mesh.data=3"], "divide config.seeds=8: 1, 2, 4, 8 do"),
        (["--config.data.source=no/such.txt"], "no/such.txt"),
        (["--config.data.source={folder}/short.txt"], "the train split has 21 ids"),
        (["--config.data.source={folder}/empty.txt"], "empty"),
        (["--config.data.source={folder}/corpus"], "manifest.json"),
        (["--config.train.accumulate=3"], "config.train.accumulate=3 does not divide"),
        (["--profile_steps=9:2"], "as in --profile_steps=10:15"),
        (["--workdir={folder}/empty.txt"], "cannot be written"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(tmp_path, flags, message):
    (tmp_path / "short.txt").write_text("twenty-four characters..")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "manifest.json").write_text('{"format": "mlstm corpus", "form')
    flags = [flag.format(folder=tmp_path) for flag in flags]
    result = train("--config=quickstart:tiny", f"--workdir={tmp_path / 'run'}", *flags)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stderr.startswith("train: error: ")


def test_the_dry_run_says_what_a_run_would_cost_and_leaves_nothing(tmp_path):
    text = tmp_path / "text.txt"
    text.write_bytes(bytes(range(97, 105)) * 1000)
    source, workdir = f"--config.data.source={text}", f"--workdir={tmp_path / 'run'}"
    result = train("--config=quickstart:tiny", source, workdir, "--dry_run")
    assert result.returncode == 0, result.stderr
    for word in ("parameters", "GFLOP", "papers count", "memory", "predicted", "measured just now"):
        assert word in result.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["text.txt"]


def test_a_full_disk_behind_its_output_neither_ends_a_run_nor_changes_its_exit_code(tmp_path):
    (tmp_path / "text.txt").write_bytes(bytes(range(97, 105)) * 1000)
    command = [sys.executable, "-m", "launch.train", "--config=quickstart:tiny"]
    command += [f"--config.data.source={tmp_path}/text.txt", f"--workdir={tmp_path}/run"]
    command += ["--config.train.steps=2", "--config.optimizer.warmup=0", "--config.log.samples=0"]
    with open("/dev/full", "w") as full:
        code = subprocess.call(
            command, cwd=ROOT, env=ENVIRONMENT, stdout=full, stderr=full, timeout=240
        )
    assert code == 0
    assert (tmp_path / "run" / "checkpoints" / "2").is_dir()
