"""A fine-tuned classifier: a language model, a head on its pooled states, and how it decides.

classifier = mlstm.load_classifier("classifiers/reviews")
classifier.predict_proba(["It was great.", "It was not."])   # (texts, classes)
"""

# N texts, K classes, F features

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from mlstm import features
from mlstm.corpus.cleaning import clean
from mlstm.errors import InputError
from mlstm.model import encoding, head, whole_texts
from mlstm.model.head import HeadConfig
from mlstm.model.whole_texts import What
from mlstm.trained import Model

BINARY, EXCLUSIVE, SEVERAL = "binary", "exclusive", "several"
LABELLINGS = (BINARY, EXCLUSIVE, SEVERAL)
"""A yes or no, of which "no" has a name too; one of many; several labels, each a yes or no."""


@dataclasses.dataclass(frozen=True)
class Labelling:
    """What a classifier tells."""

    kind: str
    classes: tuple[str, ...]
    """In the order of the probabilities. Of a binary one the last is the positive class."""

    def check(self) -> Labelling:
        """Return self, or raise InputError."""
        if self.kind not in LABELLINGS:
            raise InputError(f'labelling "{self.kind}"; it may be {", ".join(LABELLINGS)}')
        least = {BINARY: 2, EXCLUSIVE: 3, SEVERAL: 1}[self.kind]
        count = len(self.classes)
        if count < least or (self.kind == BINARY and count > 2):
            raise InputError(f"{count} classes for a labelling that is {self.kind}")
        if len(set(self.classes)) < count or not all(self.classes):
            raise InputError(f"classes {', '.join(map(repr, self.classes))}: each needs its name")
        return self

    @property
    def outputs(self) -> int:
        """Scores that a head gives."""
        return 1 if self.kind == BINARY else len(self.classes)

    @property
    def labels(self) -> tuple[str, ...]:
        """What has a threshold: the positive class, or each of several; of exclusive ones none."""
        return {BINARY: self.classes[1:], EXCLUSIVE: (), SEVERAL: self.classes}[self.kind]

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """(N, outputs) scores to (N, K), float64. Those of several labels do not sum to 1."""
        scores = np.asarray(scores, np.float64)
        if self.kind == EXCLUSIVE:
            odds = np.exp(scores - scores.max(-1, keepdims=True))
            return odds / odds.sum(-1, keepdims=True)
        yes = np.exp(-np.logaddexp(0, -scores))
        return np.concatenate([1 - yes, yes], -1) if self.kind == BINARY else yes

    def decide(self, probabilities: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
        """(N, K) bool: which classes each text is told to have."""
        if self.kind == EXCLUSIVE:
            best = probabilities.argmax(-1)
            return best[:, None] == np.arange(len(self.classes))
        yes = probabilities[:, -len(self.labels) :] >= np.asarray(thresholds)
        return np.concatenate([~yes, yes], -1) if self.kind == BINARY else yes


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
    """Everything that is needed to classify text."""

    model: Model
    """The language model, fine-tuned."""
    labelling: Labelling
    thresholds: tuple[float, ...]
    """A label is told from this probability on; one for each of `labelling.labels`."""
    what: What
    """Which states are read, and how they are pooled."""
    head: HeadConfig
    parameters: dict[str, Any]
    """Of the head."""
    given: dict[str, Any]
    """The mean and scale of the features on the train texts."""
    limit: int = 0
    """The last ids of a text that are read; 0 is all."""
    about: dict[str, Any] = dataclasses.field(default_factory=dict)
    """How it was made, for people: plain values for JSON."""
    origin: str = "memory"

    @property
    def classes(self) -> list[str]:
        """In the order of the probabilities."""
        return list(self.labelling.classes)

    def predict_proba(
        self,
        texts: Sequence[str | bytes],
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """(N, K) float64, in the order of `classes`; of several labels each has its own odds.

        progress: called with the bytes read and all bytes. InputError for what is no list of texts.
        """
        ids = limited(features.read(self.model, texts, self.model.cleaning), self.limit)
        pooled = whole_texts.pooled(
            self.model.config, self.model.parameters, ids, self.what, progress
        )
        return self.labelling.probabilities(self.scores(pooled))

    def told(self, probabilities: np.ndarray) -> list[str]:
        """What is told of each text: its class, or of several labels those it has, with commas
        between."""
        decided = self.labelling.decide(probabilities, self.thresholds)
        names = np.array(self.labelling.classes)
        return [",".join(names[row]) for row in decided]

    def predict(self, texts: Sequence[str | bytes]) -> list[str]:
        """`told` of the probabilities of each text."""
        return self.told(self.predict_proba(texts))

    def along(self, texts: Sequence[str | bytes]) -> list[np.ndarray]:
        """(bytes, K) for each text: the probabilities after each byte of it as it is given (a str
        as UTF-8), the states up to there being pooled; where cleaning removes a byte, those after
        the last one that it keeps, and of a byte inside a token those after the token. However
        long the text, it is read from its beginning."""
        cleaned = [clean(text, self.model.cleaning) for text in texts]
        tokens = [self.model.vocabulary.tokens(each.data) for each in cleaned]
        ids = [each.ids for each in tokens]
        # Place 0 is the zero state, before any byte.
        scores = [np.zeros((len(each) + 1, self.labelling.outputs)) for each in ids]
        nothing = self.scores(np.zeros((1, self.head.features), np.float32))
        before: dict[int, _Pooled] = {}
        for window in encoding.stream_states(
            self.model.config,
            self.model.parameters,
            ids,
            self.what.sites,
            streams=encoding.choose_streams([len(each) for each in ids], features.WINDOW),
            window=features.WINDOW,
        ):
            states = np.stack([np.asarray(window.states[site]) for site in self.what.sites], -2)
            for text in np.unique(window.text[window.text >= 0]).tolist():
                here = window.text == text
                pooled = before.pop(text, _Pooled()).then(states[here])
                places = window.position[here] + 1
                scores[text][places] = self.scores(pooled.features(self.what.poolings))
                if places[-1] < len(ids[text]):
                    before[text] = pooled.last()
        for each in scores:
            each[0] = nothing
        return [
            self.labelling.probabilities(score[read.read_with(each.offsets[1:])])
            for each, read, score in zip(cleaned, tokens, scores, strict=True)
        ]

    def scores(self, pooled: np.ndarray) -> np.ndarray:
        """(N, F) features to (N, outputs) scores of the head."""
        return np.asarray(_scores(self.head, self.parameters, self.given, pooled))

    def save(self, folder: str | os.PathLike) -> None:
        """Write it to a folder; `load_classifier` reads it. InputError where that cannot be."""
        from mlstm.classifier_files import save

        save(self, folder)


def limited(ids: list[np.ndarray], limit: int) -> list[np.ndarray]:
    """The last ids of each text."""
    return [each[-limit:] for each in ids] if limit else ids


_scores = jax.jit(head.scores, static_argnums=0)


class _Pooled:
    """The states of a text pooled up to each of its positions, window by window."""

    def __init__(self, count: int = 0, states: tuple[np.ndarray, ...] = ()):
        self.count, self.states = count, states  # of the last position: last, sum, max, min

    def then(self, x: np.ndarray) -> _Pooled:
        """After n more positions; x: (n, sites, H)."""
        total, high, low = (
            f.accumulate(x.astype(np.float64) if f is np.add else x)
            for f in (np.add, np.maximum, np.minimum)
        )
        if self.count:
            _, total_before, high_before, low_before = (state[-1] for state in self.states)
            total = total + total_before
            high, low = np.maximum(high, high_before), np.minimum(low, low_before)
        return _Pooled(self.count + len(x), (x, total, high, low))

    def last(self) -> _Pooled:
        return _Pooled(self.count, tuple(state[-1:] for state in self.states))

    def features(self, poolings: tuple[str, ...]) -> np.ndarray:
        """(n, F) of the positions of the last call of `then`."""
        x, total, high, low = self.states
        counts = np.arange(self.count - len(x) + 1, self.count + 1)[:, None, None]
        of = {"last": x, "mean": total / counts, "max": high, "min": low}
        return np.stack([of[name] for name in poolings], 1).reshape(len(x), -1).astype(np.float32)
