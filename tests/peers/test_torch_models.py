"""Files that torch itself writes are read, and torch reads what is written."""

import sys

import jax
import numpy as np
import pytest

from mlstm.formats import char_rnn, guillitte, nvidia, torch_files
from mlstm.model import language_model

torch = pytest.importorskip("torch", reason="needs the extra 'peers'")

pytestmark = pytest.mark.peers

V, E, H, T, B = 100, 24, 24, 40, 3
CASES = [(cell, layers) for cell in ("LSTM", "GRU", "RNN") for layers in (1, 2, 3)]
IDS = np.random.default_rng(0).integers(0, V, (T, B)).astype(np.int32)


class CharRNN(torch.nn.Module):
    """As Char-RNN-Understanding has it; pickled as model.CharRNN."""

    def __init__(self, cell, layers):
        super().__init__()
        self.encoder = torch.nn.Embedding(V, H)
        self.rnn = getattr(torch.nn, cell)(H, H, layers)
        self.decoder = torch.nn.Linear(H, V)

    def forward(self, ids):
        return self.decoder(self.rnn(self.encoder(ids))[0])


CharRNN.__module__ = "model"


@pytest.fixture(autouse=True)
def model_py(monkeypatch):
    """torch pickles a class by the name of a module that it imports."""
    module = type(sys)("model")
    module.CharRNN = CharRNN
    monkeypatch.setitem(sys.modules, "model", module)
    torch.manual_seed(0)


def of_torch(module):
    with torch.no_grad():
        return module(torch.tensor(IDS, dtype=torch.long)).numpy()


def forward(found, ids=IDS):
    with jax.default_matmul_precision("highest"):
        return language_model.forward(
            found.config,
            found.parameters,
            ids,
            language_model.initial_state(found.config, ids.shape[1]),
        )


def logits_of(found):
    return np.asarray(language_model.logits(found.parameters, forward(found).hidden))


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("cell", "layers"), CASES)
def test_torchs_logits_are_ours_and_ours_torchs(cell, layers, whole, zipped, tmp_path):
    module = CharRNN(cell, layers)
    saved = module if whole else module.state_dict()
    torch.save(saved, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    assert char_rnn.recognises(tmp_path / "a.pt")
    found = char_rnn.read(tmp_path / "a.pt")
    wanted = of_torch(module)
    assert np.abs(wanted).max() > 0.1, "a comparison of zeros says nothing"
    np.testing.assert_allclose(logits_of(found), wanted, atol=1e-5)

    char_rnn.write(found, tmp_path / "b.pt")
    back = CharRNN(cell, layers)
    back.load_state_dict(torch.load(tmp_path / "b.pt", weights_only=True))
    np.testing.assert_allclose(of_torch(back), wanted, atol=1e-5)
    again = char_rnn.read(tmp_path / "b.pt")
    assert jax.tree.all(
        jax.tree.map(lambda a, b: a.tobytes() == b.tobytes(), found.parameters, again.parameters)
    )


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("cell", "layers"), CASES)
def test_torchs_layers_alone_give_our_states(cell, layers, whole, zipped, tmp_path):
    module = getattr(torch.nn, cell)(E, H, layers)
    saved = module if whole else module.state_dict()
    torch.save(saved, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    found = char_rnn.read(tmp_path / "a.pt")
    ids = IDS % E
    with torch.no_grad():
        wanted = module(torch.eye(E)[torch.tensor(ids, dtype=torch.long)])[0].numpy()
    np.testing.assert_allclose(forward(found, ids).hidden, wanted, atol=1e-5)

    char_rnn.write(found, tmp_path / "b.pt")
    back = getattr(torch.nn, cell)(E, H, layers)
    back.load_state_dict(torch.load(tmp_path / "b.pt", weights_only=True, mmap=True))
    with torch.no_grad():
        given = back(torch.eye(E)[torch.tensor(ids, dtype=torch.long)])[0].numpy()
    np.testing.assert_allclose(given, wanted, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_types_of_numbers_are_read_as_torch_reads_them(dtype, tmp_path):
    module = CharRNN("LSTM", 2).to(getattr(torch, dtype))
    for zipped in (True, False):
        path = tmp_path / f"{zipped}.pt"
        torch.save(module.state_dict(), path, _use_new_zipfile_serialization=zipped)
        found = torch_files.named_tensors(torch_files.read(path), "f")
        for name, tensor in module.state_dict().items():
            np.testing.assert_array_equal(found[name].array(), tensor.float().numpy())


def test_views_are_read_as_torch_reads_them(tmp_path):
    base = torch.randn(6, 8)
    saved = {"t": base.T, "part": base[1:4, ::2], "one": base[2, 3], "b": base[:, :0]}
    for zipped in (True, False):
        path = tmp_path / f"{zipped}.pt"
        torch.save(saved, path, _use_new_zipfile_serialization=zipped)
        found = torch_files.named_tensors(torch_files.read(path), "f")
        for name, tensor in saved.items():
            np.testing.assert_array_equal(found[name].array(), tensor.numpy())


def test_a_tied_readout_is_one_storage_in_torch(tmp_path):
    module = CharRNN("GRU", 1)
    module.decoder.weight = module.encoder.weight
    torch.save(module.state_dict(), tmp_path / "a.pt")
    found = char_rnn.read(tmp_path / "a.pt")
    assert found.config.readout == "tied"
    np.testing.assert_allclose(logits_of(found), of_torch(module), atol=1e-5)
    char_rnn.write(found, tmp_path / "b.pt")
    state = torch.load(tmp_path / "b.pt", weights_only=True)
    one, other = (state[f"{name}.weight"].data_ptr() for name in ("encoder", "decoder"))
    assert one == other


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_of_sentiment_discovery_by_torch(zipped, tmp_path):
    """Its cell's equations with torch's own functions, weight norm by torch's."""
    nn, linear = torch.nn, torch.nn.functional.linear
    embedding, decoder = nn.Embedding(257, E), nn.Linear(H, 257)
    shapes = {"w_ih": (4 * H, E), "w_hh": (4 * H, H), "w_mih": (H, E), "w_mhh": (H, H)}
    v = {name: torch.randn(shape) * 0.3 for name, shape in shapes.items()}
    g = {name: torch.rand(shape[0], 1) + 0.5 for name, shape in shapes.items()}
    bias = {name: torch.randn(4 * H) * 0.3 for name in ("b_ih", "b_hh")}
    recurrent = {f"rnns.0.{k}_v": x for k, x in v.items()} | {
        f"rnns.0.{k}_g": x for k, x in g.items()
    }
    recurrent |= {f"rnns.0.{k}": x for k, x in bias.items()}
    saved = {
        "encoder": {"encoder": embedding.state_dict(), "rnn": recurrent},
        "decoder": decoder.state_dict(),
    }
    torch.save(saved, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    found = nvidia.read(tmp_path / "a.pt")

    w = {name: torch._weight_norm(v[name], g[name], 0) for name in v}
    h = c = torch.zeros(B, H)
    wanted = []
    with torch.no_grad():
        for ids in torch.tensor(IDS, dtype=torch.long):
            x = embedding(ids)
            m = linear(x, w["w_mih"]) * linear(h, w["w_mhh"])
            h, c = torch.lstm_cell(x, (m, c), w["w_ih"], w["w_hh"], bias["b_ih"], bias["b_hh"])
            wanted.append(decoder(h).numpy())
    np.testing.assert_allclose(logits_of(found), np.stack(wanted), atol=1e-5)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_a_checkpoint_of_pytorch_sentiment_neuron_by_torch(zipped, tmp_path, monkeypatch):
    models = type(sys)("models")

    class StackedLSTM(torch.nn.Module):
        """Its sums, with cells of torch's own."""

        def __init__(self, layers):
            super().__init__()
            self.dropout, self.h2o = torch.nn.Dropout(0.1), torch.nn.Linear(H, 256)
            self.layers = [torch.nn.LSTMCell(H if k else E, H) for k in range(layers)]
            for k, layer in enumerate(self.layers):
                self.add_module(f"layer_{k}", layer)

    StackedLSTM.__module__, StackedLSTM.__qualname__ = "models", "StackedLSTM"
    models.StackedLSTM = StackedLSTM
    monkeypatch.setitem(sys.modules, "models", models)
    rnn, embed = StackedLSTM(3), torch.nn.Embedding(256, E)
    saved = {"rnn": rnn, "embed": embed, "opt": None, "epoch": 1}
    torch.save(saved, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    assert guillitte.recognises(tmp_path / "a.pt")
    found = guillitte.read(tmp_path / "a.pt")
    states = [(torch.zeros(B, H), torch.zeros(B, H)) for _ in rnn.layers]
    wanted = []
    with torch.no_grad():
        for ids in torch.tensor(IDS, dtype=torch.long):
            x = embed(ids)
            for k, layer in enumerate(rnn.layers):
                states[k] = layer(x, states[k])
                x = states[k][0] if k == 0 else x + states[k][0]
            wanted.append(rnn.h2o(x).numpy())
    np.testing.assert_allclose(logits_of(found), np.stack(wanted), atol=1e-5)
