import sys
import types

import jax
import pytest

import mlstm
from mlstm.corpus.vocabulary import Bytes
from mlstm.errors import InputError
from mlstm.loading import load_one
from mlstm.model import language_model
from mlstm.model.config import ModelConfig
from mlstm.trained import Model


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A package huggingface_hub whose only model is a folder here."""
    folder, asked = tmp_path / "snapshot", []
    folder.mkdir()

    def snapshot_download(repository, **settings):
        asked.append((repository, settings["allow_patterns"]))
        if repository != "someone/words":
            raise OSError("404: Repository Not Found\nfor url: ...")
        return str(folder)

    package = types.ModuleType("huggingface_hub")
    vars(package)["snapshot_download"] = snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", package)
    return folder, asked


def save(path) -> None:
    config = ModelConfig(embedding=3, hidden=8)
    made = language_model.init_parameters(config, jax.random.key(0))
    mlstm.save(Model(config, made, Bytes(), imported=True), path)


def test_a_model_of_the_hub_is_the_one_file_of_it_that_can_be_read(hub):
    folder, asked = hub
    save(folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    model = load_one("hf:someone/words")
    assert (model.config.hidden, model.origin) == (8, "hf:someone/words")
    ((repository, patterns),) = asked
    assert repository == "someone/words"
    assert "*.safetensors" in patterns
    assert not any(pattern.endswith(".py") for pattern in patterns)


def test_of_several_one_is_named(hub):
    folder, asked = hub
    for name in ("a", "b"):
        save(folder / f"{name}.safetensors")
    with pytest.raises(InputError, match=r"several models: a\.safetensors, b\.safetensors; name"):
        load_one("hf:someone/words")
    assert load_one("hf:someone/words:b.safetensors").config.hidden == 8
    assert asked[-1][1] == ["b.safetensors"]
    with pytest.raises(InputError, match="has no file 'c'"):
        load_one("hf:someone/words:c")


def test_what_the_hub_does_not_have_gets_one_line(hub):
    for name in ("hf:someone/else", "hf:words", "hf:", "hf:a/b/c", "hf:someone/words"):
        with pytest.raises(InputError) as caught:
            load_one(name)
        assert "\n" not in str(caught.value)


def test_without_the_package_a_person_is_told_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match="huggingface_hub is not installed"):
        load_one("hf:someone/words")
