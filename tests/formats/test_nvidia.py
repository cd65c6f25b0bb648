"""Checkpoints of sentiment-discovery: read as that project's own equations have them."""

import numpy as np
import pytest
from mutations import survives
from ours import logits_of, states_of
from torch_equations import gru, lstm
from torch_writer import SAVE, Module, Ordered, Strided, save_zip

from mlstm.corpus.vocabulary import Bytes, offset_bytes, untold
from mlstm.errors import InputError
from mlstm.formats import nvidia

E, H = 5, 6
GATES = {"mLSTM": 4, "LSTM": 4, "GRU": 3}


def mlstm(x, h, c, w_ih, w_hh, b_ih, b_hh, w_mih, w_mhh):
    """Its mLSTMCell: an LSTM that reads m in the place of h."""
    m = (x @ w_mih.T) * (h @ w_mhh.T)
    return lstm(x, m, c, w_ih, w_hh, b_ih, b_hh)


STEPS = {"mLSTM": mlstm, "LSTM": lstm, "GRU": gru}


def state_dict(model, layers=1, vocabulary=257, norm=True, features=E, seed=0):
    """What RNNModel.state_dict gives: dicts in one another."""
    draw = np.random.default_rng(seed)

    def normal(*shape):
        return draw.normal(0, 0.5, shape).astype("f4")

    rows, recurrent = GATES[model] * H, Ordered()
    for k in range(layers):
        below = H if k else features
        shapes = {"w_ih": (rows, below), "w_hh": (rows, H)}
        shapes |= {"w_mih": (H, below), "w_mhh": (H, H)} if model == "mLSTM" else {}
        for name, shape in shapes.items():
            if norm:
                recurrent[f"rnns.{k}.{name}_g"] = normal(shape[0], 1) + 1
                recurrent[f"rnns.{k}.{name}_v"] = normal(*shape)
            else:
                recurrent[f"rnns.{k}.{name}"] = normal(*shape)
        recurrent |= {f"rnns.{k}.b_ih": normal(rows), f"rnns.{k}.b_hh": normal(rows)}
    encoder = {"encoder": Ordered(weight=normal(vocabulary, features)), "rnn": recurrent}
    decoder = Ordered(weight=normal(vocabulary, H), bias=normal(vocabulary))
    return {"encoder": encoder, "decoder": decoder}


def run(model, saved, ids, step=None):
    """The last layer's states (T, B, H), h and c, in float64."""
    recurrent = {k: v.astype(np.float64) for k, v in saved["encoder"]["rnn"].items()}
    x = saved["encoder"]["encoder"]["weight"].astype(np.float64)[ids]

    def weight(name):
        if name in recurrent:
            return recurrent[name]
        v = recurrent[f"{name}_v"]
        return v * (recurrent[f"{name}_g"] / np.sqrt((v**2).sum(1, keepdims=True)))

    names = ["w_ih", "w_hh", "b_ih", "b_hh"] + ["w_mih", "w_mhh"] * (model == "mLSTM")
    for k in range(sum(name.endswith("b_ih") for name in recurrent)):
        arrays = [weight(f"rnns.{k}.{name}") for name in names]
        h = c = np.zeros((ids.shape[1], H))
        hs, cs = [], []
        for now in x:
            h, c = (step or STEPS[model])(now, h, c, *arrays)
            hs.append(h)
            cs.append(c)
        x = np.stack(hs)
    return x, np.stack(cs)


def logits(model, saved, ids, step=None):
    decoder = saved["decoder"]
    return run(model, saved, ids, step)[0] @ decoder["weight"].T.astype("f8") + decoder["bias"]


IDS = np.random.default_rng(1).integers(0, 256, (15, 2)).astype(np.int32)


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("model", GATES)
def test_the_logits_are_those_of_its_equations(model, layers, norm, tmp_path):
    saved = state_dict(model, layers, norm=norm)
    wanted = logits(model, saved, IDS)
    assert np.abs(wanted).max() > 1, "a comparison of zeros says nothing"
    for container, save in SAVE.items():
        save(tmp_path / container, saved, device="cuda:3")
        assert nvidia.recognises(tmp_path / container)
        found = nvidia.read(tmp_path / container)
        assert (found.config.layers, found.config.weight_norm) == (layers, norm)
        np.testing.assert_allclose(logits_of(found, IDS), wanted, atol=1e-5)
    if model != "GRU":
        (cells,) = states_of(found, IDS, f"{layers - 1}.c")
        np.testing.assert_allclose(cells, run(model, saved, IDS)[1], atol=1e-5)


def wrapped(saved):
    classifier = Ordered({"dense0.weight": np.zeros((1, H), "f4"), "thresholds": np.zeros(1)})
    both = {"lm_encoder": saved, "classifier": {**classifier, "neurons": None}}
    flat = {f"module.encoder.encoder.{k}": v for k, v in saved["encoder"]["encoder"].items()}
    flat |= {f"module.encoder.rnn.{k}": v for k, v in saved["encoder"]["rnn"].items()}
    flat |= {f"module.decoder.{k}": v for k, v in saved["decoder"].items()}
    old = {**saved["encoder"], "decoder": saved["decoder"]}
    return {
        "args": {"sd": saved, "args": Module("argparse", "Namespace", {"lr": 1.0, "data": ["x"]})},
        "classifier and encoder": both,
        "a fine-tuned model": {"sd": both, "args": Module("argparse", "Namespace", {})},
        "an old classifier": {"classifier": saved},
        "flat, of several GPUs": flat,
        "without the outer encoder": old,
    }


@pytest.mark.parametrize("kind", wrapped(state_dict("mLSTM")))
def test_the_dicts_around_it_are_taken_off(kind, tmp_path):
    saved = state_dict("mLSTM")
    save_zip(tmp_path / "a.pt", wrapped(saved)[kind])
    found = nvidia.read(tmp_path / "a.pt")
    np.testing.assert_allclose(logits_of(found, IDS), logits("mLSTM", saved, IDS), atol=1e-5)
    assert ("Its classifier was not read." in found.notes) == ("model" in kind or "and" in kind)


def test_weights_of_which_some_are_normalised_are_multiplied_out(tmp_path):
    saved = state_dict("mLSTM")
    plain = np.random.default_rng(5).normal(0, 0.5, (H, H)).astype("f4")
    for end in ("_g", "_v"):
        del saved["encoder"]["rnn"][f"rnns.0.w_mhh{end}"]
    saved["encoder"]["rnn"]["rnns.0.w_mhh"] = plain
    save_zip(tmp_path / "a.pt", saved)
    found = nvidia.read(tmp_path / "a.pt")
    assert not found.config.weight_norm
    np.testing.assert_allclose(logits_of(found, IDS), logits("mLSTM", saved, IDS), atol=1e-5)


def test_gates_of_releases_before_0_3_are_an_option(tmp_path):
    def old(x, h, c, w_ih, w_hh, b_ih, b_hh, w_mih, w_mhh):
        m = (x @ w_mih.T) * (h @ w_mhh.T)
        i, f, o, g = np.split(x @ w_ih.T + b_ih + m @ w_hh.T + b_hh, 4, axis=1)
        c = 1 / (1 + np.exp(-f)) * c + 1 / (1 + np.exp(-i)) * np.tanh(g)
        return 1 / (1 + np.exp(-o)) * np.tanh(c), c

    saved = state_dict("mLSTM", vocabulary=256)
    save_zip(tmp_path / "a.pt", saved)
    found = nvidia.read(tmp_path / "a.pt", gates="ifog")
    np.testing.assert_allclose(logits_of(found, IDS), logits("mLSTM", saved, IDS, old), atol=1e-5)
    assert 'gates="ifog"' in str(nvidia.read(tmp_path / "a.pt").notes)
    assert 'gates="ifog"' not in str(found.notes)
    with pytest.raises(InputError, match=r'gates is "x"; it may be'):
        nvidia.read(tmp_path / "a.pt", gates="x")


def test_symbols_are_known_by_how_many_they_are(tmp_path):
    for size, symbols in [(256, Bytes()), (257, offset_bytes()), (321, untold(321))]:
        save_zip(tmp_path / "a.pt", state_dict("LSTM", vocabulary=size))
        assert nvidia.read(tmp_path / "a.pt").vocabulary == symbols
    assert offset_bytes().encode(b"a").tolist() == [98]


def test_a_tied_decoder_and_none(tmp_path):
    saved = state_dict("mLSTM", features=H)
    table = saved["encoder"]["encoder"]["weight"]
    saved["decoder"]["weight"] = Strided(table, 0, table.shape, (H, 1))
    save_zip(tmp_path / "a.pt", saved)
    found = nvidia.read(tmp_path / "a.pt")
    assert found.config.readout == "tied"
    saved["decoder"]["weight"] = table
    np.testing.assert_allclose(logits_of(found, IDS), logits("mLSTM", saved, IDS), atol=1e-5)
    del saved["decoder"]
    save_zip(tmp_path / "a.pt", saved)
    found = nvidia.read(tmp_path / "a.pt")
    assert found.config.readout == "none"
    assert "There is no decoder" in str(found.notes)
    (hidden,) = states_of(found, IDS, "0.h")
    np.testing.assert_allclose(hidden, run("mLSTM", saved, IDS)[0], atol=1e-5)


def test_half_precision_is_read(tmp_path):
    saved = state_dict("mLSTM")

    def halved(part):
        return {k: halved(v) if isinstance(v, dict) else v.astype("f2") for k, v in part.items()}

    save_zip(tmp_path / "a.pt", halved(saved))
    found = nvidia.read(tmp_path / "a.pt")
    wanted = logits("mLSTM", halved(saved), IDS)
    np.testing.assert_allclose(logits_of(found, IDS), wanted, atol=1e-5)


def test_what_is_not_read_is_said(tmp_path):
    def refused(message, change, model="mLSTM"):
        saved = state_dict(model, norm=False)
        change(saved["encoder"]["rnn"])
        save_zip(tmp_path / "a.pt", saved)
        with pytest.raises(InputError, match=message) as met:
            nvidia.read(tmp_path / "a.pt")
        assert "\n" not in str(met.value)

    zeros = np.zeros((H, H), "f4")
    refused(
        "arrays that are no part of this format: .*w_ho", lambda r: r.update({"rnns.0.w_ho": zeros})
    )
    refused(r"w_hh has 6 rows of 6 units", lambda r: r.update({"rnns.0.w_hh": zeros}), "LSTM")
    refused(r"rnns\.0\.w_mhh", lambda r: r.pop("rnns.0.w_mhh"))
    refused(r"w_mhh has the shape \(6, 5\)", lambda r: r.update({"rnns.0.w_mhh": zeros[:, :5]}))
    large = np.full(4 * H, 3e38, "f4")
    refused(
        r"layers\.0\.b .* not finite",
        lambda r: r.update({"rnns.0.b_ih": large, "rnns.0.b_hh": large}),
    )
    refused("not a recurrent model of sentiment-discovery", lambda r: r.clear())
    save_zip(tmp_path / "a.pt", {"encoder": {"layers.0.fc1.weight": zeros}})
    with pytest.raises(InputError, match="not a recurrent model"):
        nvidia.read(tmp_path / "a.pt")


def small(path, container):
    saved = {"sd": {"lm_encoder": state_dict("mLSTM", vocabulary=7)}, "args": None}
    SAVE[container](path, saved)


@pytest.mark.parametrize("container", SAVE)
def test_damaged_files_give_one_line_or_a_sound_model(container, tmp_path):
    small(tmp_path / "a.pt", container)
    nvidia.read(tmp_path / "a.pt")
    refused, _ = survives(nvidia.read, tmp_path / "a.pt", 100)
    assert refused > 40


@pytest.mark.slow
@pytest.mark.parametrize("container", SAVE)
def test_two_thousand_damaged_files(container, tmp_path):
    small(tmp_path / "a.pt", container)
    survives(nvidia.read, tmp_path / "a.pt", 2000, first=100)
