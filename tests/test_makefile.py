import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="there is no make here")


def plan(*words: str) -> str:
    """What `make` would do, without doing it."""
    done = subprocess.run(
        ["make", "-n", *words],
        cwd=REPOSITORY,
        env={k: v for k, v in os.environ.items() if not k.startswith("MAKE")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_environment_that_was_left_half_made_is_made_again(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    assert "-m venv" in plan("test", f"VENV={tmp_path}")
    (tmp_path / "bin" / "activate").touch()
    assert "-m venv" not in plan("test", f"VENV={tmp_path}")


def test_a_name_with_no_interpreter_behind_it_skips_the_newest(tmp_path):
    shim = tmp_path / "python3.13"
    shim.write_text("#!/bin/sh\necho 'command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    for name in (shim, tmp_path / "nowhere"):
        said = plan("test-newest", f"PYTHON_NEWEST={name}")
        assert "skipped" in said
        assert "-m pytest" not in said


def test_an_interpreter_given_by_its_path_runs_the_suite_and_is_not_run_by_a_dry_run(tmp_path):
    planned = plan("test-newest", f"PYTHON_NEWEST={sys.executable}", f"NEWEST={tmp_path / 'new'}")
    assert f"{sys.executable} -m venv {tmp_path / 'new'}" in planned
    assert f"{tmp_path / 'new'}/bin/python -m pytest" in planned
    assert list(tmp_path.iterdir()) == []
