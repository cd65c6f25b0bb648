import csv
import json

import numpy as np
import pytest

import mlstm
from probing.evidence.probes.classifying import load_classifier

GOOD, BAD = ("good", "fine", "great", "lovely"), ("awful", "dull", "bad", "weak")
TEXTS = ['It was "great",\nthen not.', "", "é ü 日本 good", "a,b\tc"]


@pytest.fixture(scope="module")
def fitted(launch, trained_run, tmp_path_factory):
    """A probe of sentiment in a folder, and what fitting it printed."""
    folder = tmp_path_factory.mktemp("probe")
    draw = np.random.default_rng(0)
    rows = ["text\tlabel"]
    for k in range(90):
        words = draw.choice(GOOD if k % 2 else BAD, 3)
        rows.append(f"{k} {' '.join(words)}\t{k % 2}")
    (folder / "reviews.tsv").write_text("\n".join(rows) + "\n")
    done = launch(
        "classify",
        f"--model={trained_run}",
        "--fit",
        "--task=sentiment",
        f"--data={folder / 'reviews.tsv'}",
        f"--probe={folder / 'sst'}",
    )
    assert done.returncode == 0, done.stderr.decode()
    return folder / "sst", done.stdout.decode()


def expected(trained_run, folder):
    return load_classifier(folder).predict_proba(mlstm.load(trained_run), TEXTS)


def test_fitting_prints_the_figures_beside_the_majority(fitted):
    folder, printed = fitted
    about = load_classifier(folder).about
    assert f"{about.accuracy['test']:.4f}" in printed
    assert f"{about.majority['test']:.4f}" in printed
    assert "negative, positive, from 0.c of " in printed


def test_a_csv_with_quotes_and_line_ends_keeps_order_and_fields(
    launch, trained_run, fitted, tmp_path
):
    with open(tmp_path / "in.csv", "w", newline="") as file:
        csv.writer(file).writerows([["id", "review"], *([k, t] for k, t in enumerate(TEXTS))])
    done = launch(
        "classify",
        f"--model={trained_run}",
        f"--probe={fitted[0]}",
        f"--input={tmp_path / 'in.csv'}",
        "--text_field=review",
        f"--output={tmp_path / 'new' / 'out.csv'}",
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    with open(tmp_path / "new" / "out.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["review"] for row in rows] == TEXTS
    assert [row["id"] for row in rows] == ["0", "1", "2", "3"]
    found = [[float(row[f"probability_{c}"]) for c in ("negative", "positive")] for row in rows]
    np.testing.assert_allclose(found, expected(trained_run, fitted[0]), atol=1e-5)
    names = ["negative", "positive"]
    assert [row["predicted"] for row in rows] == [names[int(np.argmax(row))] for row in found]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.csv"]


def test_along_a_jsonl_has_a_probability_for_each_byte(launch, trained_run, fitted, tmp_path):
    lines = [json.dumps({"n": {"k": k}, "text": text}) for k, text in enumerate(TEXTS)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    done = launch(
        "classify",
        f"--model={trained_run}",
        f"--probe={fitted[0]}",
        f"--input={tmp_path / 'in.jsonl'}",
        "--along",
        f"--output={tmp_path / 'out.jsonl'}",
    )
    assert done.returncode == 0, done.stderr.decode()
    assert "probability of positive" in done.stdout.decode()
    assert "日本" in done.stdout.decode()
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rows] == TEXTS
    assert [row["n"]["k"] for row in rows] == [0, 1, 2, 3]
    whole = expected(trained_run, fitted[0])
    for row, text, (_, positive) in zip(rows, TEXTS, whole, strict=True):
        assert len(row["along"]["positive"]) == len(text.encode())
        if text:
            assert row["along"]["positive"][-1] == pytest.approx(positive, abs=1e-5)
        assert row["probability_positive"] == pytest.approx(positive, abs=1e-5)


def test_lines_that_are_no_utf8_come_out_too(launch, trained_run, fitted, tmp_path):
    (tmp_path / "in.txt").write_bytes(b"one\n\n\xff\xe9\n")
    flags = f"--model={trained_run}", f"--probe={fitted[0]}", f"--input={tmp_path / 'in.txt'}"
    done = launch("classify", *flags, f"--output={tmp_path / 'out.csv'}")
    assert done.returncode == 0, done.stderr.decode()
    lines = (tmp_path / "out.csv").read_bytes().splitlines()
    assert lines[0] == b"text,predicted,probability_negative,probability_positive"
    assert [line.split(b",")[0] for line in lines[1:]] == [b"one", b"", b"\xff\xe9"]
    done = launch("classify", *flags, f"--output={tmp_path / 'out.jsonl'}")
    assert done.returncode == 0, done.stderr.decode()
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rows] == ["one", "", "\ufffd\ufffd"]


def slow(*case):
    return pytest.param(*case, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("name", "content", "flags", "words"),
    [
        ("in.csv", "a,b\n1,2\n", [], 'in.csv:1: no field "text"'),
        slow("in.csv", "text,b\n1\n", [], "in.csv:2: 1 fields; the header names 2"),
        ("in.csv", "text,predicted\n1,2\n", [], 'has a field "predicted", which is added'),
        slow("in.csv", "text,b,b\n1,2,3\n", [], 'two fields have the name "b"'),
        ("in.jsonl", '{"text": "a"}\n{', [], "in.jsonl:2: neither JSON nor a Python literal"),
        slow("in.jsonl", '{"text": 3}\n', [], 'in.jsonl:1: field "text" is 3, no text'),
        ("in.tsv", "text\n", ["--probe=nosuch"], "nosuch/classifier.json: cannot be read"),
        ("in.txt", "a\n", ["--output=out.npy"], "written as .csv or .jsonl"),
        slow("in.txt", "a\n", ["--along"], "with --along as .jsonl"),
        slow("in.txt", "a\n", ["--task=patterns"], "--task says nothing to the texts of --input"),
        ("in.txt", "a\n", ["--fit"], "--input says nothing to --fit"),
        (
            "in.txt",
            "a\n",
            ["--show=sad", "--along", "--output=out.jsonl"],
            "the classes are negative, positive",
        ),
        ("in.txt", "a\n", ["--show=positive"], "--show says nothing without --along"),
        slow("in.txt", "a\n", ["--colour=none"], "--colour says nothing without --along"),
        slow("in.txt", "a\n", ["--input="], "--input and --output are needed"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    launch, trained_run, fitted, tmp_path, name, content, flags, words
):
    (tmp_path / name).write_text(content)
    usual = f"--model={trained_run}", f"--probe={fitted[0]}", f"--input={tmp_path / name}"
    done = launch("classify", *usual, f"--output={tmp_path / 'out.csv'}", *flags)
    assert done.returncode == 2, done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
    assert words in done.stderr.decode()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_another_checkpoint_of_the_run_is_noted_and_another_run_refused(
    launch, trained_run, trained_population, fitted, tmp_path
):
    (tmp_path / "in.txt").write_text("a\n")
    flags = f"--probe={fitted[0]}", f"--input={tmp_path / 'in.txt'}"
    output = f"--output={tmp_path / 'out.csv'}"
    done = launch("classify", f"--model={trained_run}", "--step=1", *flags, output)
    assert done.returncode == 0, done.stderr.decode()
    assert "step 1 is read, whose states differ" in done.stdout.decode()
    (tmp_path / "out.csv").unlink()
    done = launch("classify", f"--model={trained_population}", "--model_seed=5", *flags, output)
    assert done.returncode == 2
    assert "has other parameters. Fit a probe for this model" in done.stderr.decode()
    assert not (tmp_path / "out.csv").exists()
