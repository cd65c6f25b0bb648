"""A model whose vocabulary is a table goes through every program."""

import json

import jax
import numpy as np
import pytest

import mlstm
from mlstm.corpus.shards import prepare_source
from mlstm.corpus.vocabulary import Table, amino_acids, untold
from mlstm.loading import load_one
from mlstm.model import language_model
from mlstm.model.config import ModelConfig
from mlstm.trained import Model

LETTERS = Table((None, *(bytes([c]) for c in b"\n abcdefghijklmnopqrstuvwxyz.")), name="letters")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    config = ModelConfig(vocabulary=LETTERS.size, embedding=3, hidden=8)
    parameters = language_model.init_parameters(config, jax.random.key(0))
    path = tmp_path_factory.mktemp("model") / "letters.safetensors"
    mlstm.save(Model(config, parameters, LETTERS, "openai", "somewhere", imported=True), path)
    return path


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "words.txt"
    path.write_bytes(b"some words, again and again. ".replace(b",", b"") * 300)
    return path


def said(result) -> str:
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


def refused(result) -> str:
    assert result.returncode == 2
    (line,) = result.stderr.decode().splitlines()
    return line


def test_evaluate_counts_the_bytes_of_the_cleaned_text(launch, model, text, tmp_path):
    file = tmp_path / "out.json"
    printed = said(launch("evaluate", f"--model={model}", f"--data={text}", f"--json={file}"))
    record = json.loads(file.read_text())
    assert record["bytes"] == len(b"\n " + text.read_bytes().strip() + b" ") - 1
    assert record["bits_per_byte"] == pytest.approx(np.log2(LETTERS.size), abs=1)
    assert "cleaned as openai" in printed


def test_evaluate_says_that_a_prepared_text_was_cleaned_otherwise(launch, model, text, tmp_path):
    folder = tmp_path / "corpus"
    prepare_source(text, folder, vocabulary=LETTERS, splits=(0.3, 0, 0.7))
    printed = said(launch("evaluate", f"--model={model}", f"--data={folder}"))
    assert "note: the text was cleaned as none, the model's texts as openai" in printed


def test_a_dry_run_checks_what_the_run_would_begin_with(launch, model, text, tmp_path):
    prepare_source(text, tmp_path / "corpus", vocabulary=LETTERS)
    train = "--config=quickstart", f"--config.data.source={tmp_path / 'corpus'}", "--dry_run"
    line = refused(launch("train", *train, f"--init_from={model}", "--config.seeds=2"))
    assert "has parameters for seeds=1, config.seeds is 2" in line


def test_evaluate_asks_for_a_text_and_names_a_byte_that_is_no_symbol(launch, model, tmp_path):
    assert "give a text with --data" in refused(launch("evaluate", f"--model={model}"))
    (tmp_path / "digits.txt").write_bytes(b"12 34")
    flags = f"--model={model}", f"--data={tmp_path / 'digits.txt'}"
    assert "b'1' at byte 2 is no symbol" in refused(launch("evaluate", *flags))


def test_sample_writes_symbols_of_the_table(launch, model):
    printed = said(launch("sample", f"--model={model}", "--prompt=some ", "--length=200"))
    assert printed.startswith("some ")
    LETTERS.encode(printed.encode())
    assert "no symbol" in refused(launch("sample", f"--model={model}", "--prompt=SOME"))


def test_encode_gives_the_states_of_its_ids(launch, model, tmp_path):
    (tmp_path / "texts.txt").write_bytes(b"one\ntwo &amp\nthree\n".replace(b" &amp", b""))
    flags = f"--input={tmp_path / 'texts.txt'}", f"--output={tmp_path / 'x.npy'}"
    said(launch("encode", f"--model={model}", *flags))
    loaded = load_one(model)
    expected = loaded.encode([b"\n one ", b"\n two ", b"\n three "], cleaning="none")
    np.testing.assert_allclose(np.load(tmp_path / "x.npy"), expected, atol=1e-6)


@pytest.mark.slow
def test_probe_scores_its_neurons_beside_a_shuffled_twin_and_asks_for_a_folder(
    launch, model, tmp_path
):
    documents = tmp_path / "texts"
    documents.mkdir()
    for k in range(12):
        (documents / f"{k}.txt").write_bytes(b"some words and more of them.\n" * (k + 2))
    flags = f"--model={model}", "--task=text_position", f"--data={documents}", "--nofigures"
    assert "name their folder with --output" in refused(launch("probe", *flags))
    said(launch("probe", *flags, "--draws=0", f"--output={tmp_path / 'out'}"))
    assert (tmp_path / "out" / "results.json").exists()
    flags = f"--model={model}", "--task=text_position", "--output=out"
    assert "give a text with --data" in refused(launch("probe", *flags))


def test_sample_of_a_vocabulary_that_is_not_told_says_so(launch, tmp_path):
    config = ModelConfig(vocabulary=9, embedding=3, hidden=8)
    made = Model(config, language_model.init_parameters(config, jax.random.key(0)), untold(9))
    mlstm.save(made, tmp_path / "ids.safetensors")
    line = refused(launch("sample", f"--model={tmp_path / 'ids.safetensors'}", "--length=3"))
    assert "ids.safetensors: its vocabulary is not told" in line


def test_steps_and_seeds_say_nothing_to_a_published_model(launch, model):
    line = refused(launch("sample", f"--model={model}", "--step=3"))
    assert "no training run: it has no steps and no seeds" in line


def test_a_study_of_plasticity_says_that_it_needs_a_run(launch, model, text, tmp_path):
    flags = f"--model={model} --concept=start --prune=1 --output={tmp_path / 'o'}".split()
    for more in (f"--data={text}",), ():
        line = refused(launch("plasticity", *flags, "--task=text_position", *more))
        assert "fine-tune it first (launch.train --init_from=" in line


def test_prepare_takes_the_vocabulary_and_the_cleaning_of_a_model(launch, model, text, tmp_path):
    output = tmp_path / "corpus"
    flags = f"--input={text}", f"--output={output}", f"--vocabulary_of={model}"
    assert "'letters' (30 symbols, 1 without text), cleaning openai" in said(
        launch("prepare", *flags)
    )
    train = mlstm.open_source(output).split("train")
    assert train.vocabulary == LETTERS
    assert train.document(0).startswith(b"\n some words again")
    line = refused(launch("evaluate", "--model=" + str(proteins(tmp_path)), f"--data={output}"))
    assert "prepared with the vocabulary 'letters'" in line


def proteins(folder):
    config = ModelConfig(vocabulary=26, embedding=3, hidden=8)
    parameters = language_model.init_parameters(config, jax.random.key(0))
    path = folder / "proteins.safetensors"
    mlstm.save(Model(config, parameters, amino_acids()), path)
    return path


TRAIN = (
    "--config=quickstart:tiny", "--config.data.splits=", "--config.data.folder=",
    "--config.data.batch=4", "--config.data.window=16", "--config.train.steps=30",
    "--config.train.epochs=0", "--config.optimizer.learning_rate=0.02",
    "--config.optimizer.warmup=0", "--config.train.validate_every=0",
    "--config.train.patience=0",
)  # fmt: skip


@pytest.mark.slow
def test_a_run_begins_with_a_model_of_a_table_in_its_shape_and_its_loss_falls(
    launch, model, text, tmp_path
):
    corpus, run = tmp_path / "corpus", tmp_path / "run"
    flags = f"--input={text}", f"--output={corpus}", f"--vocabulary_of={model}"
    said(launch("prepare", *flags))
    train = *TRAIN, f"--workdir={run}", f"--init_from={model}"
    refusal = refused(launch("train", *train, f"--config.data.source={text}"))
    assert "--vocabulary_of=" in refusal
    wrong = *train, f"--config.data.source={corpus}", "--config.model.hidden=9"
    assert "model.hidden is 8 there, 9 here" in refused(launch("train", *wrong))
    printed = said(launch("train", *train, f"--config.data.source={corpus}"))
    assert f"as {model} has it: " in printed
    assert "model.hidden=8" in printed
    before = mlstm.evaluate(load_one(model), mlstm.open_source(corpus).split("test"))
    trained = load_one(run)
    after = mlstm.evaluate(trained, mlstm.open_source(corpus).split("test"))
    assert after.bits_per_byte < before.bits_per_byte - 0.3
    assert (trained.vocabulary, trained.cleaning) == (LETTERS, "openai")
    assert json.loads((run / "config.json").read_text())["init_from"] == str(model)
    again = said(launch("train", *train, f"--config.data.source={corpus}"))
    assert "step 30" in again
