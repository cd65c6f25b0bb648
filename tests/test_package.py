"""The wheel, installed outside the checkout, beside strangers of the same names as ours."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).resolve().parents[1]


def run(*command, **settings) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        timeout=600,
        check=False,
        **settings,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("utf-8", "surrogateescape")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("wheel")
    # From a copy: what an older build left in the checkout would be packed as well.
    names = ("mlstm", "probing", "launch", "configs")
    for name in names:
        shutil.copytree(REPOSITORY / name, folder / "source" / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, folder / "source")
    build = sys.executable, "-m", "build", "--wheel", "--no-isolation"
    run(*build, "--outdir", folder, folder / "source")
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """bin/ of a fresh environment with the wheel in it; what it depends on is lent by ours."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    pip = sys.executable, "-m", "pip", "--quiet", "--python", python
    run(*pip, "install", "--no-deps", "--no-index", wheel)
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    # Plain paths in a .pth file: an editable install of this repository is not lent with them.
    lent = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    (Path(site) / "lent.pth").write_text("\n".join(sorted(lent)) + "\n")
    return folder / "bin"


@pytest.fixture(scope="module")
def foreign(tmp_path_factory) -> Path:
    """A folder with real packages `configs` and `launch` that are not ours."""
    folder = tmp_path_factory.mktemp("foreign")
    for package in ("configs", "launch"):
        (folder / package).mkdir()
        for module in ("__init__", "base", "train", "program"):
            (folder / package / f"{module}.py").write_text(
                'raise RuntimeError("this is the stranger\'s module")\n'
            )
    (folder / "text.txt").write_bytes(b"x = [1, 2]  # a comment\n" * 800)
    return folder


@pytest.fixture(scope="module")
def environment():
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "XLA_FLAGS")}


def test_the_wheel_has_our_packages_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    roots = {name.partition("/")[0] for name in names if ".dist-info" not in name}
    assert roots == {"mlstm", "probing", "launch", "configs"}
    assert {"configs/quickstart.py", "probing/views/report.css"} <= set(names)
    examples = {"slurm/train.sbatch", "kubernetes/jobset.yaml", "kubernetes/Dockerfile"}
    assert {f"launch/{example}" for example in examples} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_a_run_is_trained_and_sampled_beside_strangers(installed, foreign, environment):
    settings = {"cwd": foreign, "env": environment}
    run(
        *(installed / "mlstm-train", "--config=quickstart:tiny", "--workdir=run"),
        *("--config.data.source=text.txt", "--config.train.steps=4"),
        **settings,
    )
    text = run(installed / "mlstm-sample", "--model=run", "--length=20", **settings)
    assert len(text.encode("utf-8", "surrogateescape")) == 21
    assert "xz" in run(installed / "mlstm-evaluate", "--model=run", **settings)


def test_python_P_m_finds_our_programs(installed, foreign, environment):
    command = installed / "python", "-P", "-m", "launch.train", "--help"
    assert "--workdir" in run(*command, cwd=foreign, env=environment)


@pytest.mark.parametrize(
    "program",
    [
        "prepare",
        "train",
        "evaluate",
        "sample",
        "encode",
        "probe",
        "quickstart",
        "checkpoint",
        "score",
        "compare",
        "search",
    ],
)
def test_every_console_script_starts(installed, foreign, environment, program):
    said = run(installed / f"mlstm-{program}", "--help", cwd=foreign, env=environment)
    assert "python -m launch." + program in said
