"""A run that begins with a model that others published, or in another shape than its config's."""

import dataclasses
import json

import jax
import numpy as np
import pytest

import mlstm
from mlstm.corpus.reading import Corpus
from mlstm.corpus.shards import open_source, prepare_source
from mlstm.corpus.vocabulary import Bytes, amino_acids
from mlstm.errors import InputError
from mlstm.formats import openai
from mlstm.formats.found import Found
from mlstm.loading import load_one
from mlstm.model import language_model
from mlstm.model.config import ModelConfig
from mlstm.trained import Model
from mlstm.training import beginning, loop
from mlstm.training.config import Config, from_config_dict, to_dict
from probing.evidence.controls import untrained_twin

TINY = ModelConfig(embedding=3, hidden=8)


def parameters(config: ModelConfig) -> dict:
    return jax.tree.map(np.asarray, language_model.init_parameters(config, jax.random.key(0)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model as OpenAI's repository has its own."""
    path = tmp_path_factory.mktemp("published") / "model"
    openai.write(Found(TINY, parameters(TINY), Bytes(), "openai"), path)
    return path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus")
    (path / "text.txt").write_bytes(b"one and two &amp; three\n" * 200)
    return prepare_source(path / "text.txt", path / "corpus", cleaning="openai").folder


def config_of(corpus, **changes) -> Config:
    tree = to_dict(Config())
    values = {
        "data.source": str(corpus), "data.batch": 4, "data.window": 16, "train.steps": 40,
        "train.validate_every": 0, "optimizer.learning_rate": 0.02, "log.samples": 0,
        "checkpoint.log_spaced": False,
    }  # fmt: skip
    for name, value in (values | changes).items():
        section, field = name.split(".")
        tree[section][field] = value
    return from_config_dict(tree)


def test_a_published_folder_is_fine_tuned_and_its_loss_falls(folder, corpus, tmp_path):
    config, changed = beginning.adopt(config_of(corpus), str(folder), tmp_path / "run")
    assert sorted(changed) == ["model.embedding=3", "model.hidden=8"]
    result = loop.run(config, tmp_path / "run", init_from=str(folder))
    assert result.ended == "finished"
    test = open_source(corpus).split("test")
    before, trained = load_one(folder), load_one(tmp_path / "run")
    falls = mlstm.evaluate(before, test).bits_per_byte - mlstm.evaluate(trained, test).bits_per_byte
    assert falls > 1
    assert (trained.cleaning, trained.imported) == ("openai", True)
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    assert record["init_from"] == str(folder)

    # The folder is needed no more: the run knows the shape that it has taken.
    away = folder.rename(tmp_path / "away")
    try:
        again, changed = beginning.adopt(config_of(corpus), str(folder), tmp_path / "run")
        assert again.model == config.model
        assert loop.run(again, tmp_path / "run", init_from=str(folder)).step == 40
    finally:
        away.rename(folder)


def test_a_first_step_of_no_size_leaves_the_published_parameters(folder, corpus, tmp_path):
    config = config_of(corpus, **{"optimizer.name": "sgd", "optimizer.learning_rate": 1e-30,
                                  "train.steps": 1, "model.output_dropout": 0.1})  # fmt: skip
    config, _ = beginning.adopt(config, str(folder), tmp_path / "run")
    loop.run(config, tmp_path / "run", init_from=str(folder))
    trained, published = load_one(tmp_path / "run").parameters, load_one(folder).parameters
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-20), trained, published)


def test_fields_that_are_asked_for_stay_and_are_refused_where_they_differ(folder, corpus, tmp_path):
    config = config_of(corpus, **{"model.hidden": 9})
    config, changed = beginning.adopt(config, str(folder), tmp_path / "run", {"hidden"})
    assert changed == ["model.embedding=3"]
    with pytest.raises(InputError, match=r"another model: model\.hidden is 8 there, 9 here"):
        loop.run(config, tmp_path / "run", init_from=str(folder))


def test_a_text_with_another_vocabulary_says_how_to_prepare_it(folder, corpus, tmp_path):
    proteins = ModelConfig(vocabulary=26, embedding=3, hidden=8)
    file = tmp_path / "proteins.safetensors"
    mlstm.save(Model(proteins, parameters(proteins), amino_acids()), file)
    config, _ = beginning.adopt(config_of(corpus), str(file), tmp_path / "run")
    with pytest.raises(InputError, match=r"needs 256.*--vocabulary_of=MODEL"):
        loop.run(config, tmp_path / "run", init_from=str(file))
    text = tmp_path / "text.txt"
    text.write_bytes(b"MKVLAA" * 300)
    prepared = open_source(text, tmp_path / "prepared", vocabulary=amino_acids())
    same_size = amino_acids().symbols[::-1]
    other = tmp_path / "other.safetensors"
    table = type(amino_acids())(same_size)
    mlstm.save(Model(proteins, parameters(proteins), table), other)
    config, _ = beginning.adopt(config_of(prepared.folder), str(other), tmp_path / "run")
    with pytest.raises(InputError, match=f"--vocabulary_of={other}"):
        loop.run(config, tmp_path / "run", init_from=str(other))


def test_what_others_trained_stays_so_in_a_run_of_a_run_and_when_it_goes_on(
    folder, corpus, tmp_path
):
    few = {"train.steps": 1}
    config, _ = beginning.adopt(config_of(corpus, **few), str(folder), tmp_path / "a")
    loop.run(config, tmp_path / "a", init_from=str(folder))
    loop.run(config, tmp_path / "b", init_from=str(tmp_path / "a"))
    longer = dataclasses.replace(config, train=dataclasses.replace(config.train, steps=2))
    loop.run(longer, tmp_path / "b")
    loaded = load_one(tmp_path / "b")
    assert (loaded.step, loaded.imported) == (2, True)
    assert "shuffled twin" in untrained_twin(loaded).origin
    record = json.loads((tmp_path / "b" / "config.json").read_text())
    del record["imported"]  # as it was before
    (tmp_path / "b" / "config.json").write_text(json.dumps(record))
    assert not load_one(tmp_path / "b").imported


def test_a_text_that_is_cleaned_otherwise_is_said(folder, corpus, tmp_path, capsys):
    (tmp_path / "text.txt").write_bytes(b"one and two\n" * 300)
    plain = prepare_source(tmp_path / "text.txt", tmp_path / "plain")
    for text, note in (
        (Corpus.open(corpus), ""),
        (plain, "cleaned as none, the model's texts as openai"),
    ):
        config, _ = beginning.adopt(config_of(text.folder), str(folder), "")
        beginning.check(str(folder), config, text)
        said = capsys.readouterr().err
        assert note in said
        assert bool(note) == bool(said)


def test_a_population_cannot_begin_with_one_model(folder, corpus, tmp_path):
    tree = to_dict(config_of(corpus)) | {"seeds": 2}
    config, _ = beginning.adopt(from_config_dict(tree), str(folder), tmp_path / "run")
    with pytest.raises(InputError, match=r"has parameters for seeds=1, config\.seeds is 2"):
        loop.run(config, tmp_path / "run", init_from=str(folder))


def test_names_that_are_no_paths_stay_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert beginning.absolute("published:openai") == "published:openai"
    assert beginning.absolute("hf:someone/words") == "hf:someone/words"
    assert beginning.absolute("run/") == str(tmp_path / "run")
