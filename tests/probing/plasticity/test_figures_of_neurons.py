"""What is computed of neurons, against plain numpy."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import roc_auc_score

from mlstm.errors import InputError
from probing.plasticity import neurons
from probing.plasticity.directions import PENALTY, angles, directions, participation
from probing.plasticity.passages import Similarity, WordVectors, passage, top_words, word
from probing.plasticity.roles import roles
from probing.plasticity.rows import Kept


def test_areas_are_those_of_scikit_learn_with_ties():
    draw = np.random.default_rng(0)
    values = draw.integers(0, 6, (200, 4)).astype(np.float32)
    on = draw.random((200, 3)) < 0.4
    on[:, 2] = False
    found = neurons.areas(values, on)
    for p in range(4):
        for k in range(2):
            assert found[p, k] == pytest.approx(roc_auc_score(on[:, k], values[:, p]))
    assert np.isnan(found[:, 2]).all()


def test_ranks_go_from_0_to_1_over_all_sites_and_leave_out_what_is_pruned():
    found = neurons.ranks({"0.c": np.array([0.4, np.nan, 0.1]), "0.h": np.array([0.2, 0.2])})
    np.testing.assert_allclose(found["0.c"], [1, np.nan, 0])
    np.testing.assert_allclose(found["0.h"], [0.5, 0.5])


def test_the_best_neuron_is_chosen_on_train_and_scored_on_test_in_its_direction():
    train, test = np.array([0.6, 0.1, np.nan, 0.8]), np.array([0.99, 0.2, np.nan, 0.3])
    assert neurons.best(train, test) == (1, pytest.approx(0.8))
    place, score = neurons.best(np.full(2, np.nan), np.full(2, np.nan))
    assert place == -1
    assert np.isnan(score)


def test_a_neuron_follows_a_class_in_the_same_direction_on_both_splits():
    train = np.array([[0.9, 0.1, 0.8], [0.9, 0.9, 0.5], [np.nan] * 3])
    test = np.array([[0.8, 0.2, 0.2], [0.7, 0.75, 0.9], [np.nan] * 3])
    assert neurons.followed(train, test).tolist() == [2, 1, 0]


def test_a_pruned_unit_that_moves_is_seen():
    states = np.zeros((5, 3), np.float32)
    states[:, 1] = 1
    neurons.check_dead("0.c", states, np.array([True, False, True]))
    states[4, 2] = 1e-30
    with pytest.raises(AssertionError, match=r"0\.c: a pruned unit is not 0"):
        neurons.check_dead("0.c", states, np.array([True, False, True]))


def test_directions_are_ridge_regression_and_tell_test_rows():
    draw = np.random.default_rng(0)
    y = draw.random((600, 2)) < 0.4
    x = draw.normal(size=(600, 5)).astype(np.float32) * [1, 2, 3, 4, 0] + 7
    x[:, 1] += 3 * y[:, 0]
    kept = Kept(x, y, np.arange(600) % 2 * 2)
    found = directions(kept)
    a, b = x[::2], y[::2, 0].astype(float)
    z = np.zeros_like(a)
    z[:, :4] = (a[:, :4] - a[:, :4].mean(0)) / a[:, :4].std(0)
    want = np.linalg.solve(z.T @ z / 300 + PENALTY * np.eye(5), z.T @ (b - b.mean()) / 300)
    np.testing.assert_allclose(found.weights[0], want, atol=1e-5)
    scores = (x[1::2, :4] - a[:, :4].mean(0)) / a[:, :4].std(0) @ want[:4]
    assert found.test[0] == pytest.approx(roc_auc_score(y[1::2, 0], scores), abs=1e-3)
    assert found.test[0] > 0.75


def test_participation_counts_equal_weights_and_angles_are_between_lines():
    weights = np.array([[1.0, 1, 1, 1], [5, 0, 0, 0], [-1, 0, 0, 0], [0, 0, 3, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(participation(weights), [4, 1, 1, 1, np.nan])
    np.testing.assert_allclose(angles(weights, 1)[:3], [60, 0, 90], atol=1e-6)


def test_a_role_is_taken_newly_by_a_living_neuron_that_did_not_do_it_before():
    names = [f"0.c[{unit}]" for unit in range(5)]
    old = np.array([0, 3])
    alive = np.array([False, True, True, False, True])
    now, before = np.zeros((5, 5)), np.eye(5)
    now[0] = [0, 0.9, -0.8, 1, 0]
    now[3] = [1, 0.85, 0.1, 1, 0.2]  # the best total gives 1 to the second, 2 to the first
    before[0, 2], before[3, 1] = 0.1, 0.7
    found = roles(names, old, alive, now, before)
    assert [(r.old, r.new, r.correlation) for r in found] == [
        ("0.c[0]", "0.c[2]", -0.8),
        ("0.c[3]", "0.c[1]", 0.85),
    ]
    assert [r.taken for r in found] == [True, True]
    assert [r.newly for r in found] == [True, False]


def test_words_and_passages_of_bytes():
    data = 'x = "na\u00efve words"\n'.encode()
    assert word(data, 6) == "naïve"
    assert word(data, 4) == '"'
    assert word(data, 1) == "␣"
    assert word(data, len(data) - 1) == "⏎"
    assert passage(data, 4) == 'x = "'
    assert len(passage(data * 9, 100)) == 24
    assert top_words(["a", "b", "a", "c", "d", "e", "f"]) == ["a", "b", "c", "d", "e"]


def test_similarity_is_the_cosine_of_character_n_grams():
    first = [["abc", "abd"], ["xyz"], []]
    other = [["abc", "abd"], ["abc"], ["q"]]
    same = Similarity(first)
    found = Similarity.cosines(same.first, same.of(other))
    vectors = TfidfVectorizer(
        analyzer="char", ngram_range=(1, 4), lowercase=False, sublinear_tf=True
    )
    a = vectors.fit_transform(["abc\x00abd", "xyz", ""]).toarray()
    b = vectors.transform(["abc\x00abd", "abc", "q"]).toarray()
    np.testing.assert_allclose(found, (a * b).sum(1))
    assert found[0] == pytest.approx(1)
    assert found[1:].tolist() == [0, 0]


def test_word_vectors_are_read_and_bad_ones_are_one_line(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("3 2\ncat 1 0\ndog 1 1\ncar 0 1\n")
    vectors = WordVectors(path)
    assert vectors.cosine(["Cat"], ["car", "none"]) == 0
    assert vectors.cosine(["cat", "car"], ["dog"]) == pytest.approx(1)
    assert np.isnan(vectors.cosine(["none"], ["dog"]))
    for text, said in (
        ("cat 1 0\ndog 1\n", r"vectors\.txt:2: 1 numbers, not 2"),
        ("cat a b\n", r"vectors\.txt:1: not a word and its numbers"),
        ("", "no vector of a word in it"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            WordVectors(path)
    with pytest.raises(InputError, match="cannot be read"):
        WordVectors(tmp_path / "none")
