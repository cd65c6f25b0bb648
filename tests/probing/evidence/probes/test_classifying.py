import dataclasses
import json

import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from mlstm.corpus.vocabulary import Bytes
from mlstm.errors import InputError
from mlstm.model import language_model
from mlstm.model.config import ModelConfig
from mlstm.trained import Model
from probing.evidence.probes.classifying import fit_classifier, load_classifier
from probing.tasks import LabelledData, LabelledDocument, Labels, every_byte, stored

NEW = ["some é words", b"", b"\xff 12", "a &amp; b 7"]


def made(seed=0, hidden=16, step=3, origin="run, step 3"):
    config = ModelConfig(hidden=hidden, embedding=4)
    parameters = language_model.init_parameters(config, jax.random.key(seed))
    return Model(config, parameters, Bytes(), origin=origin, step=step)


def labelled(unit):
    """Texts that end in a digit or in a letter; of bytes, whether each is a digit."""
    draw = np.random.default_rng(1)
    documents = []
    for k in range(60):
        data = bytes(draw.choice(list(b"abcd 0123"), 20).tolist()) + (b"7" if k % 2 else b"x")
        digit = np.array([chr(byte).isdigit() for byte in data])[:, None]
        labels = every_byte(digit, np.zeros((len(data), 0)))
        if unit == "document":
            end = np.array([len(data) - 1], np.int32)
            labels = Labels(end, end * 0, end + 1, digit[-1:], labels.numbers[-1:])
        documents.append(LabelledDocument(f"{k}", data, stored(labels)))
    return LabelledData(
        "ends", "drawn", unit, ("digit",), (), tuple(documents), exclusive=True, otherwise="other"
    )


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    return fit_classifier(made(), labelled("document"), folder, cleaning="openai")


def test_probabilities_are_those_of_scikit_learn_on_the_same_features(kept):
    model, data = made(), labelled("document")
    train = data.indices("train")
    X = model.encode([data.documents[i].data for i in train], "0.c", cleaning="openai")
    y = ["digit" if data.documents[i].data.endswith(b"7") else "other" for i in train]
    scaler = StandardScaler().fit(X.astype(float))
    reference = LogisticRegression(C=kept.about.C, tol=1e-6, max_iter=5000)
    reference.fit(scaler.transform(X), y)
    new = scaler.transform(model.encode(NEW, "0.c", cleaning="openai"))
    assert kept.classes == reference.classes_.tolist()
    np.testing.assert_allclose(
        kept.predict_proba(model, NEW), reference.predict_proba(new), atol=2e-3
    )


def test_what_is_read_back_gives_equal_probabilities_and_figures(kept):
    again = load_classifier(kept.folder)
    assert again.about == kept.about
    assert again.about.accuracy["train"] > again.about.majority["train"]
    np.testing.assert_array_equal(again.predict_proba(made(), NEW), kept.predict_proba(made(), NEW))
    assert again.check(made()) == ""


def test_along_a_text_are_the_probabilities_of_its_beginnings(tmp_path):
    model = made()
    kept = fit_classifier(model, labelled("document"), tmp_path, cleaning="none")
    text = "é words 12".encode()
    [along] = kept.along(model, [text])
    beginnings = [text[:end] for end in range(1, len(text) + 1)]
    np.testing.assert_allclose(along, kept.predict_proba(model, beginnings), atol=1e-5)
    assert [part.shape for part in kept.along(model, NEW)] == [(13, 2), (0, 2), (4, 2), (11, 2)]


def test_a_probe_of_bytes_is_applied_along_the_text_only(tmp_path):
    model = made()
    kept = fit_classifier(model, labelled("byte"), tmp_path, concept="digit")
    assert kept.classes == ["digit", "not digit"]
    [along] = kept.along(model, ["ab12cd"])
    assert along[2:4, 0].min() > along[[0, 1, 4, 5], 0].max()
    with pytest.raises(InputError, match="a probe of bytes"):
        kept.predict_proba(model, ["a"])
    with pytest.raises(InputError, match="pooling and cleaning say nothing"):
        fit_classifier(model, labelled("byte"), tmp_path, pooling="mean")


def test_other_models_are_named(kept):
    assert "step 4 is read" in kept.check(made(1, step=4, origin="run, step 4"))
    with pytest.raises(InputError, match="elsewhere, step 3 has other parameters"):
        kept.check(made(1, origin="elsewhere, step 3"))
    with pytest.raises(InputError, match="of 16 units; run, step 3 has 8"):
        kept.check(made(hidden=8))
    other = dataclasses.replace(kept, probe=dataclasses.replace(kept.probe, site="1.c"))
    with pytest.raises(InputError, match=r"site 1\.c; run, step 3 has the sites 0\."):
        other.check(made())


def test_pooled_states_have_no_along_and_damage_is_named(tmp_path):
    kept = fit_classifier(made(), labelled("document"), tmp_path, pooling="mean")
    with pytest.raises(InputError, match="fitted on the mean"):
        kept.along(made(), ["a"])
    file = tmp_path / "classifier.json"
    whole = json.loads(file.read_text())
    for damaged, words in (
        (json.dumps(whole | {"probe": "0"}), "is not the one that"),
        (json.dumps(whole | {"format_version": 9}), "format_version 1"),
        ("{", "not JSON"),
    ):
        file.write_text(damaged)
        with pytest.raises(InputError, match=words):
            load_classifier(tmp_path)
