"""A model that was trained, here or elsewhere: config, parameters, vocabulary and cleaning."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh

from mlstm.corpus.vocabulary import Vocabulary
from mlstm.model import language_model
from mlstm.model.config import ModelConfig


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """What joins text and ids: everything that is needed to run a model on text."""

    config: ModelConfig
    parameters: dict[str, Any]
    vocabulary: Vocabulary
    cleaning: str = "none"
    origin: str = "memory"
    """Where it was read from: a run's path and step, and of a population the seed."""
    step: int | None = None
    seed: int | None = None
    """That it was trained with."""
    imported: bool = False
    """Whether others have trained it, or what it began with: how its parameters began is then not
    known."""

    def __repr__(self) -> str:
        count = language_model.parameter_count(self.config)
        return (
            f"Model({self.config.cell}, {self.config.layers} x {self.config.hidden} units, "
            f"{count:,} parameters, {self.vocabulary.kind}, from {self.origin})"
        )

    def encode(
        self,
        texts: Iterable[str | bytes],
        site: str | Sequence[str] | None = None,
        pooling: str = "last",
        cleaning: str | None = None,
        *,
        streams: int | None = None,
        mesh: Mesh | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """Features of texts, (texts, units) float32, in the order of the texts.

        Args:
          texts: each of any length. One without a byte, after cleaning, has the zero state: a row
            of zeros.
          site: states to read, as "0.c", "0.c,0.h" or a sequence of names, whose units come one
            after another; None is the primary one, `sites.primary`.
          pooling: over the positions of a text: "last" is the state after its last byte, else
            the "mean", "max" or "min" of each unit.
          cleaning: a recipe of `corpus.cleaning`: "none", "openai", "unirep". None is the model's
            own.
          streams: how many texts are read side by side; None chooses by their lengths.
          mesh: of `devices.mesh`, for several devices. Processes of one job give the same texts,
            and each gets all rows.
          progress: called with the bytes read and all bytes.

        Each text starts from the zero state, and its row does not depend on the others, but for
        rounding. Raises InputError for a site, a pooling or a cleaning that there is not, and for
        what is no list of texts.
        """
        from mlstm import features

        return features.encode(
            self, texts, site, pooling, cleaning, streams=streams, mesh=mesh, progress=progress
        )
