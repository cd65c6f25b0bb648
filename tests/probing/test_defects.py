"""Defects of earlier probing programs, each by a test that a program with the defect fails.

Others of the kind are tested where the part is: arrays that are given stay as they are, neurons
that are low in a class rank as high ones do, and greedy selection is scored on held-out rows
(evidence/test_ranking.py); control labels come from the seed alone (evidence/test_controls.py); L1
gives exact zeros (evidence/probes/test_logistic.py).
"""

import dataclasses
import html
import importlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from mlstm.trained import Model
from probing.evidence import ranking
from probing.evidence.controls import control_labels
from probing.evidence.probes import LogisticProbe
from probing.protocols.concept_neurons import concept_neurons
from probing.protocols.diagnostic import diagnostic
from probing.protocols.radford import radford
from probing.states.arrays import arrays
from probing.tasks import LabelledData, LabelledDocument, Labels, every_byte, stored

# The package gives the function the name of its file.
diagnostic_module = importlib.import_module("probing.protocols.diagnostic")
LETTERS = list(b"abcdefgh 0123")


def labelled(
    texts: list[bytes], classes: Callable[[int, bytes], np.ndarray], names: tuple[str, ...], **given
) -> LabelledData:
    """Every byte has the classes (bytes, K) of its document."""
    made = []
    for k, text in enumerate(texts):
        labels = every_byte(classes(k, text), np.zeros((len(text), 0)))
        made.append(LabelledDocument(f"document {k}", text, stored(labels)))
    return LabelledData("task", "drawn", "byte", names, (), tuple(made), **given)


def texts_of(count: int, size: int) -> list[bytes]:
    draw = np.random.default_rng(0)
    return [bytes(draw.choice(LETTERS, size).tolist()) for _ in range(count)]


def turned(data: LabelledData, split: str) -> LabelledData:
    """The same with other labels in one split: the classes in reverse order."""
    here = set(data.indices(split).tolist())

    def other(document: LabelledDocument) -> LabelledDocument:
        labels = document.read()
        classes = labels.classes[:, ::-1] if labels.classes.shape[1] > 1 else ~labels.classes
        return dataclasses.replace(document, read=stored(labels._replace(classes=classes)))

    documents = tuple(other(d) if i in here else d for i, d in enumerate(data.documents))
    return dataclasses.replace(data, documents=documents)


@pytest.fixture(scope="module")
def coins() -> LabelledData:
    draw = np.random.default_rng(1)
    texts = [draw.bytes(60) for _ in range(20)]
    return labelled(texts, lambda _, text: draw.random((len(text), 1)) < 0.4, ("on",))


@pytest.fixture(scope="module")
def wide(build) -> Model:
    """Random, of 256 units whose states are not small."""
    model = build(256, [], {})
    large = model.parameters | {"embedding": 10 * model.parameters["embedding"]}
    return dataclasses.replace(model, parameters=large)


def test_a_probe_is_not_fitted_on_the_documents_that_it_is_scored_on(wide, coins):
    """diagNNose fits on test rows and scores on them: of random labels it knows much."""
    found = diagnostic(wide, coins).hypotheses[0]
    assert abs(found.correlation) < 0.2
    for split in ("train", "test"):
        part = arrays(wide, coins, "0.c", split, "on")
        x = StandardScaler().fit_transform(part.x)
        fitted = LogisticRegression(C=max(diagnostic_module.CS), max_iter=1000).fit(x, part.y)
        assert np.corrcoef(fitted.decision_function(x), part.y)[0, 1] > 0.4


def test_a_probe_and_its_control_are_fitted_on_the_same_rows(wide, coins, monkeypatch):
    """In diagNNose the probe is fitted on test and its control on train."""
    seen: list[np.ndarray] = []

    class Recorded(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            seen.append(X)
            return super().fit(X, y, sample_weight)

    monkeypatch.setattr(diagnostic_module, "LogisticRegression", Recorded)
    control = control_labels(coins)
    assert control is not None
    diagnostic(wide, coins)
    real = len(seen)
    diagnostic(wide, control)
    train = arrays(wide, coins, "0.c", "train", "on").x
    expected = StandardScaler().fit_transform(train)
    assert len(seen) == 2 * real > 0
    for x in seen:
        np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("l1_ratio", [0.0, 1.0])
def test_weights_rank_neurons_the_same_in_any_units(l1_ratio):
    """NeuroX ranks by the weights of inputs as they are: a neuron of small range leads."""
    draw = np.random.default_rng(0)
    on = draw.random(600) < 0.4
    x = draw.normal(size=(600, 8))
    x[:, 3] += 2 * on
    x[:, 5] -= on
    units = 10.0 ** np.array([0, -3, 2, 3, -4, 1, 0, -2])
    one, other = (
        ranking.probe_weights(
            LogisticProbe(C=0.1, l1_ratio=l1_ratio).fit(values, on).coef_, values.std(0)
        )
        for values in (x, x * units)
    )
    assert one.order[:2].tolist() == [3, 5]
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)


def test_a_perfectly_negative_neuron_is_the_first():
    """NeuroX's IoU takes the highest values alone: such a neuron is the last."""
    draw = np.random.default_rng(0)
    on = draw.random(300) < 0.3
    values = draw.normal(size=(300, 5))
    values[:, 2] = -on.astype(float)
    means = np.stack([values[on].mean(0), values[~on].mean(0)])
    for found in (ranking.iou(values, on), ranking.probeless(means, values.std(0))):
        assert found.order[0] == 2, found.name
    assert ranking.iou(values, on).scores[2] == 1


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(1, 200)), min_size=3, max_size=40).filter(
        lambda made: len({group for group, _ in made}) >= 3
    )
)
def test_no_document_and_no_group_is_on_two_sides_of_the_default_split(made):
    """concept_neurons draws bytes: those of one word are in train and in test."""
    documents = tuple(
        LabelledDocument(
            f"{k}",
            b"x" * size,
            stored(every_byte(np.zeros((size, 1)), np.zeros((size, 0)))),
            group=f"group {group}",
        )
        for k, (group, size) in enumerate(made)
    )
    data = LabelledData("task", "drawn", "byte", ("on",), (), documents)
    sides = [{documents[i].of_group for i in data.indices(s)} for s in ("train", "dev", "test")]
    assert all(sides)
    assert sum(map(len, sides)) == len({group for group, _ in made})


def tagged(texts: list[bytes], tag_of: Callable[[int, bytes], np.ndarray]) -> LabelledData:
    """Every byte a word with tag A or B."""

    def classes(k: int, text: bytes) -> np.ndarray:
        a = tag_of(k, text)
        return np.stack([a, ~a], 1)

    return dataclasses.replace(labelled(texts, classes, ("A", "B"), exclusive=True), unit="token")


def test_what_is_remembered_of_a_document_is_no_score_of_the_split_by_document(wide):
    """A document has bytes of its own and a tag by lot: concept_neurons' own split rewards that
    a probe knows the document, ours does not."""
    draw = np.random.default_rng(2)
    texts = [bytes([100 + k]) * 30 for k in range(60)]
    tags = draw.random(60) < 0.5
    report = concept_neurons(wide, tagged(texts, lambda k, text: np.full(len(text), tags[k])))
    assert report.published.multiclass["all"].accuracy > 0.85
    assert report.by_document.multiclass["all"].accuracy < 0.7


def test_the_first_neurons_are_not_chosen_on_test(planted):
    """Of bytes that a tag is told of, other labels in test change every score and no choice."""
    data = tagged(
        texts_of(20, 60), lambda _, text: np.isin(np.frombuffer(text, np.uint8), list(b"0123"))
    )
    other = turned(data, "test")
    one, two = (concept_neurons(planted, d).by_document.tags for d in (data, other))
    for a, b in zip(one, two, strict=True):
        assert (a.neurons, a.C, a.nonzero) == (b.neurons, b.C, b.nonzero)
        assert a.neurons[0] == "0.c[5]"
        assert a.accuracy["top 1"] > 0.9 > 0.1 > b.accuracy["top 1"]


@pytest.fixture(scope="module")
def digit_or_not() -> LabelledData:
    draw = np.random.default_rng(3)

    def noisy(_, text: bytes) -> np.ndarray:
        digit = np.isin(np.frombuffer(text, np.uint8), list(b"0123"))
        return (digit ^ (draw.random(len(text)) < 0.1))[:, None]

    return labelled(texts_of(20, 60), noisy, ("on",))


def test_the_most_responsible_neuron_is_the_same_in_any_units(planted, digit_or_not, monkeypatch):
    """Char-RNN-Understanding takes the largest weight of a fit on states as they are."""
    before = diagnostic(planted, digit_or_not).hypotheses[0]
    units = 10.0 ** np.random.default_rng(0).integers(-3, 4, 16)
    units[5] = 1e4  # the planted neuron needs the smallest weight

    def rescaled(*args, **given):
        found = arrays(*args, **given)
        return found._replace(x=(found.x.astype(np.float64) * units))

    monkeypatch.setattr(diagnostic_module, "arrays", rescaled)
    after = diagnostic(planted, digit_or_not).hypotheses[0]
    assert before.neuron == after.neuron == "0.c[5]"
    assert after.neuron_f1 == pytest.approx(before.neuron_f1)


def test_the_most_responsible_neuron_has_a_score_on_documents_that_did_not_choose_it(
    planted, digit_or_not
):
    """In Char-RNN-Understanding that neuron has no held-out score."""
    one, two = (
        diagnostic(planted, d).hypotheses[0] for d in (digit_or_not, turned(digit_or_not, "test"))
    )
    assert one.neuron == two.neuron
    assert one.neuron_correlation == pytest.approx(-two.neuron_correlation)
    assert one.neuron_f1 > 0.75 > 0.3 > two.neuron_f1


def lstm(model: Model, text: bytes) -> tuple[np.ndarray, np.ndarray]:
    """h and c (H,) after a text, from its equations: c' = f c + i u, h' = o tanh(c')."""
    layer = {k: np.asarray(w, np.float64) for k, w in model.parameters["layers"]["0"].items()}
    embedding = np.asarray(model.parameters["embedding"], np.float64)
    h = c = np.zeros(model.config.hidden)
    for byte in text:
        z = (
            np.einsum("f,fgh->gh", embedding[byte], layer["wx"])
            + np.einsum("k,kgh->gh", h, layer["wh"])
            + layer["b"]
        )
        i, f, o = 1 / (1 + np.exp(-z[:3]))
        c = f * c + i * np.tanh(z[3])
        h = o * np.tanh(c)
    return h, c


def test_features_are_the_raw_cell_state_after_the_cleaned_text(build):
    """The paper speaks of tanh(c), and reproductions read h, or leave out what the code puts
    around a text: each gives other features."""
    unit = {"i": [20], "f": [20], "o": [20], "u": [0, 2, -2]}
    model = build(16, [b"+", b"-"], {3: unit})
    draw = np.random.default_rng(0)
    documents = []
    for k in range(40):
        letters = "".join(draw.choice(list("abc\n"), size=150 + k))
        mark = "+" if k % 2 else "-"
        text = f" {letters} {mark}&amp;&#43;{mark}d{mark}\n".encode()
        end = np.array([len(text)], np.int32)
        label = np.array([[k % 2 == 1]])
        labels = Labels(end - 1, end * 0, end, label, np.zeros((1, 0), np.float32))
        documents.append(LabelledDocument(f"{k}", text, stored(labels)))
    data = LabelledData(
        "sentiment", "drawn", "document", ("positive",), (), tuple(documents), True, "negative"
    )

    def cleaned(text: bytes) -> str:
        return html.unescape(text.decode()).replace("\n", " ").strip()

    texts = [d.data for d in documents]
    exact = [lstm(model, f"\n {cleaned(text)} ".encode()) for text in texts]
    h, c = (np.array(part) for part in zip(*exact, strict=True))
    found = model.encode(texts, site="0.c", cleaning="openai")
    np.testing.assert_allclose(found, c, atol=2e-5)
    without = np.array([lstm(model, cleaned(text).encode())[1] for text in texts])
    for other in (h, np.tanh(c), without):
        assert np.abs(found - other).max() > 0.01

    report = radford(model, data, draws=1)
    unit_of = int(report.neuron.removeprefix("0.c[").removesuffix("]"))
    assert unit_of == 3
    np.testing.assert_allclose(report.values, c[data.indices("test"), 3], atol=2e-5)
    assert np.abs(report.values).max() > 1.5
