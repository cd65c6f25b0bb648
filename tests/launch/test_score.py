import csv
import json
import math

import numpy as np
import pytest

import mlstm
from launch.rows import Rows
from mlstm.errors import InputError
from probing.evidence.controls import untrained_twin

TEXTS = ["It was great.", "", "é ü\n", "again and again " * 40]
PAIRS = [
    {"UID": "a", "good": "the dogs bark", "bad": "the dogs barks"},
    {"UID": "a", "good": "same", "bad": "same"},
    {"UID": "b", "good": "he goes", "bad": "goes he"},
]


def test_the_rows_of_a_file_are_those_of_model_score(launch, trained_run, tmp_path):
    path, output = tmp_path / "in.jsonl", tmp_path / "new" / "out.jsonl"
    path.write_text("\n".join(json.dumps({"id": 1, "review": text}) for text in TEXTS))
    result = launch(
        "score",
        f"--model={trained_run}",
        f"--input={path}",
        "--text_field=review",
        "--edit=0.c[3]=1.0",
        "--context=so ",
        "--tokens",
        f"--output={output}",
        f"--json={tmp_path / 'all.json'}",
    )
    assert result.returncode == 0, result.stderr
    expected = mlstm.load(trained_run).score(
        TEXTS, edits=["0.c[3]=1.0"], context="so ", tokens=True
    )
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [(row["id"], row["review"]) for row in rows] == [(1, text) for text in TEXTS]
    np.testing.assert_allclose([row["bits"] for row in rows], expected.bits, rtol=1e-5)
    assert [row["bytes"] for row in rows] == [len(text.encode()) for text in TEXTS]
    assert rows[1]["bits_per_byte"] is None
    np.testing.assert_allclose(rows[0]["tokens"], expected.tokens[0], atol=1e-4)
    assert rows[2]["ends"] == [1, 2, 3, 4, 5, 6]
    record = json.loads((tmp_path / "all.json").read_text())
    assert record["bits_per_byte"] == pytest.approx(expected.bits_per_byte, rel=1e-5)
    assert f"{expected.bits_per_byte:.4f} bits per byte" in result.stdout.decode()


def test_pairs_are_compared_beside_what_else_would_choose(launch, trained_run, tmp_path):
    path, output = tmp_path / "in.csv", tmp_path / "out.tsv"
    with path.open("w") as file:
        writer = csv.DictWriter(file, ["UID", "good", "bad"])
        writer.writeheader()
        writer.writerows(PAIRS)
    figures = tmp_path / "figures.json"
    flags = "--pair=good,bad", "--by=UID", f"--output={output}", f"--json={figures}"
    result = launch("score", f"--model={trained_run}", f"--input={path}", *flags)
    assert result.returncode == 0, result.stderr
    model = mlstm.load(trained_run)
    good, bad = (model.score([pair[name] for pair in PAIRS]).bits for name in ("good", "bad"))
    rows = list(csv.DictReader(output.open(), delimiter="\t"))
    np.testing.assert_allclose([float(row["bits_good"]) for row in rows], good, rtol=1e-5)
    assert rows[1]["cheaper"] == "tie"
    assert rows[0]["cheaper"] == ("good" if good[0] < bad[0] else "bad")
    record = json.loads(figures.read_text())
    wins = int(sum(good[k] < bad[k] for k in (0, 2)))
    assert record["shares"]["bits"]["share"] == pytest.approx((wins + 0.5) / 3)
    # "the dogs bark" is shorter, and of the third pair the letters are the same.
    assert record["shares"]["shorter"]["share"] == pytest.approx(2 / 3)
    assert record["shares"]["letters alone"]["ties"] == 2
    twin = untrained_twin(model)
    good, bad = (twin.score([pair[name] for pair in PAIRS]).bits for name in ("good", "bad"))
    wins = int(sum(good[k] < bad[k] for k in (0, 2)))
    assert record["shares"]["untrained twin"]["share"] == pytest.approx((wins + 0.5) / 3)
    assert record["groups"].keys() == {"a", "b"}
    assert "untrained twin" in result.stdout.decode()


def test_a_tsv_has_no_place_for_a_line_end(tmp_path):
    rows = Rows(tmp_path / "out.tsv", ["text", "bits"])
    assert rows.line({"text": 'a "b"', "bits": 1.5}) == b'a "b"\t1.5\n'
    with pytest.raises(InputError, match=r"has a tab or a line end.*write \.csv"):
        rows.line({"text": "a\nb", "bits": math.pi})


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--pair=good"], "it is two fields"),
        (["--pair=good,bad"], "has lines and no fields"),
        (["--by=UID"], "--by says nothing without --pair"),
        (["--tokens"], "name a .jsonl with --output"),
        (["--output=out.jsonl", "--json=./out.jsonl"], "--json=out.jsonl is the file of --output"),
        (["--json=INPUT"], "is the file of --input"),
        (["--input=PAIRS", "--text_field=good", "--output=PAIRS"], "is the file of --input"),
        (["--output=out.txt"], "as .csv, .tsv or .jsonl"),
        (["--edit=5.c[1]=0"], "5.c"),
        (["--input=PAIRS", "--pair=good,worse"], 'no field "worse" (fields: UID, good, bad'),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(launch, trained_run, tmp_path, flags, words):
    (tmp_path / "in.txt").write_text("a\nb\n")
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, PAIRS)))
    files = {"PAIRS": str(tmp_path / "pairs.jsonl"), "INPUT": str(tmp_path / "in.txt")}
    for word, file in files.items():
        flags = [flag.replace(word, file) for flag in flags]
    result = launch("score", f"--model={trained_run}", f"--input={tmp_path / 'in.txt'}", *flags)
    assert result.returncode == 2, result.stderr
    assert result.stderr.count(b"\n") == 1
    assert words in result.stderr.decode()
