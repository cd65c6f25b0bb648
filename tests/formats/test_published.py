import hashlib
import http.server
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from mlstm import downloads
from mlstm.corpus.vocabulary import Bytes
from mlstm.errors import InputError
from mlstm.formats import openai, published
from mlstm.formats.found import Found
from mlstm.formats.published import Part, Published
from mlstm.loading import load_one
from mlstm.model import language_model
from mlstm.model.config import ModelConfig

DATA = bytes(np.random.default_rng(0).integers(0, 256, 3 << 20, dtype=np.uint8))
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MLSTM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def model(*parts: Part, **changes: Any) -> Published:
    settings: dict[str, Any] = {"licence": "MIT", "format": "openai", **changes}
    return Published("tiny", "a model", "http://page", parts=parts, **settings)


def test_a_model_by_name_is_fetched_into_the_cache_and_loaded(server, cache, monkeypatch):
    config = ModelConfig(embedding=3, hidden=8)
    made = jax.tree.map(np.asarray, language_model.init_parameters(config, jax.random.key(0)))
    openai.write(Found(config, made, Bytes(), "openai"), server.folder / "m")
    for name in openai.NAMES:
        (server.folder / "m" / name).rename(server.folder / name)
    parts = [Part(name, f"{server.address}/x/{name}") for name in openai.NAMES]
    monkeypatch.setattr(published, "MODELS", (model(*parts),))
    told: list[tuple[int, int]] = []
    published.fetched(published.entry("tiny"), lambda *counts: told.append(counts))
    size = sum((server.folder / name).stat().st_size for name in openai.NAMES)
    assert told[-1] == (size, size)
    loaded = load_one("published:tiny")
    assert (loaded.origin, loaded.imported) == ("published:tiny", True)
    jax.tree.map(np.testing.assert_array_equal, loaded.parameters, made)
    assert (cache / "tiny" / "3.npy").is_file()
    asked = len(server.asked)
    load_one("published:tiny")
    assert len(server.asked) == asked


def test_pieces_are_joined(server, cache):
    for name in ("xaa", "xab"):
        (server.folder / name).write_bytes(name.encode())
    parts = [Part(name, f"{server.address}/x/{name}") for name in ("xaa", "xab")]
    entry = model(*parts, joined="model.npy")
    assert published.fetched(entry).read_bytes() == b"xaaxab"
    assert published.fetched(entry).read_bytes() == b"xaaxab"
    assert len(server.asked) == 2


def test_without_a_network_one_line_says_which_file_goes_where(cache):
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as closed:
        port = closed.server_port
    entry = model(Part("a.npy", f"http://127.0.0.1:{port}/a.npy"), Part("b.npy", "http://x/b.npy"))
    with pytest.raises(InputError) as caught:
        published.fetched(entry)
    said = str(caught.value)
    assert "\n" not in said
    assert "cannot be reached" in said
    assert f"put a.npy, b.npy of http://page into {cache / 'tiny'}" in said
    for name in ("a.npy", "b.npy"):
        (cache / "tiny" / name).write_bytes(b"x")
    assert published.fetched(entry) == cache / "tiny"


def test_a_server_that_has_no_such_file_is_named(server, cache):
    entry = model(Part("a.npy", f"{server.address}/x/a.npy"))
    with pytest.raises(InputError, match="the server says 404"):
        published.fetched(entry)


def test_what_only_a_person_can_fetch_says_where_to_put_it(cache):
    entry = model(Part("mlstm.pt"))
    with pytest.raises(InputError, match=f"put it at {cache / 'tiny' / 'mlstm.pt'}"):
        published.fetched(entry)
    (cache / "tiny").mkdir(parents=True)
    (cache / "tiny" / "mlstm.pt").write_bytes(b"x")
    assert published.fetched(entry) == cache / "tiny" / "mlstm.pt"


def test_a_model_of_a_package_that_is_not_there_says_so(monkeypatch, tmp_path):
    entry = model(Part("weights.npz"), package="no_such_package")
    with pytest.raises(InputError, match="package no_such_package, which is not installed"):
        published.fetched(entry)
    (tmp_path / "no_such_package").mkdir()
    (tmp_path / "no_such_package" / "__init__.py").touch()
    (tmp_path / "no_such_package" / "weights.npz").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert published.fetched(entry) == tmp_path / "no_such_package" / "weights.npz"


def test_another_file_of_a_package_is_refused(monkeypatch, tmp_path):
    entry = model(Part("weights.npz", sha256=SHA256), package="some_package")
    (tmp_path / "some_package").mkdir()
    (tmp_path / "some_package" / "__init__.py").touch()
    file = tmp_path / "some_package" / "weights.npz"
    monkeypatch.syspath_prepend(tmp_path)
    file.write_bytes(DATA)
    assert published.fetched(entry) == file
    file.write_bytes(DATA[:-1])
    with pytest.raises(InputError, match=r"weights\.npz: .*; install some_package again"):
        published.fetched(entry)


def test_a_file_that_somebody_put_there_is_checked_once(cache, monkeypatch):
    entry = model(Part("a.npy", "http://x/a.npy", SHA256))
    place = cache / "tiny" / "a.npy"
    place.parent.mkdir(parents=True)
    place.write_bytes(DATA[:-1])
    with pytest.raises(InputError) as caught:
        published.fetched(entry)
    assert str(caught.value).startswith(f"{place}: is not the file that was published")
    assert "\n" not in str(caught.value)
    read = []
    digest = downloads.digest
    monkeypatch.setattr(downloads, "digest", lambda path: read.append(path) or digest(path))
    place.write_bytes(DATA)
    for _ in range(3):
        assert published.fetched(entry) == place
    assert read == [place]
    place.write_bytes(DATA[:-1] + b"?")
    os.utime(place, (0, 0))
    with pytest.raises(InputError, match="sha256 differs"):
        published.fetched(entry)


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("MLSTM_CACHE", raising=False)
    assert published.cache() == tmp_path / "mlstm"
    monkeypatch.setenv("MLSTM_CACHE", str(tmp_path / "own"))
    assert published.cache() == tmp_path / "own"
    monkeypatch.delenv("MLSTM_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert published.cache() == Path.home() / ".cache" / "mlstm"


def test_every_published_model_is_of_a_format_that_is_read_and_is_in_the_table():
    from mlstm.formats import known

    formats = {module.NAME for module in known.modules()}
    names = [entry.name for entry in published.MODELS]
    assert len(set(names)) == len(names)
    for entry in published.MODELS:
        assert entry.format in formats
        assert entry.name in published.table()
        assert published.entry(f"published:{entry.name}") is entry


def test_openai_s_arrays_have_the_sha256_that_is_written_down(mlstm_data):
    parts = published.entry("openai").parts
    known = [part for part in parts if part.sha256]
    assert len(known) == 8
    for part in known:
        assert downloads.digest(mlstm_data / "openai_pieces" / part.name) == part.sha256
