"""Loss and gradients of one window in PyTorch, written as the published models are.

The cell is a Linear for each weight, looped over time in Python (as in guillitte's
pytorch-sentiment-neuron and NVIDIA's sentiment-discovery); the embedding and the readout are
applied to a whole window at once, which is kinder than the first of these. Weights are ours,
normalised once before: PyTorch's rows do no weight normalisation.

Legend: T time, B batch, F features, H hidden.
"""

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]

from mlstm.model.cells import gain_of, normalised
from mlstm.model.config import ModelConfig


def linear(weight, bias=None) -> nn.Linear:
    """A Linear of our weight (in, ...out) and bias (...out)."""
    weight = np.asarray(weight).reshape(weight.shape[0], -1).T
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight.data = torch.from_numpy(np.ascontiguousarray(weight))
    if bias is not None:
        layer.bias.data = torch.from_numpy(np.array(bias).reshape(-1))
    return layer


class Cell(nn.Module):
    """One of our cells, by its name."""

    def __init__(self, name: str, parameters):
        super().__init__()
        self.step = getattr(self, f"_{name}")

        def weight(name):
            w = parameters[name]
            return normalised(w, parameters[gain_of(name)]) if gain_of(name) in parameters else w

        for weight_name in ("wmx", "wmh", "wx", "wh", "whn"):
            if weight_name in parameters:
                bias = parameters["b"] if weight_name == "wx" else None
                setattr(self, weight_name, linear(weight(weight_name), bias))
        if "bn" in parameters:
            self.bn = nn.Parameter(torch.from_numpy(np.array(parameters["bn"])))
        self.hidden = parameters["b"].shape[-1]

    def forward(self, x_BF, h_BH, c_BH):
        return self.step(x_BF, h_BH, c_BH)

    def _multiplicative_lstm(self, x_BF, h_BH, c_BH):
        return self._lstm(x_BF, self.wmx(x_BF) * self.wmh(h_BH), c_BH)

    def _lstm(self, x_BF, h_BH, c_BH):
        i, f, o, u = (self.wx(x_BF) + self.wh(h_BH)).chunk(4, 1)
        c_BH = torch.sigmoid(f) * c_BH + torch.sigmoid(i) * torch.tanh(u)
        return torch.sigmoid(o) * torch.tanh(c_BH), c_BH

    def _gru(self, x_BF, h_BH, c_BH):
        (x_r, x_z, x_n), (h_r, h_z, h_n) = self.wx(x_BF).chunk(3, 1), self.wh(h_BH).chunk(3, 1)
        n = torch.tanh(x_n + torch.sigmoid(x_r + h_r) * (h_n + self.bn))
        return torch.lerp(n, h_BH, torch.sigmoid(x_z + h_z)), c_BH

    def _gru_reset_before(self, x_BF, h_BH, c_BH):
        (x_r, x_z, x_n), (h_r, h_z) = self.wx(x_BF).chunk(3, 1), self.wh(h_BH).chunk(2, 1)
        n = torch.tanh(x_n + self.whn(torch.sigmoid(x_r + h_r) * h_BH))
        return torch.lerp(n, h_BH, torch.sigmoid(x_z + h_z)), c_BH

    def _rnn(self, x_BF, h_BH, c_BH):
        return torch.tanh(self.wx(x_BF) + self.wh(h_BH)), c_BH


class Loop(nn.Module):
    """A cell over x (T, B, F), to h at every step (T, B, H)."""

    def __init__(self, cell: Cell, compile: bool):
        super().__init__()
        self.cell, self.step = cell, torch.compile(cell) if compile else cell

    def forward(self, x_TBF):
        h_BH = c_BH = x_TBF.new_zeros(x_TBF.shape[1], self.cell.hidden)
        hidden = []
        for x_BF in x_TBF:
            h_BH, c_BH = self.step(x_BF, h_BH, c_BH)
            hidden.append(h_BH)
        return torch.stack(hidden)


class Native(nn.Module):
    """PyTorch's own LSTM, GRU or RNN of all layers, with our weights where our cell is that one."""

    def __init__(self, kind: str, config: ModelConfig, parameters):
        super().__init__()
        made = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind]
        self.layers = made(config.embedding, config.hidden, config.layers)
        if config.cell != kind:
            return
        order = {"lstm": (0, 1, 3, 2), "gru": (0, 1, 2), "rnn": (0,)}[kind]  # LSTM: i, f, u, o
        for layer in range(config.layers):
            cell = Cell(kind, parameters["layers"][str(layer)])
            for name, ours in (
                ("weight_ih", cell.wx.weight),
                ("weight_hh", cell.wh.weight),
                ("bias_ih", cell.wx.bias),
            ):
                gates = ours.data.chunk(len(order))
                getattr(self.layers, f"{name}_l{layer}").data = torch.cat([gates[k] for k in order])
            bias = getattr(self.layers, f"bias_hh_l{layer}").data.zero_()
            if kind == "gru":
                bias[-config.hidden :] = cell.bn.data

    def forward(self, x_TBF):
        return self.layers(x_TBF)[0]


class Step:
    """Called: the loss of one window and the gradients of everything."""

    def __init__(self, config: ModelConfig, parameters, ids_TB, layers: nn.Module):
        self.rounded = config.products == "bfloat16"
        self.layers, self.ids_TB = layers, torch.from_numpy(np.array(ids_TB, np.int64))
        embedding = torch.from_numpy(np.array(parameters["embedding"]))
        self.embedding = nn.Embedding.from_pretrained(embedding, freeze=False)
        self.readout = linear(parameters["readout"]["w"], parameters["readout"]["b"])

    def __call__(self):
        for module in (self.embedding, self.layers, self.readout):
            module.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.rounded):
            hidden_TBH = self.layers(self.embedding(self.ids_TB[:-1]))
            scores = self.readout(hidden_TBH.flatten(0, 1))
        loss = nn.functional.cross_entropy(scores.float(), self.ids_TB[1:].flatten())
        loss.backward()
        return loss

    def result(self) -> tuple:
        """The loss and some gradients, as our tree has them: embedding (all of the backward pass
        lies before it) and readout."""
        loss = self().item()
        parameters = self.embedding.weight, self.readout.weight, self.readout.bias
        embedding, w, b = (np.asarray(parameter.grad) for parameter in parameters)
        gradients = {"embedding": embedding, "readout": {"w": w.T, "b": b}}
        return loss, gradients


def loop(config: ModelConfig, parameters, ids_TB, compile: bool = False) -> Step:
    """The cell looped over in Python; with `compile` under torch.compile."""
    layers = parameters["layers"]
    cells = (Cell(config.cell, layers[str(layer)]) for layer in range(config.layers))
    return Step(config, parameters, ids_TB, nn.Sequential(*(Loop(cell, compile) for cell in cells)))


def native(kind: str, config: ModelConfig, parameters, ids_TB) -> Step:
    """PyTorch's own "lstm", "gru" or "rnn"."""
    return Step(config, parameters, ids_TB, Native(kind, config, parameters))
