"""One pass over labelled documents that feeds any accumulators, and what they are started with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, Self

import numpy as np
from jax.sharding import Mesh

from mlstm.trained import Model
from probing.states import activations
from probing.states.activations import LabelledWindow
from probing.tasks.labelled import LabelledData


class Accumulator(Protocol):
    """What a pass feeds: Statistics, Gram, TopContexts, RunLengths, Spectrum.

    Each has besides `nbytes` and `init`, what it takes on the device and how it begins, `update`
    from arrays and `merge` with what another chunk or host has accumulated.
    """

    def take(self, window: LabelledWindow, site: str) -> Self:
        """What it is after this window; what it was must not be used again."""
        ...

    def finalize(self) -> Any:
        """The result in host memory."""
        ...


def collect(
    model: Model,
    data: LabelledData,
    parts: Mapping[str, Sequence[Accumulator]],
    *,
    mesh: Mesh | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, list[Any]]:
    """Feeds the accumulators of each site with all windows; the finished results in their order.

    mesh: as of `activations.stream`; accumulators stay on one device, and are the same in all
    processes. progress: called with bytes done. States are not stored.
    """
    running = {site: list(accumulators) for site, accumulators in parts.items()}
    done = 0

    def take(window: LabelledWindow, site: str) -> list[Accumulator]:
        return [part.take(window, site) for part in running[site]]

    # A thread for each site: an accumulator keeps one core of a CPU busy, not all. On a mesh one
    # thread, for what is brought together has to be so in the same order in all processes.
    with ThreadPoolExecutor(1 if mesh else len(running)) as threads:
        for window in activations.stream(model, data, tuple(running), mesh=mesh):
            taken = {site: threads.submit(take, window, site) for site in running}
            running |= {site: future.result() for site, future in taken.items()}
            done += window.bytes
            if progress:
                progress(done)
    return {site: [part.finalize() for part in ready] for site, ready in running.items()}


def pilot_numbers(data: LabelledData, rows: int = 1000) -> np.ndarray:
    """(rows or a few more or fewer, M): values that say where the numeric concepts lie."""
    found = [np.zeros((0, len(data.numbers)), np.float32)]
    for i in np.argsort(data.hashes, kind="stable").tolist() if data.numbers else []:
        found.append(data.labels(i).numbers)
        if sum(map(len, found)) >= rows:
            break
    return np.concatenate(found)
