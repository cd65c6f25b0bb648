"""How often labels that say nothing are found significant: no more often than alpha.

For each kind of null data the unit is chosen on train documents and p is taken on test documents
from the parts that `verify` is made of; that the two give the same p is a test too. A trial costs
no pass over the text, since its states are the same for all labels.
"""

import dataclasses
import re
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom

import probing
from mlstm.trained import Model
from probing.evidence import ranking
from probing.evidence.claims import ALPHA, Interval, decide
from probing.evidence.null import null_labels
from probing.evidence.significance import NullSums, max_statistic_p
from probing.evidence.subjects import Direction
from probing.states.arrays import arrays
from probing.tasks import LabelledData, LabelledDocument, Labels, every_byte, stored

DRAWS = 199
AHEAD = Interval(1.0, 1.0, 1.0)  # of every baseline: p alone decides
Draw = np.random.Generator
Null = tuple[LabelledData, Callable[[LabelledDocument, Draw], Labels]]


def documents(count: int, words: int) -> list[bytes]:
    """Words of a Zipf law over 300 types of letters and digits."""
    draw = np.random.default_rng(0)
    types = [bytes(draw.choice(list(b"abcdefgh0123"), 1 + k % 6).tolist()) for k in range(300)]
    return [
        b" ".join(types[k % 300] for k in draw.zipf(1.3, draw.integers(words, 2 * words)))
        for _ in range(count)
    ]


def data_of(unit: str, texts: list[bytes], places: Callable[[bytes], Labels]) -> LabelledData:
    made = [LabelledDocument(str(k), text, stored(places(text))) for k, text in enumerate(texts)]
    return LabelledData("null", "drawn text", unit, ("on",), (), tuple(made))


def blank(positions, starts, ends) -> Labels:
    n = len(positions)
    spans = (np.asarray(part, np.int32) for part in (positions, starts, ends))
    return Labels(*spans, np.zeros((n, 1), bool), np.zeros((n, 0), np.float32))


def whole(text: bytes) -> Labels:
    return blank([len(text) - 1], [0], [len(text)])


def words(text: bytes) -> Labels:
    starts, ends = np.array([match.span() for match in re.finditer(rb"\S+", text)]).T
    return blank(ends - 1, starts, ends)


def every(text: bytes) -> Labels:
    return every_byte(np.zeros((len(text), 1)), np.zeros((len(text), 0)))


def with_classes(data: LabelledData, classes: Callable[[LabelledDocument], np.ndarray]):
    """The same data with other labels: classes(document) -> (n,) bool."""
    return dataclasses.replace(
        data,
        documents=tuple(
            dataclasses.replace(d, read=stored(d.read()._replace(classes=classes(d)[:, None])))
            for d in data.documents
        ),
    )


def by_document(data: LabelledData, seed: int) -> LabelledData:
    """Whether a document is of the class is a coin."""
    draw = np.random.default_rng(seed)
    return with_classes(data, lambda d: draw.random(1) < 0.5)


def by_span(data: LabelledData, seed: int) -> LabelledData:
    """Spans as long and as far apart as strings in code are, whatever the text is."""
    draw = np.random.default_rng(seed)

    def spans(document: LabelledDocument) -> np.ndarray:
        on = np.zeros(len(document.data), bool)
        place = int(draw.integers(0, 40))
        while place < len(on):
            length = int(draw.geometric(0.08))
            on[place : place + length] = True
            place += length + int(draw.geometric(0.04))
        return on

    return with_classes(data, spans)


def by_word_type(data: LabelledData, seed: int) -> LabelledData:
    """Whether a word type is of the class is a coin, the same for all its occurrences."""
    draw = np.random.default_rng(seed)
    coins: dict[bytes, bool] = {}

    def coin(word: bytes) -> bool:
        return coins.setdefault(word, bool(draw.random() < 0.4))

    return with_classes(data, lambda d: np.array([coin(word) for word in d.data.split()]))


KINDS = {
    "documents": (by_document, lambda: data_of("document", documents(200, 5), whole)),
    "spans": (by_span, lambda: data_of("byte", documents(40, 30), every)),
    "word types": (by_word_type, lambda: data_of("token", documents(60, 40), words)),
}


class Trials:
    """The states of one data set, and verdicts on any labels of it."""

    def __init__(self, model: Model, data: LabelledData):
        self.train, self.test = (
            arrays(model, data, "0.c", split, "on").x for split in ("train", "test")
        )

    def p(self, data: LabelledData, seed: int) -> tuple[float, float]:
        """Of the unit that is the best on train, as `verify` has it, and of the best on test."""
        on = np.concatenate([data.labels(i).classes[:, 0] for i in data.indices("train")])
        unit = ranking.auc(self.train, on).order[0]
        statistics = self.statistics(self.test, data, seed)
        largest = statistics[1:].max(1)
        chosen, best = statistics[0, unit], statistics[0].max()
        return float(max_statistic_p(chosen, largest)), float(max_statistic_p(best, largest))

    def p_of_direction(self, vector: np.ndarray, data: LabelledData, seed: int) -> float:
        score = Direction("0.c", vector).of(self.test)[:, None]
        statistics = self.statistics(score, data, seed)[:, 0]
        return float(max_statistic_p(statistics[0], statistics[1:]))

    def statistics(self, x: np.ndarray, data: LabelledData, seed: int) -> np.ndarray:
        """(1 + DRAWS, H)"""
        tests = data.indices("test")
        permuted = null_labels(data, tests, DRAWS, seed)
        y = np.concatenate(
            [
                np.concatenate([data.labels(i).classes.T, permuted.of(int(i))[:, :, 0]]).T
                for i in tests
            ]
        ).astype(np.float32)
        sums = NullSums.init(DRAWS, x.shape[1]).update(x, y, np.ones(len(y), bool))
        return sums.statistics(True)


def false_claims(model: Model, kind: str, seeds: int) -> np.ndarray:
    """(2,): how many seeds are not "not significant", of the chosen unit and of the best."""
    labelled, make = KINDS[kind]
    data = make()
    trials = Trials(model, data)
    found = np.zeros(2, int)
    for seed in range(seeds):
        both = trials.p(labelled(data, seed + 1), seed)
        found += [decide(p, AHEAD) != "not significant" for p in both]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_null_data_are_seldom_significant(planted, kind):
    most = binom.isf(1e-3, 30, ALPHA)
    assert (false_claims(planted, kind, 30) <= most).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_of_200_null_data_sets_at_most_19_are_significant(planted, kind):
    found = false_claims(planted, kind, 200)
    print(f"{kind}: {found[0]} of 200 by the unit chosen on train, {found[1]} by the best on test")
    assert (found <= 19).all()


RANDOM = np.random.default_rng(5).normal(size=16).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_a_direction_named_beforehand_is_as_often_significant_as_alpha_says(planted, kind):
    labelled, make = KINDS[kind]
    data = make()
    trials = Trials(planted, data)
    p = np.array(
        [trials.p_of_direction(RANDOM, labelled(data, seed + 1), seed) for seed in range(100)]
    )
    print(f"{kind}: {(p < ALPHA).sum()} of 100, mean p {p.mean():.3f}")
    assert (p < ALPHA).sum() <= binom.isf(1e-3, 100, ALPHA)
    assert abs(p.mean() - 0.5) < 4 / np.sqrt(12 * 100)  # of even p the deviation is 1 / sqrt(12)


@pytest.mark.parametrize("kind", KINDS)
def test_p_of_a_direction_in_a_trial_is_that_of_verify(planted, kind):
    labelled, make = KINDS[kind]
    data = labelled(make(), 1)
    found = probing.verify(planted, "0.c", data, direction=RANDOM, draws=DRAWS, seed=0).p
    assert Trials(planted, data).p_of_direction(RANDOM, data, 0) == pytest.approx(found)


@pytest.mark.parametrize("kind", KINDS)
def test_p_of_a_trial_is_that_of_verify(planted, kind):
    labelled, make = KINDS[kind]
    data = labelled(make(), 1)
    p, _ = Trials(planted, data).p(data, 0)
    assert probing.verify(planted, "0.c", data, draws=DRAWS, seed=0).p == pytest.approx(p)


def test_a_label_that_states_know_is_significant_in_every_trial(planted):
    """The trials can find something: their p is not large by mistake."""
    data = KINDS["word types"][1]()
    known = with_classes(data, lambda d: np.array([w[-1:].isdigit() for w in d.data.split()]))
    assert Trials(planted, known).p(known, 0) == (1 / 200, 1 / 200)
