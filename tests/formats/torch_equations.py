"""PyTorch's recurrent layers in numpy, from its documentation, in float64 and its own layout."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, h, c, w_ih, w_hh, b_ih, b_hh):
    i, f, g, o = np.split(x @ w_ih.T + b_ih + h @ w_hh.T + b_hh, 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru(x, h, c, w_ih, w_hh, b_ih, b_hh):
    i_r, i_z, i_n = np.split(x @ w_ih.T + b_ih, 3, axis=1)
    h_r, h_z, h_n = np.split(h @ w_hh.T + b_hh, 3, axis=1)
    r, z = sigmoid(i_r + h_r), sigmoid(i_z + h_z)
    n = np.tanh(i_n + r * h_n)
    return (1 - z) * n + z * h, c


def rnn(x, h, c, w_ih, w_hh, b_ih, b_hh):
    return np.tanh(x @ w_ih.T + b_ih + h @ w_hh.T + b_hh), c


CELLS = {"lstm": (lstm, 4), "gru": (gru, 3), "rnn": (rnn, 1)}


def random_layers(cell, features, hidden, layers, seed=0):
    """A state dict of nn.LSTM, nn.GRU or nn.RNN."""
    draw = np.random.default_rng(seed)
    rows = CELLS[cell][1] * hidden
    found = {}
    for k in range(layers):
        shapes = {
            f"weight_ih_l{k}": (rows, hidden if k else features),
            f"weight_hh_l{k}": (rows, hidden),
            f"bias_ih_l{k}": (rows,),
            f"bias_hh_l{k}": (rows,),
        }
        found |= {name: draw.normal(0, 0.4, shape).astype("f4") for name, shape in shapes.items()}
    return found


def run(cell, state_dict, layers, x_TBF):
    """The last layer's h (T, B, H)."""
    for k in range(layers):
        four = [
            state_dict[f"{name}_l{k}"].astype(np.float64)
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        h = c = np.zeros((x_TBF.shape[1], four[1].shape[1]))
        hidden = []
        for x in x_TBF:
            h, c = CELLS[cell][0](x, h, c, *four)
            hidden.append(h)
        x_TBF = np.stack(hidden)
    return x_TBF
