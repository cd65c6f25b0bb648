import contextlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from mlstm.errors import InputError
from probing.evidence.probes import LDAProbe, LogisticProbe, RidgeProbe, load_probe, save_probe
from probing.evidence.probes.saved import KEY

GOOD = {
    "format_version": 1,
    "kind": "LogisticProbe",
    "site": "0.c",
    "model_digest": "ab12",
    "class_type": "str",
    "classes": ["bad", "good"],
}
ARRAYS = {"coef": np.ones((1, 3)), "intercept": np.zeros(1), "scale": np.ones(3)}


def data(classes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 5)).astype(np.float32) * [1, 100, 0.01, 1, 1]
    return X, np.asarray(classes)[np.digitize(X[:, 0] + X[:, 3], np.arange(len(classes) - 1))]


@pytest.mark.parametrize("classes", [["bad", "good"], ["a", "b", "c"], [3, 5, 9], [False, True]])
@pytest.mark.parametrize("kind", [LogisticProbe, LDAProbe, RidgeProbe])
def test_a_loaded_probe_tells_new_states_as_the_fitted_one(tmp_path, classes, kind):
    X, y = data(classes)
    probe = kind().fit(X[:150], y[:150])
    save_probe(probe, tmp_path / "p.safetensors", site="0.c", model_digest="ab12")
    loaded = load_probe(tmp_path / "p.safetensors")
    np.testing.assert_allclose(
        loaded.decision_function(X[150:]), probe.decision_function(X[150:]), rtol=1e-6, atol=1e-6
    )
    assert (loaded.predict(X[150:]) == probe.predict(X[150:])).all()
    assert loaded.classes.dtype.kind == probe.classes_.dtype.kind
    np.testing.assert_array_equal(loaded.coef_standard, probe.coef_standard_)
    if kind is not RidgeProbe:
        np.testing.assert_allclose(
            loaded.predict_proba(X[150:]), probe.predict_proba(X[150:]), atol=1e-6
        )
    assert (loaded.kind, loaded.site, loaded.model_digest) == (kind.__name__, "0.c", "ab12")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "format_version 2 cannot be read; this program reads 1"),
        ({"site": 7}, "site is 7; it is text"),
        ({"classes": ["good"]}, "classes are not two or more"),
        ({"classes": ["good", "good"]}, "classes are not two or more"),
        ({"classes": ["a", "b", "c"]}, "for 3 classes it is float64"),
        ({"class_type": "object"}, "classes are not two or more"),
        ({"class_type": "int", "classes": [1, 2**70]}, "beyond 64 bits"),
    ],
)
def test_a_wrong_description_is_named(tmp_path, change, message):
    path = tmp_path / "p.safetensors"
    path.write_bytes(save(ARRAYS, {KEY: json.dumps(GOOD | change)}))
    with pytest.raises(InputError, match=message) as error:
        load_probe(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"coef": np.full((1, 3), np.nan)}, "not finite"),
        ({"coef": np.ones((1, 4))}, "it is float64"),
        ({"coef": np.ones((1, 3), np.float32)}, "float32"),
        ({"more": np.ones(3)}, "arrays coef, intercept, more, scale"),
    ],
)
def test_wrong_arrays_are_named(tmp_path, arrays, message):
    path = tmp_path / "p.safetensors"
    path.write_bytes(save(ARRAYS | arrays, {KEY: json.dumps(GOOD)}))
    with pytest.raises(InputError, match=message):
        load_probe(path)


def test_what_is_no_saved_probe_is_said_to_be_none(tmp_path):
    path = tmp_path / "p.safetensors"
    with pytest.raises(InputError, match="cannot be read"):
        load_probe(path)
    with pytest.raises(InputError, match="cannot be read"):
        load_probe(tmp_path)
    path.write_bytes(save(ARRAYS))
    with pytest.raises(InputError, match="not a saved probe"):
        load_probe(path)
    path.write_bytes(save(ARRAYS, {KEY: "{"}))
    with pytest.raises(InputError, match="not JSON"):
        load_probe(path)


WHOLE = save(ARRAYS, {KEY: json.dumps(GOOD)})


@settings(max_examples=150, deadline=None)
@given(
    cut=st.integers(0, len(WHOLE)),
    place=st.integers(0, len(WHOLE) - 1),
    byte=st.integers(0, 255),
)
def test_a_damaged_file_is_read_or_refused_but_never_fails_otherwise(
    tmp_path_factory, cut, place, byte
):
    path = tmp_path_factory.mktemp("damaged") / "p.safetensors"
    damaged = bytearray(WHOLE)
    damaged[place] = byte
    for content in (bytes(damaged), WHOLE[:cut]):
        path.write_bytes(content)
        with contextlib.suppress(InputError):
            load_probe(path)


def test_states_of_another_width_are_refused(tmp_path):
    path = tmp_path / "p.safetensors"
    path.write_bytes(WHOLE)
    with pytest.raises(InputError, match=r"reads \(rows, 3\)"):
        load_probe(path).predict(np.ones((2, 4)))


def test_classes_that_no_file_can_hold_are_refused(tmp_path):
    X, y = data([0, 1])
    probe = LogisticProbe().fit(X, y)
    probe.classes_ = np.array([0, "one"], object)
    with pytest.raises(InputError, match="cannot be saved"):
        save_probe(probe, tmp_path / "p.safetensors", site="0.c", model_digest="ab12")
    assert not list(tmp_path.iterdir())
