import json
import os
import shutil

import numpy as np
import pytest

import probing
from mlstm.errors import InputError
from probing.states.store import RESERVE, open_store, store_nbytes, write_store
from probing.tasks.labelled import SPLITS


@pytest.mark.parametrize("has_fallocate", [True, False])
def test_what_is_stored_is_what_streams(planted, digits, tmp_path, monkeypatch, has_fallocate):
    if not has_fallocate:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    said = []
    write_store(tmp_path / "states", planted, digits, ("0.c", "0.h"), announce=said.append)
    store = open_store(tmp_path / "states")
    assert list(store.states) == ["0.c", "0.h"]
    for k, split in enumerate(SPLITS):
        here = store.split == k
        for site in store.states:
            expected = probing.arrays(planted, digits, site, split, "digit")
            np.testing.assert_allclose(store.states[site][here], expected.x, atol=1e-6)
            np.testing.assert_array_equal(store.classes[here, 0], expected.y)
    counts = [len(labels.positions) for labels in map(digits.labels, range(len(digits.documents)))]
    np.testing.assert_array_equal(store.document, np.repeat(np.arange(len(counts)), counts))
    np.testing.assert_array_equal(store.position, np.concatenate([np.arange(n) for n in counts]))
    np.testing.assert_array_equal(store.numbers[:, 0], store.position)
    size = store_nbytes(planted, digits, ("0.c", "0.h"))
    files = sum(path.stat().st_size for path in (tmp_path / "states").glob("*.npy"))
    assert 0 <= files - size <= 7 * 128  # the headers of seven files
    assert f"{size:,} bytes" in said[0]


def test_half_precision_halves_the_states(planted, digits, tmp_path):
    write_store(tmp_path / "half", planted, digits, ("0.c",), "float16", announce=lambda _: None)
    write_store(tmp_path / "full", planted, digits, ("0.c",), announce=lambda _: None)
    half, full = open_store(tmp_path / "half"), open_store(tmp_path / "full")
    assert half.states["0.c"].dtype == np.float16
    np.testing.assert_allclose(half.states["0.c"], full.states["0.c"], atol=1e-3)


def test_a_disk_that_would_fill_is_refused_before_anything_is_written(
    planted, digits, tmp_path, monkeypatch
):
    size = store_nbytes(planted, digits, ("0.c",))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=RESERVE + size - 1))
    with pytest.raises(InputError, match="the disk has"):
        write_store(tmp_path / "states", planted, digits, ("0.c",))
    assert not list(tmp_path.iterdir())


def test_a_failure_on_the_way_leaves_nothing(planted, digits, tmp_path):
    def fail(done, every):
        raise InputError("stopped")

    with pytest.raises(InputError, match="stopped"):
        write_store(
            tmp_path / "states", planted, digits, ("0.c",), announce=lambda _: None, progress=fail
        )
    assert not list(tmp_path.iterdir())


def test_what_is_there_stays_and_what_is_no_store_is_named(planted, digits, tmp_path):
    with pytest.raises(InputError, match="exists already"):
        write_store(tmp_path, planted, digits, ("0.c",))
    with pytest.raises(InputError, match="not the manifest"):
        open_store(tmp_path)
    with pytest.raises(InputError, match="float32 or float16"):
        write_store(tmp_path / "states", planted, digits, ("0.c",), "int8")
    folder = tmp_path / "states"
    write_store(folder, planted, digits, ("0.c",), announce=lambda _: None)
    np.save(folder / "position.npy", np.zeros(3))
    with pytest.raises(InputError, match="the manifest says"):
        open_store(folder)
    about = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**about, "format_version": 99}))
    with pytest.raises(InputError, match="version 99"):
        open_store(folder)
