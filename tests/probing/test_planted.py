"""Neurons that are known to follow a concept are found, and judged by what the text gives away.

The model has 256 units; four are written by hand, the others are random. The quote unit is turned
by the one quote character: its u reads its own h, so that each quote takes it from 1 to -1 and
back.
"""

import dataclasses

import numpy as np
import pytest

import probing
from mlstm.trained import Model
from probing.states.arrays import arrays
from probing.tasks import LabelledData, stored

QUOTE, DEPTH, LINE, CAPITAL = 17, 101, 200, 255
CAPITALS = bytes(range(ord("A"), ord("Z") + 1))


@pytest.fixture(scope="module")
def reader(build) -> Model:
    units = {
        QUOTE: {"i": [-20, 40], "f": [20, -40], "o": [20], "u": [12], "own": [-40]},
        DEPTH: {"i": [20], "f": [20], "o": [20], "u": [0, 0, 20, -20]},
        LINE: {"i": [20], "f": [20, 0, 0, 0, -40], "o": [20], "u": [20, 0, 0, 0, -20]},
        CAPITAL: {"i": [20], "f": [-20], "o": [20], "u": [-20, 0, 0, 0, 0, 40]},
    }
    return build(256, [b'"', b"(", b")", b"\n", CAPITALS], units, embedding=8)


def text_of(draw: np.random.Generator, words: int) -> str:
    """Words in lines, some in quotes, some in parentheses, each whatever the others are."""
    said, quoted, depth = [], False, 0
    for _ in range(words):
        word = "".join(draw.choice(list("abcdefgh"), draw.integers(1, 7)))
        word = word.capitalize() if draw.random() < 0.2 else word
        if draw.random() < 0.15:
            quoted = not quoted
            said.append('"')
        if depth < 3 and draw.random() < 0.15:
            depth += 1
            said.append("(")
        said.append(word)
        if depth and draw.random() < 0.2:
            depth -= 1
            said.append(")")
        said.append("\n" if draw.random() < 0.15 else " ")
    return "".join(said) + '"' * quoted + ")" * depth + "\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> LabelledData:
    folder, draw = tmp_path_factory.mktemp("texts"), np.random.default_rng(0)
    for k in range(24):
        (folder / f"{k}.txt").write_text(text_of(draw, 50))
    return probing.tasks.text_position(folder)


@pytest.fixture(scope="module")
def table(reader, data) -> probing.NeuronTable:
    return probing.score_neurons(reader, data, "0.c", twin_seed=None, draws=0, controls=False)


@pytest.mark.parametrize(
    ("concept", "unit", "direction", "least"),
    [
        ("inside quotes", QUOTE, 1, 0.97),  # wrong at closing quotes, which are inside
        ("parenthesis depth", DEPTH, 1, 0.95),  # wrong at ")", which is inside
        ("position in line", LINE, 1, 0.85),  # wrong at newlines, which end a line
        ("since newline", LINE, 1, 0.9999),
        ("capital", CAPITAL, 1, 0.9999),
    ],
)
def test_a_planted_neuron_is_the_first_for_its_concept(table, concept, unit, direction, least):
    row = table.best(concept)
    assert (row.neuron, row.direction) == (f"0.c[{unit}]", direction)
    assert row.test > least


def test_planted_neurons_hold_what_they_are_said_to_hold(reader, data):
    x = arrays(reader, data, "0.c", "test", "since newline").x
    y = {
        name: np.concatenate([data.target(data.labels(i), name) for i in data.indices("test")])
        for name in ("inside quotes", "parenthesis depth", "since newline", "capital")
    }
    text = b"".join(data.documents[i].data for i in data.indices("test"))
    byte = np.frombuffer(text, np.uint8)
    np.testing.assert_allclose(x[:, LINE], y["since newline"], atol=1e-4)
    np.testing.assert_allclose(x[:, DEPTH], y["parenthesis depth"] - (byte == ord(")")), atol=1e-4)
    np.testing.assert_array_equal(x[:, CAPITAL] > 0, y["capital"])
    apart = byte != ord('"')
    np.testing.assert_array_equal((x[:, QUOTE] > 0.5)[apart], y["inside quotes"][apart])
    assert y["inside quotes"][apart].any()


def test_a_neuron_that_remembers_more_than_baselines_see_leads_them(reader, data):
    claim = probing.verify(reader, "0.c", data, "inside quotes", draws=39, causal=False)
    assert claim.neuron == f"0.c[{QUOTE}]"
    assert claim.verdict == "correlational only"
    assert claim.test.value > max(claim.surface.value, claim.twin.value) + 0.1


@pytest.mark.parametrize("wrong", [0.0, 0.15])
def test_a_correlate_of_the_current_byte_is_explained_by_a_baseline(reader, data, wrong):
    """A share of the labels is turned by lot: they correlate with capitals, and are not these."""
    draw = np.random.default_rng(1)
    alone = data.only("capital")

    def turned(document):
        labels = document.read()
        other = draw.random(labels.classes.shape) < wrong
        return dataclasses.replace(
            document, read=stored(labels._replace(classes=labels.classes ^ other))
        )

    noisy = dataclasses.replace(alone, documents=tuple(map(turned, alone.documents)))
    claim = probing.verify(reader, "0.c", noisy, draws=39)
    assert claim.neuron == f"0.c[{CAPITAL}]"
    assert claim.p == 1 / 40
    assert claim.test.value > 0.55
    assert claim.verdict == "explained by a baseline"
