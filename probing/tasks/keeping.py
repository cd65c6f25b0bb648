"""Labels kept once they are made, for work that asks for those of the same document often."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from probing.tasks.labelled import LabelledData, Labels

ROOM = 1 << 28  # bytes


def keeping(data: LabelledData, room: int = ROOM) -> LabelledData:
    """The same data, whose documents make their labels once, as long as there is room for them."""
    left = room

    def kept(read: Callable[[], Labels]) -> Callable[[], Labels]:
        found: list[Labels] = []

        def again() -> Labels:
            nonlocal left
            if found:
                return found[0]
            labels = read()
            size = sum(part.nbytes for part in labels)
            if size <= left:
                left -= size
                found.append(labels)
            return labels

        return again

    return dataclasses.replace(
        data, documents=tuple(dataclasses.replace(d, read=kept(d.read)) for d in data.documents)
    )
