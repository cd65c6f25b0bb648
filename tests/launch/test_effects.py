import json

import pytest

from mlstm.model.edits import save_edits, zero


@pytest.fixture(scope="module")
def code(write_code, tmp_path_factory):
    folder = tmp_path_factory.mktemp("code")
    write_code(folder, 12)
    return folder


def effects(launch, run, code, output, *more):
    return launch(
        "effects",
        f"--model={run}",
        "--task=source_code",
        "--concept=string",
        f"--data={code}",
        "--bytes=1024",
        "--compared_bytes=512",
        f"--output={output}",
        *more,
    )


@pytest.mark.slow
def test_a_neuron_is_ablated_beside_all_others_and_drawn(launch, trained_run, code, tmp_path):
    done = effects(launch, trained_run, code, tmp_path, "--neuron=0.c[3]", "--kind=mean")
    assert done.returncode == 0, done.stderr.decode()
    printed = done.stdout.decode()
    for part in ("on the concept", "elsewhere", "percentile", "of 7 other neurons", "half-life"):
        assert part in printed
    (path,) = tmp_path.glob("*.json")
    assert path.name.startswith("effects-string-0.c[3]-kindmean-bytes1024-compared_bytes512-data")
    effect, pulse = json.loads(path.read_text())
    assert (effect["kind"], pulse["kind"]) == ("effect", "pulse")
    assert effect["edits"] == ["0.c[3]"]
    assert [change["kind"] for change in effect["changes"]] == ["mean"]
    assert effect["changes"][0]["comparison"]["n"] == 7
    drawn = {p.name for p in (tmp_path / "figures" / path.stem).iterdir()}
    assert drawn >= {"effect_controls.svg", "effect_controls.png", "effect_pulse.svg"}


def test_of_short_documents_the_pulse_is_left_out_and_the_rest_is_saved(
    launch, trained_run, tmp_path
):
    short = tmp_path / "short"
    short.mkdir()
    for k in range(12):
        (short / f"{k}.py").write_text(f"name_{k} = 'text'\n")
    flags = "--neuron=0.c[3]", "--kind=mean", "--controls=0", "--nofigures"
    done = effects(launch, trained_run, short, tmp_path / "out", *flags)
    assert done.returncode == 0, done.stderr.decode()
    assert "no pulse of 0.c[3]: " in done.stdout.decode()
    assert "no test document has more than 200 bytes" in done.stdout.decode()
    (path,) = (tmp_path / "out").glob("*.json")
    assert [each["kind"] for each in json.loads(path.read_text())] == ["effect"]


@pytest.mark.slow
def test_without_a_neuron_the_site_is_swept_and_the_best_is_looked_at(
    launch, trained_run, code, tmp_path
):
    flags = ("--sites=0.h", "--verify=3", "--curves", "--nofigures")
    done = effects(launch, trained_run, code, tmp_path, *flags)
    assert done.returncode == 0, done.stderr.decode()
    (path,) = tmp_path.glob("*.json")
    sweep, effect, pulse, curves = json.loads(path.read_text())
    best = max(sweep["verified"], key=lambda v: v["on"])["neuron"]
    assert effect["edits"] == [best]
    assert pulse["neuron"] == best
    assert curves["site"] == "0.h"
    assert not (tmp_path / "figures").exists()


@pytest.mark.slow
def test_edits_of_a_file_are_made(launch, trained_run, code, tmp_path):
    save_edits(tmp_path / "edits.json", [zero("0.c", (1, 2))])
    flags = (f"--edits={tmp_path / 'edits.json'}", "--nofigures")
    done = effects(launch, trained_run, code, tmp_path / "out", *flags)
    assert done.returncode == 0, done.stderr.decode()
    (path,) = (tmp_path / "out").glob("*.json")
    (effect,) = json.loads(path.read_text())
    assert effect["edits"] == ["0.c[1,2]=0"]
    assert effect["changes"][0]["kind"] == "as given"


def test_a_text_is_attributed_to(launch, trained_run, tmp_path):
    flags = ("--text=ab(c", "--neuron=0.c[3]", f"--output={tmp_path}")
    done = launch("effects", f"--model={trained_run}", *flags)
    assert done.returncode == 0, done.stderr.decode()
    assert "0.c[3] of 4 bytes" in done.stdout.decode()
    assert "completeness error" in done.stdout.decode()
    (path,) = tmp_path.glob("attribution-0.c[[]3]-text*.json")
    assert json.loads(path.read_text())["text"] == "ab(c"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--neuron=0.c[99]"], "no unit 99"),
        (["--neuron=0.c[1]", "--neuron=0.h[1]"], "of one site"),
        (["--neuron=0.c[1]", "--edit=0.c[1]=0"], "exclude each other"),
        (["--edit=0.c[1]=nan"], "is not a number"),
        (["--edit=0.c[1]"], "is not an edit"),
        (["--neuron=0.c[1]", "--sets=30"], "--sets says nothing with no --curves"),
        (["--neuron=0.c[1]", "--verify=3"], "--verify says nothing with no sweep"),
        (["--neuron=0.c[1]", "--text=ab"], "--concept says nothing with --text"),
        (["--neuron=0.c[1]", "--concept=nothing"], "no concept 'nothing'"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(launch, trained_run, code, tmp_path, flags, said):
    done = effects(launch, trained_run, code, tmp_path, *flags)
    assert done.returncode == 2
    (line,) = done.stderr.decode().strip().splitlines()
    assert said in line
