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
from mlstm.model.language_model import ModelConfig


def linear(weight, bias=None) -> nn.Linear:
    """A Linear of our weight (in, ...out) and bias (...out)."""
    weight = np.asarray(weight).reshape(weight.shape[0], -1).T
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight.data = torch.from_numpy(np.ascontiguousarray(weight))
    if bias is not None:
        layer.bias.data = torch.from_numpy(np.array(bias).reshape(-1))
    return layer


class Cell(nn.Module):
    """The multiplicative LSTM, or without wmh the LSTM."""

    def __init__(self, parameters):
        super().__init__()

        def weight(name):
            w = parameters[name]
            return normalised(w, parameters[gain_of(name)]) if gain_of(name) in parameters else w

        self.multiplicative = "wmh" in parameters
        if self.multiplicative:
            self.wmx, self.wmh = linear(weight("wmx")), linear(weight("wmh"))
        self.wx, self.wh = linear(weight("wx")), linear(weight("wh"), parameters["b"])

    def forward(self, x_BF, h_BH, c_BH):
        m_BH = self.wmx(x_BF) * self.wmh(h_BH) if self.multiplicative else h_BH
        i, f, o, u = (self.wx(x_BF) + self.wh(m_BH)).chunk(4, 1)
        c_BH = torch.sigmoid(f) * c_BH + torch.sigmoid(i) * torch.tanh(u)
        return torch.sigmoid(o) * torch.tanh(c_BH), c_BH


class Loop(nn.Module):
    """A cell over x (T, B, F), to h at every step (T, B, H)."""

    def __init__(self, cell: Cell, compile: bool):
        super().__init__()
        self.cell, self.step = cell, torch.compile(cell) if compile else cell

    def forward(self, x_TBF):
        h_BH = c_BH = x_TBF.new_zeros(x_TBF.shape[1], self.cell.wh.out_features // 4)
        hidden = []
        for x_BF in x_TBF:
            h_BH, c_BH = self.step(x_BF, h_BH, c_BH)
            hidden.append(h_BH)
        return torch.stack(hidden)


class Native(nn.Module):
    """PyTorch's own LSTM of all layers; with an LSTM's weights where the parameters are one's."""

    def __init__(self, config: ModelConfig, parameters):
        super().__init__()
        self.lstm = nn.LSTM(config.embedding, config.hidden, config.layers)
        if config.cell != "lstm":
            return
        for layer in range(config.layers):
            cell = Cell(parameters["layers"][str(layer)])
            for name, ours in (
                ("weight_ih", cell.wx.weight),
                ("weight_hh", cell.wh.weight),
                ("bias_ih", cell.wh.bias),
            ):
                i, f, o, u = ours.data.chunk(4)  # PyTorch's order is i, f, u, o
                getattr(self.lstm, f"{name}_l{layer}").data = torch.cat([i, f, u, o])
            getattr(self.lstm, f"bias_hh_l{layer}").data.zero_()

    def forward(self, x_TBF):
        return self.lstm(x_TBF)[0]


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
    cells = (Cell(parameters["layers"][str(layer)]) for layer in range(config.layers))
    return Step(config, parameters, ids_TB, nn.Sequential(*(Loop(cell, compile) for cell in cells)))


def native(config: ModelConfig, parameters, ids_TB) -> Step:
    """PyTorch's own LSTM."""
    return Step(config, parameters, ids_TB, Native(config, parameters))
