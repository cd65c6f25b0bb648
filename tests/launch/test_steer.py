import json

import numpy as np
import pytest


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A folder of texts in which some bytes are digits."""
    folder = tmp_path_factory.mktemp("texts")
    draw = np.random.default_rng(0)
    for k in range(12):
        (folder / f"{k}.txt").write_bytes(bytes(draw.choice(list(b"some 0123\n"), 200).tolist()))
    return folder


@pytest.fixture
def flags(trained_run, texts, tmp_path):
    task = (f"--data={texts}", "--task=patterns", "--pattern=digit=[0-9]")
    size = ("--prompts=3", "--prompt_bytes=10", "--samples=1", "--length=20")
    return (f"--model={trained_run}", *task, *size, f"--output={tmp_path}")


def test_the_dose_response_is_printed_saved_and_drawn(launch, flags, tmp_path):
    done = launch(
        "steer", *flags, "--neuron=0.c[2]", "--doses=0.1,0.5,0.9", "--controls=4", "--how=set"
    )
    assert done.returncode == 0, done.stderr.decode()
    printed = done.stdout.decode("utf-8", "replace")
    for part in (
        '0.c[2] set to doses, and "digit"',
        "unedited",
        "90%",
        "slope",
        "of 4 at the same",
    ):
        assert part in printed
    assert printed.count("goes on") == 4
    saved = json.loads((tmp_path / "steer-digit-0.c[2]-howset.json").read_text())
    assert [dose["quantile"] for dose in saved["doses"]] == [0.1, 0.5, 0.9]
    assert (saved["prompts"], saved["length"], len(saved["slopes"])) == (3, 20, 4)
    assert saved["expected"] == 0
    for kind in ("svg", "png"):
        assert (tmp_path / f"steer-digit-0.c[2]-howset.{kind}").stat().st_size > 1000


def test_without_a_neuron_the_best_of_train_is_steered_and_its_sign_expected(
    launch, flags, tmp_path
):
    done = launch("steer", *flags, "--site=0.h", "--controls=2", "--show=0", "--phase=both")
    assert done.returncode == 0, done.stderr.decode()
    saved = json.loads((tmp_path / "steer-digit-phaseboth.json").read_text())
    assert saved["subject"].startswith("0.h[")
    assert saved["expected"] in (-1, 1)
    assert b"goes on" not in done.stdout


def test_a_direction_from_a_file_is_steered_from_given_prompts(launch, flags, tmp_path):
    np.save(tmp_path / "v.npy", np.arange(1, 9))
    given = [flag for flag in flags if not flag.startswith("--prompt")]
    done = launch("steer", *given, f"--direction={tmp_path}/v.npy", "--prompt=some", "--prompt=0 1")
    assert done.returncode == 0, done.stderr.decode()
    saved = json.loads((tmp_path / "steer-digit-v.json").read_text())
    assert (saved["how"], saved["prompts"], saved["prompt_source"]) == ("add", 2, "given")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--neuron=0.c[99]"], "no unit 99"),
        (["--doses=0.1,nan"], "from 0 to 1"),
        (["--doses="], "doses are none"),
        (["--doses=0.1,high"], '"high" is no number'),
        (["--prompts=0"], "0 prompts"),
        (["--neuron=0.c[1]", "--site=0.h"], "--neuron and --site exclude"),
        (["--neuron=0.c[1]", "--direction=v.npy"], "--neuron and --direction exclude"),
        (["--prompt=x"], "exclude each other"),
        (["--direction=none.npy"], "none.npy: cannot be read"),
    ],
)
def test_wrong_flags_get_one_line(launch, flags, more, says):
    named = any("neuron" in flag or "direction" in flag for flag in more)
    done = launch("steer", *flags, *([] if named else ["--neuron=0.c[1]"]), *more)
    assert done.returncode == 2
    (line,) = done.stderr.decode().strip().splitlines()
    assert says in line


def test_an_empty_prompt_is_one_line(launch, flags):
    given = [flag for flag in flags if not flag.startswith("--prompt")]
    done = launch("steer", *given, "--neuron=0.c[1]", "--prompt=")
    assert done.returncode == 2
    assert done.stderr.decode().strip().endswith("at least one byte is needed to start from")
