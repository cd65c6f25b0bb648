"""Prompts: beginnings of test documents, which neither the doses nor the judge have seen."""

# P prompts

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlstm.errors import InputError
from probing.tasks.labelled import LabelledData
from probing.tasks.of_tokens import beginning

SHARE, LONGEST = 4, 256  # a prompt is so manieth of a document of median length, at most so long
CUTS = 8  # prompts of one document, at most


def prompts_of(
    data: LabelledData, wanted: int | Sequence[bytes], size: int | None, seed: int
) -> tuple[list[bytes], np.ndarray, str]:
    """The prompts, (P,) which of them are of one document, and where they came from.

    wanted: how many, or the prompts themselves. size: bytes of each; where documents are fewer than
    prompts, twice as many are another, and so on. InputError where there are none, or an empty one.
    """
    if not isinstance(wanted, int):
        given = list(wanted)
        if not given:
            raise InputError("no prompt to continue; at least one is needed")
        if not all(given):
            raise InputError("a prompt is empty; at least one byte is needed to start from")
        return given, np.arange(len(given)), "given"
    sizes = {i: len(data.documents[i].data) for i in data.indices("test").tolist()}
    if size is None:
        size = int(np.clip(np.median(list(sizes.values())) // SHARE, 1, LONGEST))
    if wanted < 1 or size < 1:
        raise InputError(f"{wanted} prompts of {size} bytes; at least one of one byte is needed")
    found: list[tuple[int, int]] = []
    draw = np.random.default_rng(seed)
    for end in range(size, CUTS * size + 1, size):
        long = [i for i, bytes in sizes.items() if bytes > end]
        found += [(i, end) for i in draw.permutation(long).tolist()]
        if len(found) >= wanted:
            break
    if not found:
        raise InputError(
            f"{data.origin}: no test document is longer than {size} bytes, so that none can be "
            "gone on from; take shorter prompts"
        )
    found = sorted(found[:wanted])
    longest = max(end for _, end in found)
    said = f"{size}" if longest == size else f"{size} to {longest}"
    return (
        [beginning(data, i, end) for i, end in found],
        np.array([i for i, _ in found]),
        f"the first {said} bytes of {len({i for i, _ in found})} test documents",
    )
