"""One recurrent layer of Keras as ours (see keras.py)."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlstm.errors import InputError

CELLS = {4: "lstm", 3: "gru", 1: "rnn"}
CLASSES = {
    "LSTM": 4, "CuDNNLSTM": 4, "GRU": 3, "CuDNNGRU": 3, "SimpleRNN": 1, "RNN": 0,
}  # fmt: skip
EXPECTED = {
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "go_backwards": False,
}


def read(
    name: str, arrays: dict[str, np.ndarray], settings: dict[str, Any], where: str
) -> tuple[str, int, dict[str, np.ndarray]]:
    """(cell, H, arrays as ours). Raises InputError."""
    kernel, recurrent = arrays.get("kernel"), arrays["recurrent_kernel"]
    others = arrays.keys() - {"kernel", "recurrent_kernel", "bias"}
    if kernel is None or kernel.ndim != 2 or recurrent.ndim != 2 or others:
        raise InputError(f"{where}: has {', '.join(sorted(arrays))[:200]}; not a recurrent layer")
    F, H = kernel.shape[0], recurrent.shape[0]
    gates = recurrent.shape[1] // H if H else 0
    if gates not in CELLS or recurrent.shape[1] != gates * H or kernel.shape != (F, gates * H):
        raise InputError(
            f"{where}: a kernel {kernel.shape} and a recurrent_kernel {recurrent.shape} are of no "
            "LSTM, GRU or SimpleRNN"
        )
    _check_settings(settings, gates, where)
    bias = arrays.get("bias")
    if bias is not None and is_cudnn(arrays):
        kernel = np.concatenate([part.reshape(H, F).T for part in _columns(kernel, gates)], axis=1)
        recurrent = np.concatenate([part.T for part in _columns(recurrent, gates)], axis=1)
        bias = bias.reshape(2, gates * H)
        if gates == 4:
            bias = bias.sum(axis=0)
    if bias is None:
        if gates == 3 and "reset_after" not in settings:
            raise InputError(f"{where}: a GRU without a bias; its file does not tell its kind")
        bias = np.zeros((2, 3 * H) if settings.get("reset_after") else gates * H, np.float32)
    if bias.shape != (gates * H,) and not (gates == 3 and bias.shape == (2, 3 * H)):
        raise InputError(f"{where}: a bias {bias.shape} beside {gates} gates of {H} units")
    made = {
        4: lambda: ("lstm", _lstm(kernel, recurrent, bias, H)),
        3: lambda: _gru(kernel, recurrent, bias, H),
        1: lambda: ("rnn", {"wx": kernel, "wh": recurrent, "b": bias}),
    }[gates]
    cell, found = made()
    return cell, H, {key: np.ascontiguousarray(array) for key, array in found.items()}


def is_cudnn(arrays: dict[str, np.ndarray]) -> bool:
    """Whether it is a CuDNNLSTM or a CuDNNGRU, whose gates are always sigmoids."""
    bias, columns = arrays.get("bias"), arrays["recurrent_kernel"].shape[-1]
    return (
        bias is not None
        and bias.shape == (2 * columns,)
        and columns > len(arrays["recurrent_kernel"])
    )


def _lstm(kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray, H: int) -> dict:
    ours = [0, 1, 3, 2]  # i, f, o, u of i, f, c, o
    return {
        "wx": kernel.reshape(-1, 4, H)[:, ours],
        "wh": recurrent.reshape(-1, 4, H)[:, ours],
        "b": bias.reshape(4, H)[ours],
    }


def _gru(
    kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray, H: int
) -> tuple[str, dict[str, np.ndarray]]:
    ours = [1, 0, 2]  # r, z, n of z, r, h
    wx = kernel.reshape(-1, 3, H)[:, ours]
    wh = recurrent.reshape(-1, 3, H)[:, ours]
    if bias.ndim == 1:
        made = {"wx": wx, "wh": wh[:, :2], "whn": wh[:, 2], "b": bias.reshape(3, H)[ours]}
        return "gru_reset_before", made
    b_in, b_hid = bias.reshape(2, 3, H)[:, ours]
    b = np.concatenate([b_in[:2] + b_hid[:2], b_in[2:]])
    return "gru", {"wx": wx, "wh": wh, "b": b, "bn": b_hid[2]}


def _columns(kernel: np.ndarray, gates: int) -> list[np.ndarray]:
    """Each gate's kernel, in one piece."""
    return [np.ascontiguousarray(part) for part in np.split(kernel, gates, axis=1)]


def _check_settings(settings: dict[str, Any], gates: int, where: str) -> None:
    """InputError where the layer computes something else than ours."""
    kind = settings.get("class_name")
    if kind is not None and CLASSES.get(kind, 0) not in (0, gates):
        raise InputError(f"{where}: a {kind[:80]} whose arrays are of {CELLS[gates]}")
    for name, wanted in EXPECTED.items():
        said = settings.get(name, wanted)
        if said != wanted and not (name == "recurrent_activation" and gates == 1):
            raise InputError(
                f"{where}: its {name} is {str(said)[:80]!r}; only {wanted!r} is read, since the "
                "states would be others"
            )
