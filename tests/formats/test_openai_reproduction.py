"""openai_reproduction's model.npy, as Python 2 pickled it."""

import io
import os
import pickle
import tracemalloc

import numpy as np
import pytest
from mutations import survives
from ours import logits_of

from mlstm.errors import InputError
from mlstm.formats import openai_reproduction

E, H = 5, 4


def weights(weight_norm=True):
    """The list that the original saves."""
    gate = [(E, H), (H, H), (1, H)]
    shapes = [(256, E), (E, H), (H, H), *gate * 4, *[(H,)] * (10 * weight_norm), (H, 256), (256,)]
    draw = np.random.default_rng(4)
    return [draw.normal(size=shape).astype(np.float32) for shape in shapes]


class Python2(pickle._Pickler):
    """Bytes as Python 2 pickled its str, which is what arrays kept their numbers in."""

    def save_bytes(self, data):
        self.write(pickle.BINSTRING + len(data).to_bytes(4, "little") + data)
        self.memoize(data)

    dispatch = pickle._Pickler.dispatch | {bytes: save_bytes}


def npy(arrays, header="(27L,)"):
    """What np.save of Python 2 writes of a list of arrays."""
    objects = np.empty(len(arrays), object)
    objects[:] = arrays
    out = io.BytesIO()
    text = f"{{'descr': '|O', 'fortran_order': False, 'shape': {header}, }}\n".encode()
    out.write(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    Python2(out, 2).dump(objects)
    return out.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def as_published(p, ids_TB, weight_norm=True):
    """Logits in the original's own layout: separate matrices, in the order of its list."""

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    p = [np.float64(array) for array in p]
    emb, Wmx, Wmh, Whx, Whm, bh, Wix, Wim, bi, Wox, Wom, bo, Wfx, Wfm, bf = p[:15]
    if weight_norm:
        gmx, gmh, ghx, ghm, gix, gim, gox, gom, gfx, gfm = p[15:25]

        def n(v, g):
            return v / np.sqrt((v**2).sum(0)) * g

        Wmx, Wmh, Whx, Whm, Wix = n(Wmx, gmx), n(Wmh, gmh), n(Whx, ghx), n(Whm, ghm), n(Wix, gix)
        Wim, Wox, Wom, Wfx, Wfm = n(Wim, gim), n(Wox, gox), n(Wom, gom), n(Wfx, gfx), n(Wfm, gfm)
    h = c = np.zeros((ids_TB.shape[1], H))
    out = []
    for ids in ids_TB:
        x = emb[ids]
        m = (x @ Wmx) * (h @ Wmh)
        new = np.tanh(x @ Whx + m @ Whm + bh)
        i = sigmoid(x @ Wix + m @ Wim + bi)
        o = sigmoid(x @ Wox + m @ Wom + bo)
        f = sigmoid(x @ Wfx + m @ Wfm + bf)
        c = f * c + i * new
        h = np.tanh(c) * o
        out.append(h @ p[-2] + p[-1])
    return np.stack(out)


@pytest.mark.parametrize("weight_norm", [True, False])
def test_the_logits_are_those_of_the_original(tmp_path, weight_norm):
    p = weights(weight_norm)
    (tmp_path / "model.npy").write_bytes(npy(p, f"({len(p)}L,)"))
    ids = np.random.default_rng(0).integers(0, 256, (15, 2))
    for path in (tmp_path, tmp_path / "model.npy"):
        assert openai_reproduction.recognises(path)
        found = openai_reproduction.read(path)
        assert found.config.weight_norm == weight_norm
        wanted = as_published(p, ids, weight_norm)
        np.testing.assert_allclose(logits_of(found, ids), wanted, rtol=1e-5, atol=1e-5)


def test_a_list_that_numpy_of_today_saved_is_read_too(tmp_path):
    p = weights()
    objects = np.empty(27, object)
    objects[:] = p
    np.save(tmp_path / "model.npy", objects, allow_pickle=True)
    found = openai_reproduction.read(tmp_path / "model.npy")
    np.testing.assert_array_equal(found.parameters["layers"]["0"]["wh"][:, 1], p[13])


def test_the_parts_of_a_split_file_are_joined(tmp_path):
    data = npy(weights())
    third = len(data) // 3
    for name, part in [("xaa", data[:third]), ("xab", data[third:-9]), ("xac", data[-9:])]:
        (tmp_path / name).write_bytes(part)
    assert openai_reproduction.recognises(tmp_path)
    found = openai_reproduction.read(tmp_path)
    np.testing.assert_array_equal(found.parameters["embedding"], weights()[0])
    os.rename(tmp_path / "xab", tmp_path / "xad")
    with pytest.raises(InputError, match="the part xab is missing"):
        openai_reproduction.read(tmp_path)


class Runs:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_pickle_that_would_run_code_is_refused_without_running_it(tmp_path):
    p = [*weights()[:-1], Runs(f"touch {tmp_path / 'ran'}")]
    (tmp_path / "model.npy").write_bytes(npy(p))
    with pytest.raises(InputError, match="system"):
        openai_reproduction.read(tmp_path / "model.npy")
    assert not (tmp_path / "ran").exists()


def test_arrays_that_do_not_fit_are_named(tmp_path):
    p = weights()
    p[14] = np.ones((1, H + 1), np.float32)
    (tmp_path / "model.npy").write_bytes(npy(p))
    with pytest.raises(InputError, match=r"array 14 has the shape \(1, 5\).*has to be \(1, 4\)"):
        openai_reproduction.read(tmp_path / "model.npy")
    (tmp_path / "model.npy").write_bytes(npy(p[:3], "(3L,)"))
    assert not openai_reproduction.recognises(tmp_path / "model.npy")
    with pytest.raises(InputError, match="27 pickled arrays are needed"):
        openai_reproduction.read(tmp_path / "model.npy")


def test_impossible_sizes_are_refused_before_memory_is_taken(tmp_path):
    data = npy(weights())
    said = b"K" + bytes([E]) + b"K" + bytes([H])  # the shape of a matrix
    assert said in data
    huge = b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f"
    (tmp_path / "model.npy").write_bytes(data.replace(said, huge, 1))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"model\.npy"):
            openai_reproduction.read(tmp_path / "model.npy")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_files_are_refused_in_one_line_or_give_a_sound_model(tmp_path, count):
    (tmp_path / "model.npy").write_bytes(npy(weights()))
    refused, _ = survives(openai_reproduction.read, tmp_path / "model.npy", count)
    assert refused > count / 4
