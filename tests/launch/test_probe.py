import json
import shutil

import numpy as np
import pytest

from probing.states.store import open_store


@pytest.fixture(scope="module")
def code(tmp_path_factory, write_code):
    folder = tmp_path_factory.mktemp("code")
    write_code(folder, 6)
    (folder / "broken.py").write_text("(")
    return folder


def test_a_table_a_sample_and_both_files_come_out(launch, trained_run, code, tmp_path):
    done = launch(
        "probe",
        f"--model={trained_run}",
        "--task=source_code",
        f"--data={code}",
        f"--output={tmp_path / 'out'}",
        "--show=string",
    )
    assert done.returncode == 0, done.stderr.decode()
    printed = done.stdout.decode()
    assert "(string)" in printed
    assert "twin" in printed
    assert "1 documents could not be labelled: broken.py" in printed
    assert "\x1b[" not in printed
    saved = json.loads((tmp_path / "out" / "results.json").read_text())
    rows = {row["concept"]: row for row in saved["best"]}
    assert {"string", "comment", "indentation depth", "position in line"} <= set(rows)
    assert f"{rows['string']['test']:.3f}" in printed
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.rstrip().endswith("</html>")
    assert f"{rows['string']['test']:.3f}" in page
    assert (tmp_path / "out" / "figures" / "neurons_best.svg").exists()
    assert f"figures  {tmp_path / 'out' / 'figures'}" in printed


def test_of_a_population_one_model_is_chosen_and_has_a_folder_and_figures_of_its_own(
    launch, trained_population, code, tmp_path
):
    run = tmp_path / "run"
    shutil.copytree(trained_population, run)
    entry = {"step": 1, "kind": "validation", "bits_per_byte": 3, "bits_per_byte_of_seeds": [2, 4]}
    (run / "metrics.jsonl").write_text(json.dumps(entry) + "\n")
    flags = [f"--model={run}", f"--data={code}"]
    done = launch("probe", *flags)
    assert done.returncode == 2
    assert b"its seeds are 5 to 6" in done.stderr
    done = launch("probe", *flags, "--model_seed=6", "--nofigures")
    assert done.returncode == 0, done.stderr.decode()
    written = run / "probe" / "source_code" / "seed6"
    assert "seed 6" in json.loads((written / "results.json").read_text())["model"]
    assert "4.000 on validation text" in (written / "report.html").read_text()
    assert not (written / "figures").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--model=no/such/run"], "no/such/run"),
        (["--task=sentimental"], "source_code"),
        (["--sites=0.q"], "0.c"),
        (["--data=no/such/folder"], "no/such/folder"),
        (["--data=~nosuch/code"], "~nosuch is nobody's home"),
        (["--output=~nosuch/out"], "~nosuch is nobody's home"),
        (["--show=irony"], "docstring"),
        (["--data={empty}"], "no .py files"),
        (["--data={comments}"], "at least 3"),
        (["--output=/dev/null/x"], "cannot be written"),
        (["--protocol=full_probe"], "name the concept: "),
        (["--twins=2"], "--twins says nothing without --protocol=full_probe"),
        (["--stored_as=float16"], "--stored_as says nothing without --store"),
        (["--protocol=diagnostic", "--draws=0"], "--draws says nothing to --protocol=diagnostic"),
        (["--sites=0.c,0.h", "--protocol=radford", "--store={empty}/x"], "takes one site"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(launch, trained_run, code, tmp_path, flags, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "comments").mkdir()
    (tmp_path / "comments" / "a.py").write_text("# one\n")
    flags = [f.format(empty=tmp_path / "empty", comments=tmp_path / "comments") for f in flags]
    given = {f"--model={trained_run}", f"--data={code}", f"--output={tmp_path / 'out'}"}
    names = {flag.split("=")[0] for flag in flags}
    done = launch("probe", *[g for g in sorted(given) if g.split("=")[0] not in names], *flags)
    assert done.returncode == 2
    assert words in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
    assert not list(tmp_path.glob("out/*"))


def test_a_protocol_on_a_mesh_is_refused_in_one_line(launch, trained_run, code):
    done = launch(
        "probe", f"--model={trained_run}", f"--data={code}", "--protocol=radford", "--mesh=1x1"
    )
    assert done.returncode == 2
    assert done.stderr.decode().splitlines() == [
        "probe: error: --protocol runs on one device of one process: leave out --mesh"
    ]


def test_states_are_stored_after_their_size_was_said_and_never_over_something(
    launch, trained_run, code, tmp_path
):
    flags = [f"--model={trained_run}", f"--data={code}", "--draws=0", "--nocontrols", "--nofigures"]
    flags += [f"--store={tmp_path / 'states'}", "--stored_as=float16"]
    done = launch("probe", *flags, f"--output={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr.decode()
    said = done.stdout.decode()
    store = open_store(tmp_path / "states")
    assert said.index("bytes for") < said.index("best of 8 neurons")
    assert f"{len(store.document):,} positions of 0.c as float16" in said
    assert store.states["0.c"].dtype == np.float16
    done = launch("probe", *flags, f"--output={tmp_path / 'again'}")
    assert done.returncode == 2
    assert "exists already; a store is written to a new folder" in done.stderr.decode()
    assert not (tmp_path / "again" / "results.json").exists()


def test_a_protocol_leaves_its_report_its_csv_and_its_figures(launch, trained_run, tmp_path):
    texts = [f"{'good' if k % 2 else 'bad'} number {k}" for k in range(80)]
    lines = [f"{k % 2},{text}" for k, text in enumerate(texts)]
    (tmp_path / "texts.csv").write_text("\n".join(["label,text", *lines]) + "\n")
    given = [f"--model={trained_run}", "--task=sentiment", f"--data={tmp_path / 'texts.csv'}"]
    done = launch("probe", *given, "--protocol=radford", f"--output={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr.decode()
    written = {str(path.relative_to(tmp_path / "out")) for path in tmp_path.glob("out/**/*.*")}
    drawn = {f"figures/radford_{name}" for name in ("values", "weights")}
    assert written >= {"radford.json", "radford.csv", "radford_mistakes.csv", "radford.html"}
    assert written >= {f"{name}.{kind}" for name in drawn for kind in ("svg", "png")}
    report = json.loads((tmp_path / "out" / "radford.json").read_text())
    assert f",test,{report['test']},\n" in (tmp_path / "out" / "radford.csv").read_text()
    assert f"figures  {tmp_path / 'out' / 'figures'}" in done.stdout.decode()


def test_the_full_probe_says_what_it_reads_prints_its_table_and_leaves_its_figures(
    launch, trained_run, code, tmp_path
):
    flags = [f"--model={trained_run}", f"--data={code}", f"--output={tmp_path}"]
    flags += ["--protocol=full_probe", "--probe_rows=100", "--concept=string", "--twins=2"]
    done = launch("probe", *flags)
    assert done.returncode == 0, done.stderr.decode()
    first, *others = done.stdout.decode().splitlines()
    assert first.startswith("sample: ")
    saved = json.loads((tmp_path / "full_probe.json").read_text())
    assert saved["classes"] == ["string", "not string"]
    [row] = [line for line in others if line.startswith("all 8 neurons")]
    assert f"{saved['probe']['accuracy']:.4f}" in row
    assert any(line.startswith("random weights, mean of 2 seeds") for line in others)
