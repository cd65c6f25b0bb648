import dataclasses
from collections import defaultdict

import jax
import numpy as np
import pytest

from mlstm.errors import InputError
from probing.evidence import controls
from probing.tasks import (
    LabelledData,
    LabelledDocument,
    Labels,
    every_byte,
    part_of_speech,
    stored,
)


def words(count: int = 60, each: int = 40, exclusive: bool = True) -> LabelledData:
    """Documents of words; the class: 0 for half of the types, 1 for a third, else none."""
    draw = np.random.default_rng(0)
    documents = []
    for k in range(count):
        chosen = draw.integers(0, 600, each)
        pieces = [b"w%d" % word for word in chosen]
        ends = np.cumsum([len(piece) + 1 for piece in pieces]).astype(np.int32) - 1
        starts = (ends - [len(piece) for piece in pieces]).astype(np.int32)
        classes = np.stack([chosen % 6 < 3, (chosen % 6 >= 3) & (chosen % 6 < 5)], 1)
        labels = Labels(ends - 1, starts, ends, classes, chosen[:, None].astype(np.float32))
        documents.append(LabelledDocument(f"document {k}", b" ".join(pieces), stored(labels)))
    return LabelledData(
        "words", "drawn", "token", ("a", "b"), ("number",), tuple(documents), exclusive, "neither"
    )


def labels_of_types(data: LabelledData, type_of) -> dict[bytes, set[bytes]]:
    found = defaultdict(set)
    for i, document in enumerate(data.documents):
        labels = data.labels(i)
        rows = np.concatenate([labels.classes, labels.numbers], 1)
        for n, row in enumerate(rows):
            found[type_of(document.data, labels, n)].add(row.tobytes())
    return found


def word(data: bytes, labels: Labels, n: int) -> bytes:
    return data[labels.starts[n] : labels.ends[n]]


def trigram(data: bytes, labels: Labels, n: int) -> bytes:
    return (b"^^" + data)[labels.positions[n] : labels.positions[n] + 3]


def test_control_labels_of_words_are_a_function_of_the_word_and_of_the_seed():
    data = words()
    control = controls.control_labels(data, seed=1)
    found = labels_of_types(control, word)
    assert all(len(rows) == 1 for rows in found.values())
    assert labels_of_types(controls.control_labels(words(), seed=1), word) == found
    assert labels_of_types(controls.control_labels(data, seed=2), word) != found
    same = [found[w] == rows for w, rows in labels_of_types(data, word).items()]
    assert np.mean(same) < 0.05  # numbers differ between words


def test_control_labels_of_bytes_are_a_function_of_three_bytes(digits):
    control = controls.control_labels(digits)
    found = labels_of_types(control, trigram)
    assert all(len(rows) == 1 for rows in found.values())
    ends = defaultdict(set)
    for three, rows in found.items():
        ends[three[1:]] |= rows
    assert np.mean([len(rows) > 1 for rows in ends.values()]) > 0.9  # two bytes do not decide


def test_control_labels_are_as_frequent_as_the_classes_and_exclude_each_other():
    data = words(400)
    control = controls.control_labels(data)
    shares = [
        np.concatenate([part.labels(i).classes for i in range(400)]).mean(0)
        for part in (data, control)
    ]
    np.testing.assert_allclose(shares[1], shares[0], atol=0.06)
    assert all(control.labels(i).classes.sum(1).max() <= 1 for i in range(400))


def test_control_labels_keep_positions_and_splits_and_touch_no_global_generator(digits):
    data = words()
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    control = controls.control_labels(data)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    np.testing.assert_array_equal(control.splits, data.splits)
    for i in range(len(data.documents)):
        for a, b in zip(control.labels(i)[:3], data.labels(i)[:3], strict=True):
            np.testing.assert_array_equal(a, b)
    assert control.task == "words, control"


def test_documents_have_no_control_task():
    assert controls.control_labels(dataclasses.replace(words(), unit="document")) is None


def test_the_majority_is_chosen_on_train_and_counted_on_test():
    def document(name, split, on):
        on = np.array(on, bool)[:, None]
        data = b"x" * len(on)
        read = stored(every_byte(on, np.zeros((len(on), 0))))
        return LabelledDocument(name, data, read, split=split)

    data = LabelledData(
        "task",
        "drawn",
        "byte",
        ("yes",),
        (),
        (
            document("a", "train", [1, 1, 1, 0]),
            document("b", "dev", [0, 0, 0, 0, 0, 0]),
            document("c", "test", [1, 0, 0, 0]),
        ),
        exclusive=True,
        otherwise="no",
    )
    assert controls.majority(data) == ("yes", 0.25)
    with pytest.raises(InputError, match="do not exclude each other"):
        controls.majority(dataclasses.replace(data, exclusive=False))


def test_a_shuffled_twin_has_the_entries_of_every_array_at_other_places(planted):
    twin, again = controls.shuffled_twin(planted, 3), controls.shuffled_twin(planted, 3)
    other = controls.shuffled_twin(planted, 4)
    moved = 0
    for a, b, c, d in zip(
        *(jax.tree.leaves(m.parameters) for m in (planted, twin, again, other)), strict=True
    ):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.sort(a, axis=None), np.sort(b, axis=None))
        np.testing.assert_array_equal(b, c)
        moved += bool((np.asarray(a) != b).any() and (b != d).any())
    assert moved > 3
    assert twin.origin == "shuffled twin of planted, seed 3"


def test_a_rotation_is_orthogonal_seeded_and_uniform():
    found = controls.rotation(64, 1)
    np.testing.assert_allclose(found @ found.T, np.eye(64), atol=1e-12)
    np.testing.assert_array_equal(found, controls.rotation(64, 1))
    assert (found != controls.rotation(64, 2)).any()
    traces = [np.trace(controls.rotation(4, seed)) for seed in range(1000)]
    assert (
        abs(np.mean(traces)) < 0.15
    )  # 0 for uniform ones; LAPACK's signs alone shift it by about 1
    assert np.var(traces) == pytest.approx(1, abs=0.15)


def test_a_word_has_the_tag_that_is_its_most_frequent_outside_of_test(tmp_path):
    """By hand: "a" is DET in 2 of 3, "b" NOUN; of the test words a DET, b VERB, new NOUN."""
    parts = {
        "train": "a_DET b_NOUN a_DET b_NOUN\na_X b_NOUN\nb_NOUN a_DET\n" * 5,
        "test": "a_DET b_VERB new_NOUN\n",
    }
    for name, text in parts.items():
        (tmp_path / f"{name}.txt").write_text(text)
    data = part_of_speech(tmp_path)
    assert controls.majority_of_word(data) == pytest.approx(2 / 3)


def test_words_of_the_english_web_treebank_by_their_most_frequent_tag(mlstm_data):
    data = part_of_speech(mlstm_data / "pos")
    assert controls.majority_of_word(data) == pytest.approx(0.861, abs=0.002)


def test_a_dictionary_is_of_words(digits):
    with pytest.raises(InputError, match="not of words"):
        controls.majority_of_word(digits)


def test_the_twin_of_an_imported_model_is_its_own_parameters_shuffled(planted):
    imported = dataclasses.replace(planted, imported=True)
    for model, made in ((planted, controls.random_twin), (imported, controls.shuffled_twin)):
        twin = controls.untrained_twin(model, 3)
        assert twin.origin == made(model, 3).origin
        np.testing.assert_array_equal(
            twin.parameters["readout"]["w"], made(model, 3).parameters["readout"]["w"]
        )
