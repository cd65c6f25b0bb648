"""Planted models, labelled data and reports by hand; tests import `pieces` from this folder."""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest

from mlstm.corpus.vocabulary import Bytes
from mlstm.model import language_model
from mlstm.model.config import ModelConfig
from mlstm.trained import Model
from probing.evidence.claims import Interval
from probing.evidence.probes.metrics import ClassScore
from probing.protocols.concept_neurons import (
    ConceptNeuronsReport,
    Multiclass,
    OneSplit,
    TagProbe,
)
from probing.protocols.diagnostic import DiagnosticReport, Hypothesis, Told
from probing.protocols.full_probe_report import FullProbeReport, Row, Twins
from probing.protocols.radford import Mistake, RadfordReport, Threshold
from probing.tasks import LabelledData, LabelledDocument, Labels, every_byte, stored

sys.path.insert(0, str(Path(__file__).parent))

PLANTED = 5
GATES = "ifou"  # as they lie in the parameters


def hand_built(
    hidden: int,
    marks: Sequence[bytes],
    units: Mapping[int, Mapping[str, Sequence[float]]],
    *,
    embedding: int = 4,
    origin: str = "planted",
) -> Model:
    """An LSTM with random parameters in which some units are written by hand.

    marks: sets of bytes; the k-th column of the embedding says whether a byte is in the k-th.
    units: of each the gates "i", "f", "o" and "u" before their nonlinearity: a bias, then the
        weight of each mark; what is left out is 0. "own": the weight of the unit's h in u.
    """
    config = ModelConfig(cell="lstm", hidden=hidden, embedding=embedding, weight_norm=False)
    parameters = jax.tree.map(np.array, language_model.init_parameters(config, jax.random.key(1)))
    layer = parameters["layers"]["0"]
    for k, mark in enumerate(marks):
        parameters["embedding"][:, k] = np.isin(np.arange(256), np.frombuffer(mark, np.uint8))
    for unit, gates in units.items():
        for name in ("wx", "wh", "b"):
            layer[name][..., unit] = 0
        for nth, name in enumerate(GATES):
            bias, *weights = gates.get(name, [0])
            layer["b"][nth, unit] = bias
            layer["wx"][: len(weights), nth, unit] = weights
        layer["wh"][unit, GATES.index("u"), unit] = gates.get("own", [0])[0]
    return Model(config, parameters, Bytes(), origin=origin)


@pytest.fixture(scope="session")
def build() -> Callable[..., Model]:
    """`hand_built`, for tests that plant units of their own."""
    return hand_built


@pytest.fixture(scope="session")
def planted() -> Model:
    """An LSTM of 16 units whose unit 5 of c is 1 after a digit and -1 after any other byte."""
    unit = {"i": [20], "f": [-20], "u": [-10, 20]}
    return hand_built(16, [b"0123456789"], {PLANTED: unit})


@pytest.fixture(scope="session")
def digits() -> LabelledData:
    """Documents of random letters and digits; the labels: digit, a coin, place in the document."""
    draw = np.random.default_rng(0)
    documents = []
    for k in range(12):
        data = bytes(draw.choice(list(b"abcdefgh<&>\n0123"), size=100 + 60 * k).tolist())
        ids = np.frombuffer(data, np.uint8)
        digit = (ids >= ord("0")) & (ids <= ord("9"))
        coin = draw.random(len(data)) < 0.3
        documents.append(
            LabelledDocument(
                f"<doc {k}>",
                data,
                stored(
                    every_byte(
                        np.stack([digit, coin, np.zeros_like(coin)], 1),
                        np.arange(len(data))[:, None],
                    )
                ),
            )
        )
    return LabelledData(
        "digits",
        "drawn <b>text</b>",
        "byte",
        ("digit", "coin", "never"),
        ("place",),
        tuple(documents),
    )


@pytest.fixture(scope="session")
def radford_report() -> RadfordReport:
    """A report by hand: 8 test documents, 4 weights, two mistakes of the probe and two of the
    neuron."""
    return RadfordReport(
        model="by hand",
        site="0.c",
        data="drawn",
        positive="good",
        documents={"train": 100, "dev": 40, "test": 8},
        majority=0.625,
        grid={0.25: 0.8, 0.5: 0.85},
        C=0.5,
        nonzero=3,
        train=0.95,
        dev=0.85,
        test=0.875,
        neuron="0.c[2]",
        weight=-3.0,
        threshold=Threshold(0.25, -1, 0.8),
        neuron_test=0.75,
        weights=np.array([0.5, 0.0, -3.0, 1.0]),
        values=np.array([-1.0, -0.5, 0.0, 0.1, 0.9, 0.2, 0.8, 1.0]),
        labels=np.array([True] * 5 + [False] * 3),
        curve=((16, 0.6, 0.05), (32, 0.7, 0.02), (64, 0.75, 0.01)),
        mistakes=(
            Mistake('=HYPERLINK("x", "y")', "good", 0.02),
            Mistake("one, two\r\nthree\rfour <script>alert(1)</script>", "bad", 0.9),
        ),
        neuron_mistakes=(Mistake("é “quoted”", "good", -0.65), Mistake("", "bad", 0.05)),
    )


@pytest.fixture(scope="session")
def concept_neurons_report() -> ConceptNeuronsReport:
    """A report by hand, in which the split by document lacks a tag."""
    ways = ("all", "top 1", "top 2", "top 3")

    def probe(tag: str, positives: int, least: float) -> TagProbe:
        figures = {
            "accuracy": {way: least + 0.1 * k for k, way in enumerate(ways)},
            "precision": dict(zip(ways, (0.8, 0.6, 0.7, 0.0), strict=True)),
            "recall": dict(zip(ways, (0.5, 0.4, 0.3, 0.0), strict=True)),
        }
        neurons = ("0.c[4]", "0.c[7]", "0.c[1]")
        return TagProbe(tag, 0.25, 5, neurons, positives, **figures)

    multiclass = {
        way: Multiclass(0.5 + k / 100, 0.4 + k / 100, 0.45, 0.5)
        for way, k in zip(ways, (9, 1, 2, 3), strict=True)
    }
    rows = {"train": 800, "dev": 100, "test": 100}
    tags = (probe("NOUN", 30, 0.6), probe("$VERB$", 20, 0.5))
    return ConceptNeuronsReport(
        "by hand",
        "0.c",
        "drawn",
        OneSplit("bytes at random (as published)", rows, 0.3, tags, multiclass),
        OneSplit("by document", rows, 0.25, tags[:1], multiclass),
    )


@pytest.fixture(scope="session")
def diagnostic_report() -> DiagnosticReport:
    """A report by hand: a class, one that train lacks, and a number."""
    nan = float("nan")
    plain, balanced = Told(0.95, 0.92, 0.88, 0.9), Told(0.9, 0.8, 0.91, 0.85)
    hypotheses = (
        Hypothesis('=quote, "x"', 0.25, plain, balanced, 0.4, 0.85, "0.c[1]", 0.7, 0.6),
        Hypothesis("rare", 0.0, None, None, 0.0, nan, "", nan, nan),
        Hypothesis("depth", nan, None, None, nan, 0.8, "0.c[3]", nan, -0.6),
    )
    rows = {"train": 80, "dev": 10, "test": 10}
    return DiagnosticReport("by hand", "0.c", "drawn", rows, hypotheses)


@pytest.fixture(scope="session")
def full_probe_report() -> FullProbeReport:
    """A report by hand: two classes, two random models, no control task."""

    def row(name: str, accuracy: float, C: float | None, lead: float | None) -> Row:
        classes = (
            ClassScore("NOUN", 60, accuracy, accuracy - 0.1, accuracy - 0.05),
            ClassScore("VERB, 2", 40, accuracy, accuracy - 0.3, accuracy - 0.2),
        )
        return Row(
            name,
            fitted=300,
            C=C,
            dev={} if C is None else {C: accuracy},
            accuracy=accuracy,
            interval=Interval(accuracy, accuracy - 0.02, accuracy + 0.03),
            balanced_accuracy=accuracy - 0.04,
            macro_f1=accuracy - 0.06,
            classes=classes,
            lead=None if lead is None else Interval(lead, lead - 0.01, lead + 0.01),
        )

    seeds = ((4, 0.5), (9, 0.52))
    twins = tuple(row(f"random weights, seed {seed}", a, 0.5, 0.3) for seed, a in seeds)
    return FullProbeReport(
        model="by hand",
        site="0.c",
        task="part_of_speech",
        unit="token",
        data="drawn",
        split="by document",
        classes=("NOUN", "VERB, 2"),
        documents={"train": 30, "dev": 10, "test": 10},
        rows={"train": 300, "dev": 100, "test": 100},
        available={"train": 300, "dev": 100, "test": 100},
        probe=row("all neurons", 0.8, 0.25, None),
        twins=Twins((4, 9), twins, Interval(0.29, 0.28, 0.3)),
        surface=row("surface model", 0.7, 1.0, 0.1),
        word=row("most frequent class of the word", 0.75, None, 0.05),
        usual=row("most frequent class", 0.6, None, 0.2),
        control=None,
    )


class Cause(NamedTuple):
    """A network in which one of two equal neurons is read, and text on which it is.

    `used` and `copy` follow the same: +1 between a quote and the next, else -1, to the bit. In
    quotes a letter is a capital eight times as often, and the readout takes from `used` how often.
    From `copy` it takes as much, which is the same for every byte and so changes no prediction;
    each of `distractors` toggles at a letter of its own, varies as much and is read by weights of
    the same norm, most of it on bytes that do not occur.
    """

    model: Model
    used: int
    copy: int
    distractors: tuple[int, ...]
    data: LabelledData  # concept "inside quotes"; labels of any text by `judge`


QUOTED, PLAIN = 0.4, 0.05  # how often a letter is a capital
LETTERS = b"abcdefghijkl"


def quoting(draw: np.random.Generator, size: int) -> bytes:
    """Letters and spaces, parts of them in quotes."""
    inside, said = False, []
    for _ in range(size):
        if draw.random() < 1 / 25:
            inside = not inside
            said.append('"')
        elif draw.random() < 0.15:
            said.append(" ")
        else:
            letter = chr(draw.choice(list(LETTERS)))
            said.append(letter.upper() if draw.random() < (QUOTED if inside else PLAIN) else letter)
    return "".join(said).encode() + b'"' * inside


@pytest.fixture(scope="session")
def cause() -> Cause:
    """`Cause` of 256 units: what ablation, steering and verdicts are tested on."""
    used, copy, hidden = 17, 101, 256
    distractors = tuple(range(120, 120 + 64))
    toggle = {"i": [-20], "f": [20], "o": [20], "u": [12], "own": [-40]}

    def turned_by(mark: int, marks: int) -> dict[str, list[float]]:
        at = np.eye(marks)[mark]
        return toggle | {"i": [-20, *(40 * at)], "f": [20, *(-40 * at)]}

    marks = [b'"', *(bytes([letter]) for letter in LETTERS)]
    units = {unit: turned_by(0, len(marks)) for unit in (used, copy)}
    for nth, unit in enumerate(distractors):
        units[unit] = turned_by(1 + nth % len(LETTERS), len(marks))
    model = hand_built(hidden, marks, units, embedding=len(marks) + 1, origin="a planted cause")

    readout, draw = model.parameters["readout"], np.random.default_rng(5)
    odds = [np.log(p / (1 - p)) for p in (PLAIN, QUOTED)]
    capitals = np.isin(np.arange(256), list(LETTERS.upper()))
    letters = np.isin(np.arange(256), list(LETTERS))
    occurs = capitals | letters | np.isin(np.arange(256), list(b' "'))
    step = (odds[1] - odds[0]) / 4
    row = np.where(capitals, step, 0) - np.where(letters, step, 0)
    length = np.linalg.norm(row)
    readout["w"][:] *= 0.02
    readout["w"][used] = row
    readout["w"][copy] = length / np.sqrt(256)
    for unit in distractors:
        noise = np.where(occurs, 0.1, 1) * draw.normal(size=256)
        readout["w"][unit] = noise * length / np.linalg.norm(noise)
    readout["b"][:] = np.where(occurs, 0, -12) + np.where(capitals, sum(odds) / 2, 0)
    # What plants feed back to themselves is all that reads them beside the readout.
    into = model.parameters["layers"]["0"]["wh"]
    for unit in (used, copy, *distractors):
        own = into[unit, GATES.index("u"), unit]
        into[unit] = 0
        into[unit, GATES.index("u"), unit] = own

    draw = np.random.default_rng(0)
    documents = tuple(
        LabelledDocument(f"text {k}", text, partial(inside_quotes, text))
        for k, text in enumerate(quoting(draw, 400) for _ in range(30))
    )
    data = LabelledData(
        "quotes", "drawn text", "byte", ("inside quotes",), (), documents, judge=inside_quotes
    )
    return Cause(model, used, copy, distractors, data)


def inside_quotes(text: bytes) -> Labels:
    """Of each byte, whether an odd number of quotes has been read: as the planted neuron has it."""
    quotes = np.cumsum(np.frombuffer(text, np.uint8) == ord('"')) % 2 == 1
    return every_byte(quotes[:, None], np.zeros((len(text), 0), np.float32))
