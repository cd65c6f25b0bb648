"""Our cells against other projects' code, on random parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlstm.model import recurrence
from mlstm.model.cells import LSTM, MultiplicativeLSTM
from mlstm.model.readable import Controls, Plan, Weights

pytestmark = pytest.mark.peers

T, F, H = 50, 10, 24


def hidden_of(cell, weights, x):
    """h at every step (T, H) of one sequence x (T, F), from the zero state."""
    zero = {name: jnp.zeros((1, H)) for name in ("h", "c")}
    result = recurrence.scan(Plan(cell), weights, x[:, None], zero, {}, Controls(None, None, None))
    return result.hidden[:, 0], result.state


def test_multiplicative_lstm_with_weight_norm_equals_jax_unirep():
    models = pytest.importorskip("jax_unirep.models", reason="needs the extra 'peers'")
    theirs = models.MLSTMCell(F, H, jax.random.key(0), b_init=jax.nn.initializers.normal(1.0))
    x = jax.random.normal(jax.random.key(1), (T, F))
    h, c, hidden = theirs(x)

    from flax import nnx

    ours = MultiplicativeLSTM(F, H, weight_norm=True, forget_bias=0, rngs=nnx.Rngs(0))
    for name in ("wmx", "wmh", "wx", "wh", "gmx", "gmh", "gx", "gh", "b"):
        parameter = getattr(ours, name)
        parameter[...] = jnp.asarray(getattr(theirs, name)).reshape(parameter.shape)
    our_hidden, state = hidden_of(
        MultiplicativeLSTM, Weights(ours.weights(), ours.input_weights(), None), x
    )
    assert float(jnp.abs(hidden).max()) > 0.1, "a comparison of zeros says nothing"
    np.testing.assert_allclose(our_hidden, hidden, atol=1e-5)
    np.testing.assert_allclose(state["h"][0], h, atol=1e-5)
    np.testing.assert_allclose(state["c"][0], c, atol=1e-5)


def test_lstm_equals_pytorch():
    torch = pytest.importorskip("torch", reason="needs the extra 'peers'")
    torch.manual_seed(0)
    theirs = torch.nn.LSTM(F, H)
    x = torch.randn(T, 1, F)
    with torch.no_grad():
        hidden = theirs(x)[0][:, 0].numpy()

    def gates(array):  # torch orders i, f, g (our u), o along its first axis
        i, f, u, o = np.split(array.detach().numpy(), 4)
        return jnp.asarray(np.stack([i, f, o, u], 0))

    weights = Weights(
        {"wh": jnp.moveaxis(gates(theirs.weight_hh_l0), -1, 0)},
        {
            "wx": jnp.moveaxis(gates(theirs.weight_ih_l0), -1, 0),
            "b": gates(theirs.bias_ih_l0) + gates(theirs.bias_hh_l0),
        },
        None,
    )
    our_hidden, _ = hidden_of(LSTM, weights, jnp.asarray(x[:, 0].numpy()))
    np.testing.assert_allclose(our_hidden, hidden, atol=1e-5)
