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


@pytest.fixture
def plugin(tmp_path):
    """Make .installed with a python that says its jax is `jax` and whose pip writes what it did."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "activate").touch()
    python = tmp_path / "bin" / "python"

    def install(jax: str, pip: str = f'mkdir -p "{tmp_path}/aot"; echo "$@" >> "{tmp_path}/asked"'):
        python.write_text(f'#!/bin/sh\ncase "$*" in *pip*) {pip};; *) echo {jax};; esac\n')
        python.chmod(0o755)
        (tmp_path / ".dev").touch()
        done = subprocess.run(
            ["make", f"VENV={tmp_path}", f"AOT={tmp_path / 'aot'}", f"{tmp_path}/aot/.installed"],
            cwd=REPOSITORY,
            env={k: v for k, v in os.environ.items() if not k.startswith("MAKE")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        asked = tmp_path / "asked"
        return done, asked.read_text().splitlines() if asked.exists() else []

    return install


def test_the_plugin_is_that_of_the_jax_here_and_is_installed_once(plugin, tmp_path):
    for _ in range(2):
        done, asked = plugin("1.2.3")
        assert done.returncode == 0, done.stderr
        assert len(asked) == 1
    assert asked[0].endswith("jax-cuda13-plugin==1.2.3 jax-cuda13-pjrt==1.2.3")
    _, asked = plugin("1.2.4")
    assert len(asked) == 2
    assert (tmp_path / "aot" / ".installed").read_text() == "1.2.4\n"


def test_a_plugin_that_cannot_be_installed_is_one_line_and_leaves_no_stamp(plugin, tmp_path):
    done, _ = plugin("1.2.3", "echo warning; echo ERROR: no network >&2; exit 1")
    assert done.returncode != 0
    assert done.stdout == "make: no plugin for CUDA of jax 1.2.3 can be installed: no network\n"
    assert not (tmp_path / "aot" / ".installed").exists()
