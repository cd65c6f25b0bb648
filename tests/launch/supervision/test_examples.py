"""What the examples for launch.node say: each could train on the devices that it is for."""

import re
import shlex
from pathlib import Path

import pytest
from absl import flags

from launch import node, shipped
from mlstm.training import config

FOLDER = Path(node.__file__).parent
README = FOLDER.parent / "README.md"


def lines(text):
    """The lines of a text, those that end in a backslash joined with the next."""
    return re.sub(r"\\\n[#\s]*", " ", text).splitlines()


def of_launch_node(text):
    """(arguments, devices of each host) of each command line; its comment has the devices."""
    for line in lines(text):
        found = re.search(r"python -m launch\.node (.*--workdir=.*)# .*?(\d+) GPUs", line)
        if found:
            yield shlex.split(found[1]), int(found[2])


def of_slurm():
    script = (FOLDER / "slurm" / "train.sbatch").read_text()
    (usage,) = [line for line in lines(script) if line.startswith("#     sbatch")]
    of_sbatch, _, arguments = usage.partition("train.sbatch")
    (nodes,) = re.findall(r"--nodes=(\d+)", of_sbatch)
    (devices,) = re.findall(r"--gres=gpu:(\d+)", of_sbatch)
    return [f"--nodes={nodes}", *shlex.split(arguments)], int(devices)


def of_kubernetes():
    yaml = pytest.importorskip("yaml")
    text = (FOLDER / "kubernetes" / "jobset.yaml").read_text()
    (jobset,) = [each for each in yaml.safe_load_all(text) if each["kind"] == "JobSet"]
    job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    return container["args"], container["resources"]["limits"]["nvidia.com/gpu"]


@pytest.fixture
def check(monkeypatch):
    """check(arguments, devices): fails where the config is refused, or is not for the devices."""

    def check(arguments, devices):
        line = ["train", *(word for word in arguments if word.startswith("--config"))]
        monkeypatch.setattr("sys.argv", line)  # where ml_collections looks for fields
        values = flags.FlagValues()
        shipped.define_config_flag(values, required=True)
        values(line)
        assert values["config"].value is not None
        given = config.from_config_dict(values["config"].value)
        (nodes,) = [int(w.partition("=")[2]) for w in arguments if w.startswith("--nodes=")] or [1]
        assert given.mesh.data * given.mesh.model == nodes * devices
        assert given.data.batch % given.mesh.data == 0

    return check


def test_the_commands_in_the_help_of_launch_node_could_train(check):
    alone, several = of_launch_node(node.__doc__)
    check(*alone)
    check(*several)


def test_the_commands_in_the_readme_could_train(check):
    if not README.exists():
        pytest.skip("installed without its sources")
    text = README.read_text()
    commands = list(of_launch_node(text))
    assert len(commands) == text.count("python -m launch.node ")
    for arguments, devices in commands:
        check(arguments, devices)


def test_the_command_in_the_batch_script_could_train(check):
    check(*of_slurm())


def test_the_arguments_in_the_jobset_could_train(check):
    check(*of_kubernetes())
