"""Every command that the page names exists: its program, its flags, its config's fields."""

import json
import re
import shlex
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from mlstm.formats.published import MODELS
from mlstm.training.config import Config, flat, to_dict

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "coming_from.md").read_text()
COMMAND = re.compile(r"python -m launch\.(\w+)(.*)")
FLAG = re.compile(r"(?<=\s)--([a-z_]+)(?:\.([a-z_.]+))?(?:=(\"[^\"]*\"|\S+))?")


def blocks() -> list[str]:
    """The lines of its commands."""
    return "".join(re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)).splitlines()


def named() -> dict[str, list[tuple[str, str, str]]]:
    """Program -> what its commands give: flag, field of the config, value."""
    found = defaultdict(list)
    for line in blocks():
        program, rest = COMMAND.fullmatch(line).groups()
        found[program] += FLAG.findall(rest)
        assert re.sub(FLAG, "", rest).strip() == "", f"what is no flag in {line}"
    for program, rest in re.findall(r"`launch\.(\w+)((?: --[^`]*)?)`", PAGE):
        found[program] += FLAG.findall(rest)
    for flag in re.findall(r"`(--config\.[^`]*)`", PAGE):
        found["train"] += FLAG.findall(f" {flag}")
    return found


NAMED = named()


def test_the_page_has_commands_of_most_programs():
    assert len(NAMED) > 10
    assert sum(map(len, NAMED.values())) > 100


@pytest.mark.parametrize("program", sorted(NAMED))
def test_every_command_has_its_program_its_flags_and_its_values(program):
    script = f"""
import json, launch.{program}
from absl import flags
print(json.dumps({{
    name: getattr(flags.FLAGS[name].parser, "enum_values", None) for name in flags.FLAGS
}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    known, fields = json.loads(done.stdout), flat(to_dict(Config()))
    for flag, field, value in NAMED[program]:
        assert flag in known, f"--{flag} of launch.{program}"
        if field:
            assert flag == "config"
            assert field in fields, f"--config.{field}"
        elif known[flag] and value:
            assert value.strip('"') in known[flag], f"--{flag}={value}"


TRAININGS = [line for line in blocks() if "launch.train" in line]


@pytest.mark.parametrize("line", TRAININGS, ids=range(len(TRAININGS)))
def test_what_a_training_is_given_is_a_config(line):
    given = [part for part in shlex.split(line) if part.startswith("--config")]
    script = f"""
import sys
sys.argv = ["train", *{given!r}]
from absl import flags
from launch import train
from mlstm.training.config import from_config_dict
flags.FLAGS(sys.argv)
print(from_config_dict(flags.FLAGS.config).model)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ModelConfig(")


def test_published_models_that_it_names_are_known():
    names = set(re.findall(r"published:([\w.-]+)", PAGE))
    assert names
    assert names <= {model.name for model in MODELS}


def test_files_that_it_names_are_there():
    for link in re.findall(r"\]\((\w+\.md)\)", PAGE):
        assert (ROOT / "docs" / link).is_file()
