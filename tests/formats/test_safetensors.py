import dataclasses
import json
import random
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from mutations import mutated, mutated_json, survives
from safetensors.numpy import load_file, save_file

import mlstm
from mlstm.corpus.vocabulary import Bytes, Table, Vocabulary, untold
from mlstm.errors import InputError
from mlstm.formats import safetensors, tensor_files
from mlstm.formats.found import Found, by_name, checked
from mlstm.loading import load_one
from mlstm.model import language_model
from mlstm.model.config import ModelConfig
from mlstm.trained import Model

TABLE = Table((None, b"a", b"\xff"), unknown=1, name="three")
CONFIG = ModelConfig(vocabulary=3, embedding=2, hidden=4, layers=2, weight_norm=True)


def model(config=CONFIG, vocabulary: Vocabulary = TABLE, **changes) -> Model:
    parameters = language_model.init_parameters(config, jax.random.key(0))
    return Model(config, parameters, vocabulary, "openai", **changes)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model.safetensors"
    mlstm.save(model(step=7, seed=3, origin="runs/first, step 7"), path)
    return path


def test_a_saved_model_is_read_back_bit_by_bit(file):
    before, after = model(), load_one(file)
    assert isinstance(after, Model)
    jax.tree.map(np.testing.assert_array_equal, before.parameters, after.parameters)
    assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(after.parameters))
    for name in ("config", "vocabulary", "cleaning"):
        assert getattr(after, name) == getattr(before, name)
    assert (after.step, after.seed, after.imported, after.origin) == (7, 3, False, str(file))
    again = file.with_name("again.safetensors")
    mlstm.save(dataclasses.replace(after, origin="runs/first, step 7"), again)
    assert again.read_bytes() == file.read_bytes()


def test_an_imported_model_stays_one(tmp_path):
    mlstm.save(model(imported=True), tmp_path / "model.safetensors")
    assert load_one(tmp_path / "model.safetensors").imported


def test_other_programs_can_open_it(file):
    arrays = load_file(file)
    for name, array in by_name(model().parameters).items():
        np.testing.assert_array_equal(arrays[name], array)


def test_any_changed_bit_is_named_as_damage(file, tmp_path):
    data, draw = file.read_bytes(), np.random.default_rng(0)
    path = tmp_path / "changed.safetensors"
    header = 8 + struct.unpack("<Q", data[:8])[0]
    places = [*range(9), *draw.integers(8, header, 200), *draw.integers(header, len(data), 40)]
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1 << int(draw.integers(8))
        refused(path, bytes(changed))
    for stop in (0, 1, 7, 8, 9, header, len(data) - 1):
        refused(path, data[:stop])
    refused(path, data + b"\0")


def refused(path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        load_one(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def container(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


EMPTY = {"dtype": "F32", "shape": [2**61, 0, 2**61], "data_offsets": [0, 0]}
ARRAY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"[]", "no object"),
        (b"{,", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"a": 1, "a": 2}', "there twice"),
        ({"__metadata__": {"a": 1}}, "not texts"),
        ({"a": 3}, "has no dtype"),
        ({"a": ARRAY | {"dtype": "F4"}}, "which is not read"),
        ({"a": ARRAY | {"dtype": []}}, "which is not read"),
        ({"a": ARRAY | {"shape": [2.0]}}, "no whole numbers"),
        ({"a": ARRAY | {"shape": [-2]}}, "no whole numbers"),
        ({"a": ARRAY | {"shape": [3]}}, "does not fit its place"),
        ({"a": ARRAY | {"shape": [1] * 8 + [2]}}, "9 axes; at most 8 are read"),
        ({"a": ARRAY | {"shape": [2**62]}}, "no whole numbers"),
        ({"rnns.0.w_hh": EMPTY}, "does not fit its place"),
        ({"a": ARRAY | {"shape": [2**60, 2**60]}}, "does not fit its place"),
        ({"a": ARRAY | {"data_offsets": [8, 0]}}, "does not fit its place"),
        ({"a": ARRAY, "b": ARRAY}, "one after another"),
        ({"a": ARRAY | {"data_offsets": [1, 9]}}, "one after another"),
        ({}, "the file at"),
    ],
)
def test_a_header_that_does_not_fit_its_file_is_refused(tmp_path, header, words):
    assert words in refused(tmp_path / "x.safetensors", container(header, bytes(8)))


def test_many_axes_are_refused_before_their_product_is_taken(tmp_path, monkeypatch):
    def product(numbers):
        assert len(numbers) <= 8
        return 2

    monkeypatch.setattr("mlstm.formats.tensor_files.math.prod", product)
    huge = ARRAY | {"shape": [2**61] * 40_000}
    assert "40,000 axes" in refused(tmp_path / "x.safetensors", container({"a": huge}, bytes(8)))


def test_a_header_of_many_megabytes_is_refused(tmp_path):
    header = json.dumps({"a": ARRAY}).encode() + b" " * (8 << 20)
    assert "at most 8388608" in refused(tmp_path / "x.safetensors", container(header, bytes(8)))


def test_an_array_of_impossible_size_is_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "huge.safetensors"
    huge = {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}
    path.write_bytes(container({"a": huge}) + bytes(64))
    code = (
        "from pathlib import Path\nfrom mlstm.formats import safetensors\n"
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))\n"
        f"try:\n    safetensors.read(Path({str(path)!r}))\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("InputError")


def test_a_file_of_another_version_says_which_is_read(file, tmp_path):
    header = tensor_files.read_header(file)
    arrays = tensor_files.read_arrays(file, header)
    with (tmp_path / "x.safetensors").open("wb") as out:
        tensor_files.write(out, arrays, header.metadata | {"format_version": "9"})
    with pytest.raises(InputError, match="format_version '9'; this version reads 1"):
        load_one(tmp_path / "x.safetensors")


def test_a_file_of_unknown_arrays_is_named(tmp_path):
    save_file({"a": np.zeros(3, np.float32)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=r"no model that can be read \('a'"):
        load_one(tmp_path / "x.safetensors")


def test_what_cannot_be_saved_is_refused(tmp_path):
    with pytest.raises(InputError, match="a model is saved as"):
        mlstm.save(model(), tmp_path / "model.pt")
    several: Any = [model(), model()]
    with pytest.raises(InputError, match="one model is needed"):
        mlstm.save(several, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="3 symbols, the vocabulary has 4"):
        mlstm.save(model(vocabulary=untold(4)), tmp_path / "model.safetensors")
    bytes_model = model(ModelConfig(embedding=2, hidden=4), Bytes())
    bytes_model.parameters["readout"]["b"] = np.full(256, np.nan, np.float32)
    with pytest.raises(InputError, match="not finite"):
        mlstm.save(bytes_model, tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


def read(path: Path) -> Found:
    return checked(safetensors.read(path), str(path))


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_every_mutation_of_a_file_of_ours_is_refused(file, count):
    refused, gave = survives(read, file, count)
    same = sum(mutated(file.read_bytes(), seed) == file.read_bytes() for seed in range(count))
    assert (refused, gave) == (count - same, same)


def signed(place: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """A file whose digest is right, whatever it holds."""
    metadata["digest"] = safetensors._digest(metadata, arrays)
    with place.open("wb") as out:
        tensor_files.write(out, arrays, metadata)


def parts(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    header = tensor_files.read_header(path)
    return tensor_files.read_arrays(path, header), dict(header.metadata)


@pytest.mark.parametrize(
    ("said", "changes", "words"),
    [
        ("config", "{", "its config is no object of JSON"),
        ("config", "[" * 100_000, "its config is no object of JSON"),
        ("facts", "[]", "its facts is no object of JSON"),
        ("facts", "{}", "its facts tell no step"),
        ("vocabulary", "3", "its vocabulary is no object of JSON"),
        ("cleaning", "other", 'no cleaning "other"'),
        ("config", {"weight_norm": [1]}, r"model.weight_norm is \[1\]; it must be True or False"),
        ("config", {"layers": True}, "model.layers is True; it must be a whole number"),
        ("config", {"hidden": 10**13}, "model.hidden is 10000000000000; it must be a whole number"),
        ("config", {"cell": {}}, "model.cell is {}; it must be a word"),
        ("config", {"dropout": "1"}, "model.dropout is '1'; it must be a finite number"),
        (
            "config",
            {"forget_bias": 10**400},
            "model.forget_bias is 10+; it must be a finite number",
        ),
        ("config", {"more": 1}, "its config is not one of this version: .*'more'"),
        ("facts", {"imported": 1}, "its facts tell no imported"),
    ],
)
def test_a_file_with_a_right_digest_and_other_metadata_gets_a_line(
    file, tmp_path, said, changes, words
):
    arrays, metadata = parts(file)
    before = metadata[said]
    after = changes if isinstance(changes, str) else json.dumps(json.loads(before) | changes)
    signed(tmp_path / "x.safetensors", arrays, metadata | {said: after})
    message = refused(tmp_path / "x.safetensors", (tmp_path / "x.safetensors").read_bytes())
    assert re.search(words, message), message


@pytest.mark.parametrize("names", [("a", "a.b"), ("a.b", "a.b.c"), ("." * 3000,)])
def test_arrays_in_one_another_get_a_line(file, tmp_path, names):
    arrays, metadata = parts(file)
    arrays |= dict.fromkeys(names, np.zeros(1, np.float32))
    signed(tmp_path / "x.safetensors", arrays, metadata)
    refused(tmp_path / "x.safetensors", (tmp_path / "x.safetensors").read_bytes())


def resigned(path: Path, place: Path, seed: int) -> None:
    """Damage to what a file says or holds, by someone who computes the digest anew."""
    draw = random.Random(seed)
    arrays, metadata = parts(path)
    name = draw.choice(["config", "config", "vocabulary", "facts", "arrays", "text"])
    if name == "arrays":
        damage_arrays(arrays, draw)
    elif name == "text":
        name = draw.choice(["config", "vocabulary", "facts", "cleaning"])
        metadata[name] = mutated(metadata[name].encode(), seed).decode("latin-1")
    else:
        metadata[name] = json.dumps(mutated_json(json.loads(metadata[name]), seed))
    signed(place, arrays, metadata)


def damage_arrays(arrays: dict[str, np.ndarray], draw: random.Random) -> None:
    name = draw.choice(sorted(arrays))
    array = arrays[name].copy()
    array.reshape(-1)[draw.randrange(array.size)] = draw.choice([np.nan, np.inf, 3e38, 0])
    arrays[name] = array
    match draw.randrange(5):
        case 0:
            del arrays[name]
        case 1:
            other = draw.choice(["", ".", "a", "layers", "layers.0", name + ".b", "\n", "." * 2000])
            arrays[other] = arrays.pop(name)
        case 2:
            arrays[draw.choice(sorted(arrays))] = array
        case 3:
            arrays[name] = array.reshape(draw.choice([(-1,), (1, *array.shape), (-1, 1, 1, 1)]))


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_mutation_that_was_signed_again_is_refused_or_a_sound_model(file, count):
    refused, _ = survives(whole, file, count, damage=resigned)
    assert refused > count / 2


def whole(path: Path) -> Found:
    """As `mlstm.load` takes it: what it says of its training too."""
    found = read(path)
    facts = safetensors.facts(path)
    assert facts is not None
    assert facts.keys() == {"step", "seed", "imported"}
    return found


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_mutated_state_dict_is_refused_or_a_sound_model(tmp_path, count):
    draw = np.random.default_rng(0)
    shapes = {"weight_ih_l0": (12, 5), "weight_hh_l0": (12, 3), "bias_ih_l0": (12,)}
    arrays = {name: draw.normal(size=s).astype(np.float32) for name, s in shapes.items()}
    save_file(arrays, tmp_path / "lstm.safetensors")
    assert sum(survives(read, tmp_path / "lstm.safetensors", count)) == count


def test_more_layers_than_can_be_set_up_in_time_are_refused(tmp_path):
    deep = dataclasses.replace(CONFIG, layers=1_000)
    with pytest.raises(InputError, match=r"1,000 layers; at most 64 are read"):
        safetensors.write(Found(deep, {}, TABLE), tmp_path / "deep.safetensors")
