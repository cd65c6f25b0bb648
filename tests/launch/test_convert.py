import dataclasses

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

import mlstm
from mlstm.corpus.vocabulary import Bytes, Table, printable
from mlstm.formats import openai
from mlstm.formats.found import Found, by_name
from mlstm.loading import load_one
from mlstm.model import language_model
from mlstm.model.config import ModelConfig
from mlstm.trained import Model


def parameters(config) -> dict:
    made = language_model.init_parameters(config, jax.random.key(0))
    return jax.tree.map(np.asarray, made)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model as OpenAI's repository has its own."""
    config = ModelConfig(embedding=3, hidden=8)
    path = tmp_path_factory.mktemp("published") / "model"
    openai.write(Found(config, parameters(config), Bytes(), "openai"), path)
    return path


def said(result) -> str:
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


def refused(result) -> str:
    assert result.returncode == 2, result.stdout.decode()
    (line,) = result.stderr.decode().splitlines()
    return line


def digest(printed: str) -> str:
    return next(line for line in printed.splitlines() if line.startswith("digest"))


@pytest.mark.slow
def test_a_published_folder_becomes_one_file_and_a_folder_again(launch, folder, tmp_path):
    file, back = tmp_path / "openai.safetensors", tmp_path / "back"
    flags = "--from=openai", f"--input={folder}", f"--output={file}"
    printed = said(launch("convert", *flags))
    for line in (
        "format      openai",
        "model       multiplicative_lstm, 1 x 8 units, embedding 3, readout linear, weight norm",
        "vocabulary  bytes",
        "cleaning    openai",
    ):
        assert line in printed
    again = said(launch("convert", f"--input={file}", "--to=openai", f"--output={back}"))
    assert digest(again) == digest(printed)
    for name in openai.NAMES:
        assert (back / name).read_bytes() == (folder / name).read_bytes()
    model = load_one(file)
    assert (model.cleaning, model.imported, model.seed) == ("openai", True, None)
    assert "is there already" in refused(launch("convert", *flags))
    assert "output" in said(launch("convert", *flags, "--overwrite"))


def test_a_run_is_described_and_saved_with_its_step(launch, trained_run, tmp_path):
    file = tmp_path / "run.safetensors"
    printed = said(launch("convert", f"--input={trained_run}", "--step=1", f"--output={file}"))
    assert "a training run, step 1" in printed
    saved, run = load_one(file), load_one(trained_run, 1)
    assert (saved.step, saved.seed, saved.imported) == (1, 0, False)
    jax.tree.map(np.testing.assert_array_equal, saved.parameters, run.parameters)


def test_a_state_dict_in_safetensors_is_read_by_its_names(launch, tmp_path):
    config = ModelConfig(
        cell="lstm", vocabulary=100, embedding=5, hidden=5, weight_norm=False, layers=2
    )
    made = parameters(config)
    random = np.random.default_rng(0)
    state = {"encoder.weight": made["embedding"]}
    for layer in range(2):
        for kind, shape in {
            "weight_ih": (20, 5), "weight_hh": (20, 5), "bias_ih": (20,), "bias_hh": (20,)
        }.items():  # fmt: skip
            state[f"rnn.{kind}_l{layer}"] = random.normal(size=shape).astype(np.float32)
    state["decoder.weight"] = np.ascontiguousarray(made["readout"]["w"].T)
    state["decoder.bias"] = made["readout"]["b"]
    save_file(state, tmp_path / "lstm.safetensors")
    model = load_one(tmp_path / "lstm.safetensors")
    assert (model.config.cell, model.config.layers) == ("lstm", 2)
    assert model.vocabulary == printable()
    arrays = by_name(model.parameters)
    order = [0, 1, 3, 2]  # i, f, g, o to i, f, o, u
    for layer in range(2):
        theirs = state[f"rnn.weight_ih_l{layer}"].reshape(4, 5, 5)[order]
        np.testing.assert_array_equal(arrays[f"layers.{layer}.wx"], theirs.transpose(2, 0, 1))


def test_what_a_file_does_not_say_is_told(launch, folder):
    flags = f"--input={folder}", "--cleaning=none", "--vocabulary=bytes"
    assert "cleaning    none" in said(launch("convert", *flags))
    line = refused(launch("convert", f"--input={folder}", "--option=gates=ifog"))
    assert "openai has no option 'gates'" in line


def test_what_a_format_has_no_place_for_is_said(launch, folder, tmp_path):
    plain = f"--input={folder}", "--cleaning=none"
    printed = said(launch("convert", *plain, "--to=openai", f"--output={tmp_path / 'back'}"))
    assert "note        openai has no cleaning: none is lost, and read as openai" in printed
    config = ModelConfig(cell="lstm", embedding=3, hidden=8, weight_norm=False)
    words = tuple(bytes([k]) for k in reversed(range(256)))
    for name, vocabulary, c in (
        ("bytes", Bytes(), config),
        ("words", Table(words), config),
        ("few", Table(words[:30]), dataclasses.replace(config, vocabulary=30)),
    ):
        file = tmp_path / f"{name}.safetensors"
        mlstm.save(Model(c, parameters(c), vocabulary, "openai"), file)
    to = "--to=char_rnn", f"--output={tmp_path / 'a.pt'}"
    line = refused(launch("convert", f"--input={tmp_path / 'words.safetensors'}", *to))
    assert "its ids are read as bytes, and this model's are 'table' (256 symbols)" in line
    assert not (tmp_path / "a.pt").exists()
    printed = said(launch("convert", f"--input={tmp_path / 'few.safetensors'}", *to))
    assert "char_rnn has no vocabulary: 'table' (30 symbols) is lost" in printed
    assert "char_rnn has no cleaning: openai is lost, and read as none" in printed


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "--input is needed"),
        (("--input=README.md",), "no model of a format that can be read: safetensors, openai"),
        (("--input=README.md", "--to=unirep", "--output=x"), "no format 'unirep'"),
        (("--input=published:nothing",), "there is none of this name"),
    ],
)
def test_what_cannot_be_converted_gets_one_line(launch, flags, words):
    assert words in refused(launch("convert", *flags))


def test_the_published_models_are_listed(launch):
    printed = said(launch("convert", "--list"))
    for name in ("openai ", "unirep-1900", "not free for commercial use", "published:NAME"):
        assert name in printed
