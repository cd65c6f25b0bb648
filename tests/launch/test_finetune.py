"""launch.finetune from end to end on a tiny model, and what other programs make of its folder."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import mlstm

FLAGS = ("--epochs=2", "--freeze=50", "--learning_rate=0.02", "--buckets=1")


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    """A file of texts with two labels, and a rating."""
    file = tmp_path_factory.mktemp("reviews") / "reviews.csv"
    draw = np.random.default_rng(0)
    with open(file, "w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["id", "text", "label", "angry"])
        for k in range(90):
            word, end = ("great", "awful")[k % 2], ("!", ".")[k // 2 % 2]
            rows.writerow(
                [k, f"{k} {word} {draw.integers(1000)}{end * 5}", 1 - k % 2, 1 - k // 2 % 2]
            )
    return file


@pytest.fixture(scope="module")
def made(launch, trained_run, reviews, tmp_path_factory):
    """The folder of a classifier, and what making it printed."""
    folder = tmp_path_factory.mktemp("made") / "reviews"
    done = launch(
        "finetune", f"--model={trained_run}", f"--data={reviews}", f"--output={folder}", *FLAGS
    )
    assert done.returncode == 0, done.stderr.decode()
    return folder, done.stdout.decode()


def test_it_prints_a_table_beside_the_frozen_probe_ngrams_and_majority(made):
    folder, printed = made
    results = json.loads((folder / "results.json").read_text())
    rows = ("fine-tuned", "probe, model frozen", "character n-grams", "most frequent class")
    assert tuple(results["test"]) == rows
    for name in rows:
        accuracy = results["test"][name]["accuracy"]
        assert f"{name:24}" in printed
        assert (
            f"{accuracy['value']:.4f} [{accuracy['lower']:.4f}, {accuracy['upper']:.4f}]" in printed
        )
    assert "epoch 2 of 2: train loss " in printed
    assert results["test"]["most frequent class"]["mcc"]["value"] == 0
    assert results["test"]["character n-grams"]["accuracy"]["value"] > 0.9


def test_the_same_command_again_prints_the_same_table(launch, trained_run, reviews, made):
    folder, printed = made
    done = launch(
        "finetune", f"--model={trained_run}", f"--data={reviews}", f"--output={folder}", *FLAGS
    )
    assert done.returncode == 0, done.stderr.decode()
    assert "went on after epoch 2" in done.stdout.decode()
    assert done.stdout.decode().endswith(printed[printed.index("\n\n") :])


def test_its_folder_is_a_model_for_other_programs(launch, made, tmp_path):
    (tmp_path / "text.txt").write_text("great awful\n" * 50)
    done = launch("evaluate", f"--model={made[0]}", f"--data={tmp_path / 'text.txt'}")
    assert done.returncode == 0, done.stderr.decode()
    assert "bits" in done.stdout.decode()


def test_it_classifies_texts_without_a_model_beside_it(launch, made, tmp_path):
    texts = ["1 great 2!!!!!", "", "é awful"]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    flags = f"--probe={made[0]}", f"--input={tmp_path / 'in.jsonl'}"
    done = launch("classify", *flags, f"--output={tmp_path / 'out.csv'}")
    assert done.returncode == 0, done.stderr.decode()
    classifier = mlstm.load_classifier(made[0])
    odds = classifier.predict_proba(texts)
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [row["predicted"] for row in rows] == classifier.predict(texts)
    found = [[float(row[f"probability_{c}"]) for c in ("negative", "positive")] for row in rows]
    np.testing.assert_allclose(found, odds, atol=1e-5)
    done = launch("classify", *flags, "--along", f"--output={tmp_path / 'out.jsonl'}")
    assert done.returncode == 0, done.stderr.decode()
    assert "probability of positive" in done.stdout.decode()
    last = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[2])
    assert len(last["along"]["positive"]) == len(texts[2].encode())
    assert last["along"]["positive"][-1] == pytest.approx(odds[2, 1], abs=1e-5)


def test_several_fields_are_as_many_labels(launch, trained_run, reviews, tmp_path):
    done = launch(
        "finetune", f"--model={trained_run}", f"--data={reviews}", "--label_field=label,angry",
        f"--output={tmp_path / 'two'}", "--thresholds=f1", "--poolings=last,mean", "--sizes=4",
        "--activation=tanh", *FLAGS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    results = json.loads((tmp_path / "two" / "results.json").read_text())
    assert set(results["test"]["fine-tuned"]["labels"]) == {"label", "angry"}
    assert results["test"]["character n-grams"]["labels"]["angry"]["accuracy"]["value"] > 0.9
    assert len(results["thresholds"]) == 2
    assert mlstm.load_classifier(tmp_path / "two").predict_proba(["a"]).shape == (1, 2)


@pytest.mark.slow
def test_killed_after_an_epoch_it_ends_as_one_that_never_was(
    launch, trained_run, reviews, tmp_path
):
    flags = [
        f"--model={trained_run}",
        f"--data={reviews}",
        "--epochs=6",
        "--freeze=50",
        "--batch=4",
    ]
    whole, again = tmp_path / "whole", tmp_path / "again"
    assert launch("finetune", *flags, f"--output={whole}", "--nocompare").returncode == 0
    command = [sys.executable, "-m", "launch.finetune", *flags, f"--output={again}", "--nocompare"]
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"XLA_FLAGS": ""}
    )
    assert started.stdout is not None
    for line in started.stdout:
        if line.startswith("epoch 2 "):
            started.send_signal(signal.SIGKILL)
            break
    started.wait()
    assert started.returncode == -signal.SIGKILL
    time.sleep(0.1)
    done = launch("finetune", *flags, f"--output={again}", "--nocompare")
    assert done.returncode == 0, done.stderr.decode()
    assert "went on after epoch" in done.stdout.decode()
    for name in ("model.safetensors", "classifier.safetensors"):
        assert (whole / name).read_bytes() == (again / name).read_bytes()


def slow(*case):
    return pytest.param(*case, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        slow(["--sizes=a"], "--sizes=a: whole numbers with commas between"),
        slow(["--poolings=sum"], 'no pooling "sum"'),
        slow(["--sites=0.q"], 'no site "0.q"'),
        slow(["--label_field=stars"], 'no field "stars"'),
        (["--label_field=label,angry,label"], "each label has a field of its own"),
        slow(["--label_field=label,"], "each label has a field of its own"),
        slow(
            ["--task=text_position"], "labels bytes; a classifier is fine-tuned on labels of whole"
        ),
        slow(["--learning_rate=0"], "learning_rate is 0.0: it has to be more than 0"),
        slow(["--limit=-1"], "limit is -1"),
    ],
)
def test_what_is_wrong_is_one_line(launch, trained_run, reviews, tmp_path, flags, words):
    given = [f"--model={trained_run}", f"--data={reviews}", f"--output={tmp_path / 'out'}"]
    done = launch("finetune", *given, *flags)
    assert done.returncode == 2
    assert words in done.stderr.decode()
    assert len(done.stderr.decode().splitlines()) == 1


def test_a_classifier_that_is_damaged_is_one_line(launch, made, tmp_path):
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(made[0], folder)
    content = bytearray((folder / "classifier.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "classifier.safetensors").write_bytes(content)
    (tmp_path / "in.txt").write_text("a\n")
    flags = f"--input={tmp_path / 'in.txt'}", f"--output={tmp_path / 'out.csv'}"
    done = launch("classify", f"--probe={folder}", *flags)
    assert done.returncode == 2
    assert (
        "classifier.safetensors is not the one that classifier.json describes"
        in done.stderr.decode()
    )
    done = launch("classify", f"--probe={tmp_path / 'none'}", *flags)
    assert "--model is needed" in done.stderr.decode()
    done = launch("classify", f"--probe={made[0]}", f"--model={made[0]}", *flags)
    assert "leave out --model" in done.stderr.decode()
