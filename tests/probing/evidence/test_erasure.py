import dataclasses
import json

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

import probing
from mlstm.errors import InputError
from mlstm.model import language_model
from mlstm.model.edits import make_edits, read_edits, save_edits
from probing.evidence.erasure import Covariances, fit_leace, leace
from probing.evidence.inlp import fit_inlp, inlp
from probing.evidence.probes.logistic import LogisticProbe

ROWS, UNITS = 2000, 12


def drawn(seed: int = 0, rows: int = ROWS, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """States of correlated units whose means differ by class, and the class of each row."""
    draw = np.random.default_rng(seed)
    fixed = np.random.default_rng(99)
    mixing, means = fixed.normal(size=(UNITS, UNITS)), fixed.normal(size=(classes, UNITS))
    y = draw.integers(0, classes, rows)
    return draw.normal(size=(rows, UNITS)) @ mixing + 2 * means[y] + 3, y


def told(train, test) -> float:
    """Balanced accuracy of a linear probe that is fitted on one and scored on the other."""
    probe = LogisticProbe(C=1e3).fit(*train)
    return balanced_accuracy_score(test[1], probe.predict(test[0]))


@pytest.mark.parametrize("shrinkage", [True, False])
@pytest.mark.parametrize("classes", [2, 4])
def test_after_leace_a_linear_probe_is_at_chance(classes, shrinkage):
    x, y = drawn(classes=classes)
    x_test, y_test = drawn(seed=1, classes=classes)
    eraser = leace(Covariances.of(x, y), shrinkage=shrinkage)
    assert told((x, y), (x_test, y_test)) > 1 / classes + 0.2
    assert eraser.rank == classes - 1
    assert told((eraser(x), y), (eraser(x), y)) < 1 / classes + 0.02
    assert told((eraser(x), y), (eraser(x_test), y_test)) < 1 / classes + 0.05
    np.testing.assert_allclose(eraser(x).mean(0), x.mean(0), atol=1e-9)
    means = [eraser(x)[y == k].mean(0) for k in range(classes)]
    np.testing.assert_allclose(means, [x.mean(0)] * classes, atol=1e-9)


def test_after_leace_a_number_has_no_correlation_left():
    x, _ = drawn()
    y = x @ np.arange(UNITS) + np.random.default_rng(5).normal(size=len(x))
    erased = leace(Covariances.of(x, y))(x)
    cross = (erased - erased.mean(0)).T @ (y - y.mean()) / len(y)
    np.testing.assert_allclose(cross, 0, atol=1e-9)


def test_a_rare_class_is_erased_too():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(20_000, 4))
    y = np.arange(20_000) < 20
    x[y] += 1
    erased = leace(Covariances.of(x, y))(x)
    np.testing.assert_allclose(erased[y].mean(0), erased[~y].mean(0), atol=1e-9)


def test_several_classes_at_once_are_all_erased():
    x, y = drawn(classes=4)
    z = np.stack([y == 0, y >= 2], 1)
    eraser = leace(Covariances.of(x, z))
    assert eraser.rank == 2
    for column in z.T:
        assert told((eraser(x), column), (eraser(x), column)) < 0.52


def test_units_that_never_vary_stay_as_they_are():
    x, y = drawn()
    x = np.concatenate([x, np.full((len(x), 1), 7.0)], 1)
    for shrinkage in (True, False):
        erased = leace(Covariances.of(x, y), shrinkage=shrinkage)(x)
        np.testing.assert_allclose(erased[:, -1], 7, atol=1e-9)
        assert told((erased, y), (erased, y)) < 0.52


def test_more_classes_than_units_leave_the_mean_alone():
    draw = np.random.default_rng(0)
    y = draw.integers(0, 9, 3000)
    x = draw.normal(size=(9, 3))[y] * 3 + draw.normal(size=(3000, 3))
    eraser = leace(Covariances.of(x, y))
    assert eraser.rank == 3
    np.testing.assert_allclose(eraser(x), np.broadcast_to(x.mean(0), x.shape), atol=1e-9)


def test_fewer_rows_than_units_are_erased_with_and_without_shrinkage():
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(20, 50)), np.arange(20) < 8
    for shrinkage in (True, False):
        erased = leace(Covariances.of(x, y), shrinkage=shrinkage)(x)
        assert np.isfinite(erased).all()
        np.testing.assert_allclose(erased[y].mean(0), erased[~y].mean(0), atol=1e-8)


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (np.ones((5, 2)), np.ones(5, bool), "one value"),
        (np.ones((1, 2)), np.ones(1, bool), "at least 2"),
        (np.full((5, 2), np.nan), np.arange(5) < 2, "finite"),
        (np.ones((5, 2)), np.array([1.0, np.inf, 0, 0, 0]), "finite"),
        (np.ones((5, 2)), np.ones(4, bool), "shape"),
        (np.ones(5), np.ones(5, bool), "shape"),
    ],
)
def test_what_cannot_be_erased_is_one_line(x, y, said):
    for fit in (lambda: leace(Covariances.of(x, y)), lambda: inlp(x, y)):
        with pytest.raises(InputError, match=said) as raised:
            fit()
        assert "\n" not in str(raised.value)


def test_inlp_projects_until_a_probe_is_at_chance():
    x, y = drawn(rows=8000)
    x_test, y_test = drawn(seed=1, rows=8000)
    eraser = inlp(x, y == 1, held=(x_test, y_test == 1))
    assert eraser.told[0] > 0.8
    assert eraser.told[-1] < 0.51
    assert len(eraser.told) == eraser.rank + 1
    assert told((eraser(x), y), (eraser(x_test), y_test)) < 0.53
    np.testing.assert_allclose(eraser(x).mean(0), x.mean(0), atol=1e-9)
    np.testing.assert_allclose(eraser.out @ eraser.into, -np.eye(eraser.rank), atol=1e-9)


def test_inlp_of_a_number_and_of_classes_takes_as_many_probes_as_it_is_told():
    x, y = drawn(classes=3)
    number = inlp(x, x[:, 0] + x[:, 1], iterations=1)
    assert (number.rank, len(number.told)) == (1, 1)
    assert number.told[0] > 0.99
    assert inlp(x, y, iterations=1).rank == 2  # weights of three classes sum to nothing
    assert inlp(x, y, iterations=2).rank == 4
    with pytest.raises(InputError, match="1 or more"):
        inlp(x, y, iterations=0)


def test_inlp_ends_when_nothing_is_left():
    draw = np.random.default_rng(0)
    eraser = inlp(draw.normal(size=(30, 3)), np.arange(30) % 2 == 0, margin=-1.0)
    assert eraser.rank == 3


def test_a_random_subspace_has_the_same_rank_and_erases_nothing_in_particular():
    x, y = drawn()
    eraser = leace(Covariances.of(x, y))
    random = eraser.random(3)
    assert random.rank == eraser.rank
    np.testing.assert_allclose(random.into.T @ random.into, np.eye(eraser.rank), atol=1e-12)
    assert told((random(x), y), (random(x), y)) > 0.8
    np.testing.assert_array_equal(random.into, eraser.random(3).into)
    assert not np.allclose(random.into, eraser.random(4).into)


def test_leace_of_a_stream_is_that_of_its_arrays(planted, digits):
    streamed = fit_leace(planted, digits, "0.c", "digit")
    x, y, _ = probing.arrays(planted, digits, "0.c", "train", "digit")
    stored = leace(Covariances.of(x, y))
    assert streamed.rows == len(x)
    assert (streamed.site, streamed.concepts) == ("0.c", ("digit",))
    np.testing.assert_allclose(streamed(x), stored(x), atol=1e-4)
    x_test, y_test, _ = probing.arrays(planted, digits, "0.c", "test", "digit")
    assert told((x, y), (x_test, y_test)) > 0.99
    assert told((streamed(x), y), (streamed(x_test), y_test)) < 0.55


def test_several_concepts_and_a_number_are_erased_from_a_stream(planted, digits):
    eraser = fit_leace(planted, digits, None, ["digit", "coin", "place"])
    assert eraser.rank == 3
    x, y, _ = probing.arrays(planted, digits, "0.c", "train", "place")
    erased = eraser(x.astype(float))
    cross = (erased - erased.mean(0)).T @ (y - y.mean()) / len(y) / y.std()
    np.testing.assert_allclose(cross, 0, atol=1e-5)


def test_inlp_of_a_model_names_what_it_erased(planted, digits):
    eraser = fit_inlp(planted, digits, "0.h", "digit", rows=1000)
    assert (eraser.site, eraser.concepts, eraser.method) == ("0.h", ("digit",), "INLP")
    assert eraser.told[0] > 0.95
    assert eraser.told[-1] < 0.6
    with pytest.raises(InputError, match="name one"):
        fit_inlp(planted, digits)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("0.q", "digit"), "no site"),
        (("0.c", "nothing"), "no concept"),
        (("0.c", "never"), "one value"),
    ],
)
def test_an_unknown_site_or_concept_and_one_that_never_varies_are_refused(
    planted, digits, arguments, said
):
    with pytest.raises(InputError, match=said):
        fit_leace(planted, digits, *arguments)


def test_as_an_edit_it_erases_while_the_model_runs(planted, digits):
    eraser = fit_leace(planted, digits, "0.c", "digit")
    with pytest.raises(InputError, match="no site"):
        dataclasses.replace(eraser, site="").edit()
    text = b"ab12c3"
    ids = np.frombuffer(text, np.uint8)[:, None].astype(np.int32)

    def states(edits):
        state = language_model.initial_state(planted.config, 1)
        out = language_model.forward(
            planted.config, planted.parameters, ids, state, edits=edits, emit=("0.c",)
        )
        return np.asarray(out.emitted["0.c"])[:, 0]

    # In the carried state too, where only the first step is that of the unedited model.
    edits = make_edits(planted.config, [eraser.edit()])
    assert edits is not None
    before, after = states(None), states(edits.arrays)
    np.testing.assert_allclose(after[0], eraser(before[0]), atol=1e-5)
    told_by = (after - eraser.mean) @ eraser.into
    np.testing.assert_allclose(told_by, 0, atol=1e-4)


def test_its_edit_is_kept_in_a_file(planted, digits, tmp_path):
    edit = fit_leace(planted, digits, "0.c", "digit").edit(phase="generation")
    save_edits(tmp_path / "edits.json", [edit])
    (read,) = read_edits(tmp_path / "edits.json")
    assert (read.site, read.kind, read.phase) == ("0.c", "erase", "generation")
    for name in ("mean", "into", "out"):
        np.testing.assert_array_equal(read.values[name], edit.values[name])


def test_an_eraser_says_what_it_is_and_is_saved(planted, digits, tmp_path):
    eraser = fit_leace(planted, digits, "0.c", "digit")
    assert "LEACE of digit at 0.c: rank 1 of 16 units" in str(eraser)
    eraser.save(tmp_path / "eraser.json")
    saved = json.loads((tmp_path / "eraser.json").read_text())
    assert (saved["format_version"], saved["method"], saved["rank"]) == (1, "LEACE", 1)
    np.testing.assert_array_equal(saved["into"], eraser.into)
