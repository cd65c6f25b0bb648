"""Text to ids and back. A vocabulary is saved with every corpus and with every model."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mlstm.errors import InputError


@dataclass(frozen=True)
class Bytes:
    """The 256 byte values are the ids: any file is text, and nothing is ever unknown."""

    kind: ClassVar[str] = "bytes"
    size: ClassVar[int] = 256
    dtype: ClassVar[type] = np.uint8

    def encode(self, data: bytes) -> np.ndarray:
        """The ids of `data`: uint8 (len(data),), read-only, sharing its memory."""
        return np.frombuffer(data, np.uint8)

    def decode(self, ids: Any) -> bytes:
        """The bytes of `ids`, integers in [0, 256) of any integer type. Raises InputError."""
        array = np.asarray(ids)
        if array.size and (array.min() < 0 or array.max() >= self.size):
            raise InputError(
                f"ids between {array.min()} and {array.max()} are not all bytes (0 to 255)"
            )
        return array.astype(np.uint8).tobytes()

    def to_json(self) -> dict[str, str]:
        return {"kind": self.kind}


def from_json(description: Any) -> Bytes:
    """The vocabulary that `to_json` described. Raises InputError for an unknown one."""
    kind = description.get("kind") if isinstance(description, dict) else description
    if kind != Bytes.kind:
        raise InputError(f"vocabulary {kind!r} is unknown; this version reads {Bytes.kind!r}")
    return Bytes()
