"""Our cells against other projects' code, on random parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlstm.model import recurrence
from mlstm.model.cells import CELLS, MultiplicativeLSTM
from mlstm.model.initialisation import RECIPES
from mlstm.model.readable import Controls, Plan, Weights

pytestmark = pytest.mark.peers

T, F, H = 50, 10, 24


def hidden_of(cell, weights, x):
    """h at every step (T, H) of one sequence x (T, F), from the zero state."""
    zero = {name: jnp.zeros((1, H)) for name in cell.state_names}
    result = recurrence.scan(Plan(cell), weights, x[:, None], zero, {}, Controls(None, None, None))
    return result.hidden[:, 0], result.state


def test_multiplicative_lstm_with_weight_norm_equals_jax_unirep():
    models = pytest.importorskip("jax_unirep.models", reason="needs the extra 'peers'")
    theirs = models.MLSTMCell(F, H, jax.random.key(0), b_init=jax.nn.initializers.normal(1.0))
    x = jax.random.normal(jax.random.key(1), (T, F))
    h, c, hidden = theirs(x)

    from flax import nnx

    ours = MultiplicativeLSTM(
        F, H, weight_norm=True, forget_bias=0, recipe=RECIPES["orthogonal"], rngs=nnx.Rngs(0)
    )
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


# cell -> the module, and the order in which PyTorch has our gates
TORCH = {
    "lstm": ("LSTM", (0, 1, 3, 2)),  # i, f, g (our u), o
    "gru": ("GRU", (0, 1, 2)),
    "rnn": ("RNN", (0,)),
}


@pytest.mark.parametrize("cell", TORCH)
def test_a_cell_and_its_gradients_equal_pytorch(cell):
    torch = pytest.importorskip("torch", reason="needs the extra 'peers'")
    torch.manual_seed(0)
    module, order = TORCH[cell]
    theirs = getattr(torch.nn, module)(F, H)
    x = torch.randn(T, 1, F, requires_grad=True)
    hidden = theirs(x)[0][:, 0]
    hidden.sin().sum().backward()

    def gates(array, axes):  # PyTorch has the gates along the first axis, before the inputs
        parts = np.split(array.detach().numpy(), len(order))
        whole = np.stack([parts[k] for k in order])
        return np.moveaxis(whole, -1, 0)[:, *axes] if whole.ndim > 2 else whole[*axes]

    axes = (slice(None),) if len(order) > 1 else (0,)

    def ours_of(which):
        """Of the parameters or of their gradients, in our layout."""
        w = {n: which(getattr(theirs, f"{n}_l0")) for n in ("weight_ih", "weight_hh")}
        b, bn = (gates(which(getattr(theirs, f"{n}_l0")), axes) for n in ("bias_ih", "bias_hh"))
        inputs = {"wx": gates(w["weight_ih"], axes), "b": b}
        if cell == "gru":
            inputs["bn"] = bn[2]
            bn = bn * [[1], [1], [0]]
        return {"wh": gates(w["weight_hh"], axes)}, inputs, bn

    recurrent, inputs, more = ours_of(lambda x: x)
    inputs["b"] = (inputs["b"] + more).astype(np.float32)
    weights = jax.tree.map(jnp.asarray, Weights(recurrent, inputs, None))

    def loss(weights, x):
        h = hidden_of(CELLS[cell], weights, x)[0]
        return jnp.sin(h).sum(), h

    (_, found), (gradient, dx) = jax.value_and_grad(loss, (0, 1), has_aux=True)(
        weights, jnp.asarray(x[:, 0].detach().numpy())
    )
    np.testing.assert_allclose(found, hidden.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(dx, x.grad[:, 0].numpy(), atol=1e-5)
    recurrent, inputs, _ = ours_of(lambda x: x.grad)
    for wanted, have in ((recurrent, gradient.recurrent), (inputs, gradient.inputs)):
        for name, value in wanted.items():
            np.testing.assert_allclose(have[name], value, atol=2e-5 * np.abs(value).max())
