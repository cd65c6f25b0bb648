"""What is known of the units of a site before any is edited: their values, and who reads them."""

# H units, P rows kept, N next readers

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlstm.errors import InputError
from mlstm.model import encoding, language_model, sites
from mlstm.model.cells import CELLS
from mlstm.trained import Model
from probing.evidence.effects.marked import excerpt
from probing.states.ids import text_of
from probing.tasks.cleaned import for_model
from probing.tasks.labelled import LabelledData

BYTES = 1 << 18  # of train documents: what is only at their beginnings would shift the values
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
    pool: np.ndarray  # (P, H) states at steps evenly spread over the documents

    @property
    def varies(self) -> np.ndarray:
        """(H,) bool: a unit that never varies is no control, an edit of it being none."""
        usual = np.median(self.deviation)
        return self.deviation > FLOOR * usual if usual > 0 else self.deviation > 0

    @property
    def covariates(self) -> np.ndarray:
        """(H, 2): log variance, log norm of the output weight, both from a floor up."""
        parts = []
        for values in (self.deviation**2, self.weight):
            usual = np.median(values) or 1.0
            parts.append(np.log(np.maximum(values, FLOOR * usual)))
        return np.stack(parts, 1)


def units(
    model: Model, data: LabelledData, site: str, *, bytes: int = BYTES, rows: int = ROWS
) -> Units:
    """Read train documents, about so many bytes in all, as `marked.excerpt` chooses them.

    InputError for a site that the model lacks, or states that are not finite.
    """
    sites.check_site(model.config, site)
    data = for_model(model, data)
    documents, length = excerpt(data, "train", bytes)
    ids = [text_of(model, data, int(i), length).ids for i in documents]
    stride = max(1, sum(map(len, ids)) // rows)
    n, pool = 0, []
    total, squares = np.zeros((2, model.config.hidden))
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


def output_weight(model: Model, site: str) -> np.ndarray:
    """(H,) the Euclidean norm of all weights that read each unit, weight normalisation applied.

    Of h, and of all that acts through the unit's own h (c and the gates): the recurrent weights
    that read h, and the readout's or the next layer's. Of m: the recurrent weights that read m.
    """
    name = sites.parse_site(site)
    readers = recurrent_readers(model, name.layer, "m" if name.name == "m" else "h")
    if name.name != "m":
        readers = [*readers, *upward_readers(model, name.layer)]
    return np.sqrt(sum((w**2).sum(1) for w in readers))


def recurrent_readers(model: Model, layer: int, state: str) -> list[np.ndarray]:
    """The normalised recurrent weights of a layer that read h, or m: each (H, N)."""
    weights, _ = language_model.layer_weights(model.config, model.parameters, layer)
    read_by = [name for name, read in CELLS[model.config.cell].reads.items() if read == state]
    return [_flat(np.asarray(weights[name])) for name in read_by]


def upward_readers(model: Model, layer: int) -> list[np.ndarray]:
    """What reads h above its layer, each (H, N): the next layer's input weights, and behind the
    last layer the readout; of a model with residual sums those of all layers above, and both."""
    config, last = model.config, model.config.layers - 1
    above = range(layer + 1, config.layers if config.residual else min(layer + 2, config.layers))
    read = [language_model.layer_weights(config, model.parameters, n)[1] for n in above]
    inputs = [w for weights in read for name, w in weights.items() if name.startswith("w")]
    if config.readout != "none" and (layer == last or config.residual):
        inputs.append(language_model.readout_weight(model.parameters))
    return [_flat(np.asarray(w)) for w in inputs]


def _flat(w: np.ndarray) -> np.ndarray:
    return w.reshape(len(w), -1).astype(np.float64)
