"""The arrays of torch's recurrent layers, and ours.

torch has one matrix for each product, outputs first: the gates lie under each other in the rows,
(G H, F), and every gate has two biases, of which only the sum matters, but for the candidate's of a
GRU. Ours are (F, G, H), one bias (G, H).

    lstm  G = 4, i, f, g, o    ours i, f, o, u (u is g)
    gru   G = 3, r, z, n       ours r, z, n, with bn = the second bias of n
    rnn   G = 1                ours (F, H)
"""

from collections.abc import Callable, Mapping

import numpy as np

from mlstm.errors import InputError
from mlstm.formats.pickles import shown
from mlstm.formats.torch_tensors import Tensor

CELLS = {4: "lstm", 3: "gru", 1: "rnn"}
"""The cell that has so many gates."""
IFGO = (0, 1, 3, 2)
"""From i, f, g, o to i, f, o, u and back."""
NORM_FLOOR = 1e-12
MOST = 64
"""Layers that are read. More would take minutes to set up, and no published model has as many."""


class Arrays:
    """The tensors of a file by name; each is taken once, and its shape said beforehand."""

    def __init__(self, tensors: Mapping[str, Tensor], where: str):
        self.tensors, self.where = dict(tensors), where

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def shape(self, name: str, axes: int) -> tuple[int, ...]:
        """The shape of an array that has to be there, of so many axes."""
        if name not in self.tensors:
            raise InputError(f"{self.where}: no array {shown(name)}")
        shape = self.tensors[name].shape
        if len(shape) != axes or 0 in shape:
            raise InputError(f"{self.where}: {shown(name)} has the shape {shape}, not {axes} axes")
        return shape

    def take(self, name: str, *shape: int) -> np.ndarray:
        """An array of this shape, float32, a copy."""
        found = self.shape(name, len(shape))
        if found != shape:
            raise InputError(
                f"{self.where}: {shown(name)} has the shape {found}, it has to be {shape}"
            )
        return self.tensors.pop(name).array()

    def bias(self, name: str, size: int) -> np.ndarray:
        """A bias, or zeros: layers may have none."""
        return self.take(name, size) if name in self else np.zeros(size, np.float32)

    def finish(self) -> None:
        """InputError if something is left: what is not understood is not ignored."""
        if self.tensors:
            names = ", ".join(shown(name) for name in sorted(self.tensors)[:5])
            raise InputError(
                f"{self.where}: {len(self.tensors)} arrays that are no part of this format: {names}"
            )


def count(arrays: Arrays, name: Callable[[int], str]) -> int:
    """How many layers have an array `name(layer)`."""
    layers = 1
    while name(layers) in arrays:
        layers += 1
    if layers > MOST:
        raise InputError(f"{arrays.where}: {layers} layers; up to {MOST} are read")
    return layers


def ours(weight: np.ndarray, order: tuple[int, ...] = (0,)) -> np.ndarray:
    """(G H, F) to (F, G, H), the gates in `order`; (F, H) where there is one."""
    gates = len(order)
    parts = weight.reshape(gates, -1, weight.shape[1])[list(order)]
    whole = np.ascontiguousarray(parts.transpose(2, 0, 1))
    return whole if gates > 1 else whole[:, 0]


def theirs(weight: np.ndarray, order: tuple[int, ...] = (0,)) -> np.ndarray:
    """The way back; `order` is its own inverse."""
    parts = weight.reshape(weight.shape[0], len(order), -1).transpose(1, 2, 0)[list(order)]
    return np.ascontiguousarray(parts).reshape(-1, weight.shape[0])


def order_of(cell: str) -> tuple[int, ...]:
    return {"lstm": IFGO, "gru": (0, 1, 2), "rnn": (0,)}[cell]


def folded(v: np.ndarray, g: np.ndarray) -> np.ndarray:
    """A weight of ours (F, ..., H) without its normalisation."""
    return v * (g / np.sqrt(np.maximum((v * v).sum(axis=0), NORM_FLOOR)))


def layer(
    cell: str, w_ih: np.ndarray, w_hh: np.ndarray, b_ih: np.ndarray, b_hh: np.ndarray
) -> dict[str, np.ndarray]:
    """A layer of ours from torch's four arrays."""
    order = order_of(cell)
    return {
        "wx": ours(w_ih, order),
        "wh": ours(w_hh, order),
        **biases(b_ih, b_hh, order, of_gru=cell == "gru"),
    }


def biases(
    b_ih: np.ndarray, b_hh: np.ndarray, order: tuple[int, ...], of_gru: bool = False
) -> dict[str, np.ndarray]:
    """Our bias from torch's two, of a GRU with bn."""
    first, second = (b.reshape(len(order), -1)[list(order)] for b in (b_ih, b_hh))
    with np.errstate(all="ignore"):  # what is not finite is said so later
        total = first + second
    if of_gru:
        total[2] = first[2]
        return {"b": total, "bn": np.ascontiguousarray(second[2])}
    return {"b": total if len(order) > 1 else total[0]}


def readout(
    arrays: Arrays, name: str, embedding: np.ndarray | None, vocabulary: int, hidden: int
) -> tuple[str, dict[str, dict[str, np.ndarray]], tuple[str, ...]]:
    """Of a Linear(H, V) called `name`, which may be missing: what config.readout is, what it adds
    to the parameters, and what is to be noted."""
    if f"{name}.weight" not in arrays:
        return "none", {}, ("There is no decoder: states can be read, and no logits.",)
    weight = arrays.take(f"{name}.weight", vocabulary, hidden)
    bias = {"b": arrays.bias(f"{name}.bias", vocabulary)}
    if embedding is not None and np.array_equal(weight, embedding):
        return "tied", {"readout": bias}, ()
    return "linear", {"readout": {"w": np.ascontiguousarray(weight.T)} | bias}, ()


def torch_layer(cell: str, found: Mapping[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """w_ih, w_hh, b_ih, b_hh of a layer of ours; `layer` gives it back to the bit."""
    order = order_of(cell)
    weights = [theirs(_plain(found, name), order) for name in ("wx", "wh")]
    b_ih = found["b"].reshape(len(order), -1)[list(order)]
    b_hh = np.full_like(b_ih, -0.0)  # what adds nothing, not even to -0.0
    if cell == "gru":
        b_hh[2] = found["bn"]
    return (*weights, b_ih.reshape(-1), b_hh.reshape(-1))


def _plain(found: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    gain = "g" + name[1:]
    return folded(found[name], found[gain]) if gain in found else found[name]
