"""What is known of the units of a site before any is steered: their values, and who reads them."""

# H units, R rows kept

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlstm.errors import InputError
from mlstm.loading import Model
from mlstm.model import encoding, language_model, sites
from mlstm.model.cells import CELLS
from probing.tasks.labelled import LabelledData

BYTES = 1 << 17  # of train documents
ROWS = 8192  # kept of them
WINDOW = 64
FLOOR = 1e-4  # of the median: smaller deviations and weights are nothing


@dataclass(frozen=True, eq=False)
class Units:
    """The units of a site: statistics over train documents, and the size of what reads them."""

    site: str
    mean: np.ndarray  # (H,)
    deviation: np.ndarray  # (H,)
    weight: np.ndarray  # (H,) Euclidean norm of all weights that read the unit
    pool: np.ndarray  # (R, H) states at bytes evenly spread over the documents

    @property
    def varies(self) -> np.ndarray:
        """(H,) bool: a unit that never varies has no doses."""
        usual = np.median(self.deviation)
        return self.deviation > FLOOR * usual if usual > 0 else self.deviation > 0


def units(model: Model, data: LabelledData, site: str) -> Units:
    """Read the starts of train documents. InputError for states that are not finite."""
    texts = [data.documents[i].data for i in data.indices("train")]
    ids = [model.vocabulary.encode(text[: _prefix([len(t) for t in texts])]) for text in texts]
    stride = max(1, sum(map(len, ids)) // ROWS)
    total, squares = np.zeros((2, model.config.hidden))
    n, pool = 0, []
    streams = encoding.choose_streams([len(text) for text in ids], WINDOW)
    for window in encoding.stream_states(
        model.config, model.parameters, ids, (site,), streams=streams, window=WINDOW
    ):
        x = np.asarray(window.states[site], np.float64)[window.text >= 0]
        total, squares = total + x.sum(0), squares + (x * x).sum(0)
        pool.append(x[-n % stride :: stride].astype(np.float32))
        n += len(x)
    mean = total / n
    deviation = np.sqrt(np.maximum(squares / n - mean**2, 0))
    if not np.isfinite(deviation).all():
        raise InputError(f"{model.origin}: the states of {site} are not finite")
    return Units(site, mean, deviation, output_weight(model, site), np.concatenate(pool))


def _prefix(sizes: list[int]) -> int:
    """How much of each document is read, so that all together are about BYTES."""
    low, high = 1, max(sizes)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(size, middle) for size in sizes) <= BYTES:
            low = middle
        else:
            high = middle - 1
    return low


def output_weight(model: Model, site: str) -> np.ndarray:
    """(H,) the Euclidean norm of all weights that read each unit, weight normalisation applied.

    Of h, and of all that acts through the unit's own h (c and the gates): the recurrent weights
    that read h, and the readout's or the next layer's. Of m: the recurrent weights that read m.
    """
    of = sites.parse_site(site)
    folded = language_model.fold(model.config, model.parameters)["layers"]
    multiplicative = "m" in CELLS[model.config.cell].site_names
    read_by = "wh" if of.name == "m" or not multiplicative else "wmh"
    readers = [np.asarray(w) for w in folded[str(of.layer)]["weights"][read_by]]
    if of.name != "m" and of.layer == model.config.layers - 1:
        readers.append(np.asarray(model.parameters["readout"]["w"]))
    elif of.name != "m":
        above = folded[str(of.layer + 1)]["inputs"]
        readers += [np.asarray(w) for name, w in above.items() if name != "b"]
    flat = [w.reshape(len(w), -1).astype(np.float64) for w in readers]
    return np.sqrt(sum((w**2).sum(1) for w in flat))
