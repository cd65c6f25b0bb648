import json

import pytest

SENTENCES = ("a very good film", "a very bad film", "good, and long", "bad , and long")


@pytest.fixture(scope="module")
def opinions(tmp_path_factory):
    """A csv of good and bad, each sentence of its own."""
    file = tmp_path_factory.mktemp("opinions") / "opinions.csv"
    lines = ["label,sentence"]
    lines += [f'{int(k % 2 == 0)},"{SENTENCES[k % 4]} {k}"' for k in range(80)]
    file.write_text("\n".join(lines) + "\n")
    return file


def test_a_card_with_its_controls_is_printed_and_the_claim_is_saved(
    launch, trained_run, opinions, tmp_path
):
    done = launch(
        "study",
        f"--model={trained_run}",
        "--task=sentiment",
        f"--data={opinions}",
        "--draws=19",
        f"--output={tmp_path}",
    )
    assert done.returncode == 0, done.stderr.decode()
    printed = done.stdout.decode()
    for part in ("null", "surface", "twin", "lead", "necessity", "not tested"):
        assert part in printed
    assert "encodes" not in printed
    saved = json.loads((tmp_path / "study-positive.json").read_text())
    (claim,) = saved["claims"]
    assert claim["chosen"] is True
    assert claim["verdict"] in ("not significant", "explained by a baseline", "correlational only")
    assert f"p = {claim['p']:.4f}" in printed


def test_the_protocol_of_radford_prints_all_neurons_beside_one(
    launch, trained_run, opinions, tmp_path
):
    done = launch(
        "probe",
        f"--model={trained_run}",
        "--task=sentiment",
        f"--data={opinions}",
        "--protocol=radford",
        f"--output={tmp_path}",
    )
    assert done.returncode == 0, done.stderr.decode()
    assert "all neurons, L1" in done.stdout.decode()
    assert json.loads((tmp_path / "radford.json").read_text())["kind"] == "radford"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--task=sentiment"], "--task=sentiment needs labelled data: name it with --data"),
        (["--task=source_code", "--pattern=a=b"], "--pattern says nothing to --task=source_code"),
        (["--task=patterns"], "needs at least one --pattern=NAME=REGEX"),
        (["--neuron=0.c[1]", "--sites=0.h"], "--neuron and --sites exclude each other"),
        (["--task=source_code"], "concepts; name one"),
    ],
)
def test_wrong_flags_get_one_line(launch, trained_run, flags, says):
    done = launch("study", f"--model={trained_run}", *flags)
    assert done.returncode == 2
    (line,) = done.stderr.decode().strip().splitlines()
    assert says in line
