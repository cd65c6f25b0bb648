import dataclasses

import numpy as np
import pytest

import probing
from mlstm.errors import InputError
from probing.tasks import LabelledData, LabelledDocument, Labels, every_byte, stored
from probing.tasks.labelled import SPLITS

DRAWS = 39


def text_of(draw, size: int) -> bytes:
    return bytes(draw.choice(list(b"abcdefgh 0123"), size=size).tolist())


def labelled(documents: int, label, size: int = 200, seed: int = 0) -> LabelledData:
    """Random text with one class; label(ids, draw) -> (bytes,) bool."""
    draw = np.random.default_rng(seed)
    made = []
    for k in range(documents):
        data = text_of(draw, size)
        on = label(np.frombuffer(data, np.uint8), draw)[:, None]
        made.append(
            LabelledDocument(f"{seed} {k}", data, stored(every_byte(on, np.zeros((size, 0)))))
        )
    return LabelledData("task", "drawn text", "byte", ("on",), (), tuple(made))


def digit(ids, draw):
    return (ids >= ord("0")) & (ids <= ord("9"))


def runs(ids, draw):
    """Spans of the lengths of strings, whatever the text is."""
    on = np.zeros(len(ids), bool)
    place = int(draw.integers(0, 40))
    while place < len(ids):
        length = int(draw.geometric(0.08))
        on[place : place + length] = True
        place += length + int(draw.geometric(0.04))
    return on


def test_a_neuron_that_the_current_byte_explains_is_explained_by_a_baseline(planted):
    claim = probing.verify(planted, None, labelled(20, digit), draws=DRAWS)
    assert (claim.neuron, claim.chosen, claim.direction) == ("0.c[5]", True, 1)
    assert claim.test.value > 0.99
    assert claim.p == 1 / (1 + DRAWS)
    assert claim.surface.value > 0.99
    assert claim.verdict == "explained by a baseline"


def test_labels_that_have_nothing_to_do_with_the_text_are_not_significant(planted):
    claim = probing.verify(planted, "0.c", labelled(12, runs), draws=DRAWS)
    assert claim.verdict == "not significant"
    assert claim.p >= 0.05


def test_a_named_neuron_is_not_chosen(planted):
    claim = probing.verify(planted, "0.c[2]", labelled(12, digit), draws=DRAWS)
    assert (claim.neuron, claim.chosen, claim.tried) == ("0.c[2]", False, 16)
    assert claim.test.value < 0.9


def test_the_figures_are_those_of_the_table_within_its_bound(planted, digits):
    claim = probing.verify(planted, "0.c,0.h", digits, "digit", draws=DRAWS)
    row = probing.score_neurons(planted, digits, "0.c,0.h", draws=0, controls=False).best("digit")
    assert claim.neuron == row.neuron
    assert abs(claim.test.value - row.test) <= row.bound + 1e-6
    assert claim.twin_neuron == row.twin_neuron
    assert abs(claim.twin.value - row.twin_test) <= row.twin_bound + 1e-6
    assert claim.tried == 32


def test_a_number_is_judged_by_its_correlation(planted, digits):
    claim = probing.verify(planted, None, digits, "place", draws=DRAWS)
    assert claim.metric == "r"
    assert -1 <= claim.test.lower <= claim.test.value <= claim.test.upper <= 1


def test_several_models_give_several_claims_and_each_chooses_its_own_unit(planted):
    data = labelled(12, digit)
    claims = probing.verify([planted, probing.random_twin(planted, 3)], None, data, draws=DRAWS)
    assert len(claims) == 2
    assert claims[0].neuron == "0.c[5]"
    assert sum(claims.verdicts.values()) == 2
    (match,) = claims.matches
    assert (match.neuron, match.claimed) == ("0.c[5]", claims[1].neuron)
    assert "supported in 0" in str(claims)


def test_the_test_documents_choose_nothing(planted):
    data = labelled(20, digit)
    test = set(data.indices("test").tolist())

    def turned(i: int, document: LabelledDocument) -> LabelledDocument:
        labels = document.read()
        other = stored(labels._replace(classes=~labels.classes))
        return dataclasses.replace(document, read=other) if i in test else document

    moved = dataclasses.replace(
        data, documents=tuple(turned(i, d) for i, d in enumerate(data.documents))
    )
    one, other = (probing.verify(planted, None, d, draws=DRAWS) for d in (data, moved))
    for name in ("neuron", "direction", "select", "twin_neuron"):
        assert getattr(one, name) == getattr(other, name)
    assert other.test.value == pytest.approx(1 - one.test.value)
    assert other.verdict != "correlational only"


def test_unknown_concepts_and_neurons_are_answered_in_one_line(planted, digits):
    with pytest.raises(InputError, match="4 concepts; name one: digit, coin, never, place"):
        probing.verify(planted, None, digits)
    with pytest.raises(InputError, match="no unit 99"):
        probing.verify(planted, "0.c[99]", digits, "digit")


def test_each_thing_that_is_done_is_told_from_its_beginning_to_its_end(planted, digits):
    told: dict[str, list[tuple[int, int]]] = {}
    probing.verify(
        planted,
        None,
        digits,
        "digit",
        draws=DRAWS,
        progress=lambda what, done, every: told.setdefault(what, []).append((done, every)),
    )
    assert all(calls[0][0] == 0 for calls in told.values())
    tests = sum(len(digits.documents[i].data) for i in digits.indices("test"))
    assert {what: calls[-1] for what, calls in told.items()} == {
        "scoring neurons": (digits.bytes, digits.bytes),
        "permuting labels": (tests, tests),
        "scoring the random twin": (digits.bytes, digits.bytes),
        "testing the random twin": (tests, tests),
        "fitting the surface model": (5, 5),
        "fitting probes beside it": (4, 4),
    }
    assert [done for done, _ in told["fitting the surface model"]] == [0, 1, 2, 3, 4, 5]


def test_what_can_decide_nothing_is_refused_before_anything_is_read(planted, digits):
    for draws in (0, 19):
        with pytest.raises(InputError, match=r"no p below 0\.05: at least 20"):
            probing.verify(planted, None, digits, "digit", draws=draws)
    empty = Labels(*(part[:0] for part in digits.labels(0)))
    tests = set(digits.indices("test").tolist())
    documents = tuple(
        dataclasses.replace(
            d, read=(lambda: empty) if i in tests else d.read, split=SPLITS[int(digits.splits[i])]
        )
        for i, d in enumerate(digits.documents)
    )
    bare = dataclasses.replace(digits, documents=documents)
    with pytest.raises(InputError, match="no labelled byte in the test split"):
        probing.verify(planted, None, bare, "digit")
