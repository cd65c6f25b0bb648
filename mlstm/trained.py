"""A model that was trained, here or elsewhere: config, parameters, vocabulary and cleaning."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.sharding import Mesh

from mlstm.corpus.vocabulary import Vocabulary
from mlstm.model import language_model
from mlstm.model.config import ModelConfig

if TYPE_CHECKING:
    from mlstm.model.edits import Edit
    from mlstm.text_scores import TextScores


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

    def score(
        self,
        texts: Iterable[str | bytes],
        *,
        context: str | bytes = b"",
        cleaning: str | None = None,
        first: str = "charged",
        tokens: bool = False,
        edits: str | Edit | Iterable[Edit | str] = (),
        streams: int | None = None,
        mesh: Mesh | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> TextScores:
        """Bits of each text, in the order of the texts: of all its bytes, and per byte.

        Args:
          texts: each of any length. One without a byte, after cleaning, costs nothing.
          context: read from the zero state before each text, as it is, and not charged; where the
            vocabulary's tokens are longer than a byte, none of them spans its end. Without one the
            vocabulary's `beginning` is read, a line end, so that the first byte has a cost too.
          cleaning: a recipe of `corpus.cleaning`; None is the model's own.
          first: "charged", or "free": the first token of each text is not charged, and without a
            context nothing is read before it, as `evaluate` scores a text.
          tokens: whether the bits of each token are wanted too.
          edits: what `mlstm.model.edits` describes; positions are those of the text.
          streams, mesh, progress: as of `encode`.

        Each text starts from the zero state, and its bits do not depend on the others, but for
        rounding. The tokens of a SentencePiece model may spell another text: its bytes are those
        that are charged, and how many are not as they were is counted. Raises InputError for what
        is no list of texts, no text of the vocabulary, or an edit, a cleaning or a first that there
        is not.
        """
        from mlstm import text_scores

        return text_scores.score(
            self,
            texts,
            context=context,
            cleaning=cleaning,
            first=first,
            tokens=tokens,
            edits=edits,
            streams=streams,
            mesh=mesh,
            progress=progress,
        )
