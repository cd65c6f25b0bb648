"""Tensors and storages of torch's files, as views of what is in the file.

A tensor is a storage, where it begins in it, a shape and strides, in numbers. Any of these may be a
lie: what a tensor reaches is compared with what is there before anything is read, and all that is
read of a file counts.
"""

import dataclasses
import math
from typing import Any

import ml_dtypes
import numpy as np

from mlstm.errors import InputError
from mlstm.formats import pickles
from mlstm.formats.arrays import is_possible

READ = 4
"""Bytes that may be read of a file, as float32, for each byte it has: twice for half precision,
once more for a tied matrix."""
SPARE = 1 << 20

_TYPES = {
    "Float": np.dtype("f4"),
    "Double": np.dtype("f8"),
    "Half": np.dtype("f2"),
    "BFloat16": np.dtype(ml_dtypes.bfloat16),
    "Long": np.dtype("i8"),
    "Int": np.dtype("i4"),
    "Short": np.dtype("i2"),
    "Char": np.dtype("i1"),
    "Byte": np.dtype("u1"),
    "Bool": np.dtype("?"),
}
_FLOATING = ("Float", "Double", "Half", "BFloat16")


@dataclasses.dataclass(frozen=True)
class StorageType:
    """torch.FloatStorage and its like, those of CUDA among them."""

    name: str

    @property
    def size(self) -> int:
        """Bytes of a number."""
        return _TYPES[self.name].itemsize


class Budget:
    """What may still be read of a file."""

    def __init__(self, size: int, where: str):
        self.left, self.where = READ * size + SPARE, where

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise InputError(f"{self.where}: its tensors hold more than the file could")


@dataclasses.dataclass(eq=False)
class Storage:
    """Numbers in a row, in the file; `raw` may be known later than the storage."""

    kind: StorageType
    count: int
    budget: Budget
    raw: memoryview | None = None
    swapped: bool = False
    root: "tuple[Storage, int] | None" = None
    """Of a view: the storage that it is a piece of, and where it begins."""

    def numbers(self) -> np.ndarray:
        """All of it (count,), in its own type, not copied."""
        where = self.budget.where
        if self.root:
            whole, start = self.root
            if start + self.count > whole.count:
                raise InputError(f"{where}: a view reaches beyond its storage")
            return whole.numbers()[start : start + self.count]
        if self.raw is None:
            raise InputError(f"{where}: a storage that tensors need is not in the file")
        numbers = np.frombuffer(self.raw, f"u{self.kind.size}")
        return (numbers.byteswap() if self.swapped else numbers).view(_TYPES[self.kind.name])


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor that is not yet read."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        """Its numbers: float32, contiguous, copied. Raises InputError."""
        storage, count = self.storage, math.prod(self.shape)
        where, kind = storage.budget.where, storage.kind.name
        if kind not in _FLOATING:
            raise InputError(f"{where}: a weight of torch's type {kind}, not of real numbers")
        last = self.offset + sum(
            (length - 1) * stride for length, stride in zip(self.shape, self.strides, strict=True)
        )
        if not is_possible(self.shape) or (count and max(last + 1, count) > storage.count):
            raise InputError(
                f"{where}: a tensor of the shape {self.shape} reaches beyond its storage of "
                f"{storage.count} numbers"
            )
        storage.budget.spend(4 * count)
        if not count:
            return np.zeros(self.shape, np.float32)
        numbers = storage.numbers()[self.offset :]
        strides = [stride * numbers.itemsize for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(numbers, self.shape, strides, writeable=False)
        with np.errstate(all="ignore"):  # what is not finite in float32 is said so later
            return view.astype(np.float32, order="C", copy=True)


def tensor_globals() -> dict[tuple[str, str], Any]:
    """What the pickles of torch name, modules apart."""
    found: dict[tuple[str, str], Any] = {
        ("torch._utils", "_rebuild_tensor"): _rebuilt,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuilt,
        ("torch._utils", "_rebuild_parameter"): _parameter,
        ("torch", "Size"): lambda shape=(): _lengths(shape),
        ("torch", "device"): pickles.stand_in("torch.device"),
    }
    for name in _TYPES:
        for module in ("torch", "torch.cuda"):
            found[module, f"{name}Storage"] = StorageType(name)
    for name in ("float32", "float64", "float16", "bfloat16", "int64", "int32", "uint8", "bool"):
        found["torch", name] = f"torch.{name}"
    return found


def _rebuilt(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    (start,), shape, strides = _lengths([offset]), _lengths(shape), _lengths(strides)
    if not isinstance(storage, Storage) or len(shape) != len(strides):
        raise ValueError("a tensor without a storage or a shape")
    return Tensor(storage, start, shape, strides)


def _lengths(numbers: Any) -> tuple[int, ...]:
    if not isinstance(numbers, list | tuple) or len(numbers) > 8:
        raise ValueError("a tensor of no shape")
    if not all(type(number) is int and 0 <= number < 1 << 50 for number in numbers):
        raise ValueError("a tensor of no shape")
    return tuple(numbers)


def _parameter(tensor: Any, *_: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise ValueError("a parameter that is no tensor")
    return tensor
