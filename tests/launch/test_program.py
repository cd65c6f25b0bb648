import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

PROGRAM = '''
"""Says what its config is."""
import os, signal, sys
from absl import flags
from launch import program
from mlstm.errors import InputError
CONFIG = program.config_flag()
DO = flags.DEFINE_string("do", "", "what to do")
def main(_):
    if DO.value == "input":
        raise InputError("file.txt:3: no such field")
    if DO.value == "interrupt":
        signal.raise_signal(signal.SIGINT)
    if DO.value == "temporary":
        from mlstm.corpus import open_source
        corpus = open_source("own.py")
        print(corpus.folder)
        signal.raise_signal(signal.SIGINT)
    if DO.value == "temporary, then import":
        from mlstm.corpus import open_source
        corpus = open_source("own.py")
        print(corpus.folder, flush=True)
        import interrupting
    if DO.value == "write":
        open("sealed/new.txt", "w")
    if DO.value == "flood":
        for _ in range(10**6):
            print("x" * 100)
    print(dict(CONFIG.value.model))
    return 7 if DO.value == "seven" else None
if __name__ == "__main__":
    program.run(main)
'''

CONFIG = """
from ml_collections import ConfigDict
def get_config(size="big"):
    return ConfigDict({"model": {"hidden": {"big": 64, "tiny": 8}[size], "rate": .1, "on": True}})
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("program")
    (folder / "say.py").write_text(PROGRAM)
    (folder / "own.py").write_text(CONFIG)
    (folder / "broken.py").write_text("import json\n\ndef get_config()\n    return 1\n")
    (folder / "raises.py").write_text("def get_config():\n    return unknown\n")
    (folder / "empty.py").write_text("")
    (folder / "interrupting.py").write_text("import signal; signal.raise_signal(signal.SIGINT)")
    return folder


def say(folder, *flags, **environment):
    return subprocess.run(
        [sys.executable, "say.py", *flags],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--config=own.py"], "{'hidden': 64, 'on': True, 'rate': 0.1}"),
        (
            ["--config=own.py:tiny", "--noconfig.model.on"],
            "{'hidden': 8, 'on': False, 'rate': 0.1}",
        ),
        (
            ["--config", "own.py", "--config.model.hidden", "9", "--config.model.rate=1"],
            "{'hidden': 9, 'on': True, 'rate': 1.0}",
        ),
    ],
)
def test_a_config_is_read_and_overridden(folder, flags, expected):
    assert say(folder, *flags).stdout.strip() == expected


@pytest.mark.parametrize("name", ["quickstart", "quickstart.py", "configs/quickstart.py:tiny"])
def test_a_shipped_config_is_found_by_name_from_any_folder(folder, name):
    result = say(folder, f"--config={name}", "--config.model.hidden=77")
    assert "'hidden': 77" in result.stdout, result.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "--config: it is needed"),
        (["--config=quikstart"], "did you mean 'quickstart'?"),
        (["--config=missing/own.py"], "no config file 'missing/own.py'"),
        (["--config=my/quickstart.py"], "no config file 'my/quickstart.py'"),
        (["--config=/my/configs/quickstart.py"], "no config file '/my/configs/quickstart.py'"),
        (["--config=../configs/quickstart.py"], "no config file '../configs/quickstart.py'"),
        ([f"--config={'x' * 300}"], "no config file 'xxx"),
        (["--config=broken.py"], "broken.py:3: "),
        (["--config=raises.py"], "raises.py:2: NameError"),
        (["--config=empty.py"], "no function get_config()"),
        (["--config=raises.py:tiny"], "takes no argument"),
        (["--config=own.py", "--config.model.hiden=8"], "did you mean 'hidden'?"),
        (["--config=own.py", "--config.modle.hidden=8"], "did you mean 'model'?"),
        (["--config=own.py", "--config.model=8"], "is a section"),
        (["--config=own.py", "--config.model.hidden.x=8"], "is a value (64)"),
        (["--config=own.py", "--config.model.hidden=8.5"], "is not a whole number"),
        (["--config=own.py", "--config.model.rate=fast"], "is not a number"),
        (["--config=own.py", "--config.model.on=maybe"], "is neither true nor false"),
        (["--config.model.hidden=8"], "put --config=NAME before it"),
        (["--config=own.py", "--du=x"], "Unknown command line flag 'du'"),
        (["--config=own.py", "extra"], "unexpected argument 'extra'"),
        (["--config=own.py", "--do=input"], "say: error: file.txt:3: no such field"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(folder, flags, words):
    result = say(folder, *flags)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    assert words in result.stderr


def test_an_interrupt_is_one_line_and_exit_code_130(folder):
    result = say(folder, "--config=own.py", "--do=interrupt")
    assert (result.returncode, result.stderr) == (130, "say: interrupted\n")


@pytest.mark.parametrize("do", ["temporary", "temporary, then import"])
def test_an_interrupt_leaves_no_temporary_corpus(folder, tmp_path, do):
    result = say(folder, "--config=own.py", f"--do={do}", TMPDIR=str(tmp_path))
    assert result.returncode == 130, result.stderr
    assert result.stdout.startswith(str(tmp_path))
    assert result.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []


# Found by Python at its start: says when `launch` itself has been imported.
ANNOUNCE = """
import os, sys
class Announce:
    def find_spec(self, name, path=None, target=None):
        if name == "launch.sample":
            os.write(1, b"launch")
sys.meta_path.insert(0, Announce())
"""


@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.8, 1.5, 3.0])
def test_an_interrupt_while_a_program_starts_is_one_line(trained_run, tmp_path, seconds):
    (tmp_path / "sitecustomize.py").write_text(ANNOUNCE)
    flags = [f"--model={trained_run}", "--length=100000000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "launch.sample", *flags],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert os.read(process.stdout.fileno(), 6) == b"launch"
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.count(b"\n") == 1, said
    assert b"interrupted" in said


def test_a_reader_that_goes_away_is_no_error(folder):
    with subprocess.Popen(
        [sys.executable, "say.py", "--config=own.py", "--do=flood"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


def test_a_folder_that_cannot_be_written_is_one_line(folder):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    (folder / "sealed").mkdir(mode=0o500)
    result = say(folder, "--config=own.py", "--do=write")
    assert result.returncode == 2
    assert result.stderr == "say: error: sealed/new.txt: Permission denied\n"


@pytest.mark.parametrize("flags", [[], ["--do=flood"]])
def test_a_full_disk_behind_the_standard_output_is_one_line(folder, flags):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "say.py", "--config=own.py", *flags],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": ""},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert result.stderr == "say: error: the output: No space left on device\n"
    assert result.returncode == 2


def test_a_program_whose_standard_output_is_closed_ends_well(folder):
    command = [sys.executable, "say.py", "--config=own.py"]
    result = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, b"")


def test_what_the_output_cannot_show_is_a_question_mark(folder):
    (folder / "accents.py").write_text(
        'from launch import program\nprogram.run(lambda _: print("\\u00b11 \\u00b6 \\udcff"))\n'
    )
    for encoding in ("ascii", "utf-8"):
        result = subprocess.run(
            [sys.executable, "accents.py"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": encoding},
            capture_output=True,
            timeout=60,
            check=False,
        )
        shown = "±1 ¶ ?\n".encode(encoding, "replace")
        assert (result.returncode, result.stdout, result.stderr) == (0, shown, b"")


def test_the_exit_code_of_main_is_the_programs(folder):
    assert say(folder, "--config=own.py", "--do=seven").returncode == 7


def test_help_is_the_programs_own_and_exit_code_0(folder):
    result = say(folder, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith("Says what its config is.")
    assert "--config:" in result.stdout
    assert "--do:" in result.stdout
    assert "--alsologtostderr" not in result.stdout
