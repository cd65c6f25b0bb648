"""Fine-tuning from end to end, on labels that only a changed model can tell."""

import dataclasses
import hashlib
import json
import shutil

import jax
import numpy as np
import pytest
import safetensors.numpy

import mlstm
from mlstm import classifier_files
from mlstm.classifier import BINARY, EXCLUSIVE, SEVERAL, Labelling
from mlstm.errors import InputError
from mlstm.training.finetuning import Examples, FinetuneConfig, finetune, measured, resuming
from mlstm.training.finetuning.examples import balanced, targets
from probing.evidence.probes.logistic import LogisticProbe

YES_NO = Labelling(BINARY, ("no", "yes"))
QUICK = FinetuneConfig(epochs=8, learning_rate=1e-2, freeze=100, buckets=1, poolings=("mean",))


@pytest.fixture(scope="module")
def made(model, planted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "q"
    return finetune(model, planted(256, 0), planted(128, 1), YES_NO, QUICK, folder), folder


def test_a_rare_byte_is_told_where_the_frozen_probe_fails(model, planted, made):
    made, _ = made
    train, test = planted(256, 0), planted(256, 2)
    decided = made.classifier.labelling.decide(
        made.classifier.predict_proba(test.texts), made.classifier.thresholds
    )
    found = measured(YES_NO, test.labels, decided)
    states = [model.encode(of.texts, pooling="mean") for of in (train, test)]
    probe = LogisticProbe().fit(states[0], train.labels)
    assert found.accuracy.value > 0.8
    assert probe.score(states[1], test.labels) < 0.7
    assert made.best > 0


def test_a_folder_is_a_model_and_a_classifier(planted, made):
    made, folder = made
    test = planted(30, 3).texts
    again = mlstm.load_classifier(folder)
    np.testing.assert_array_equal(again.predict_proba(test), made.classifier.predict_proba(test))
    assert again.predict(test) == made.classifier.predict(test)
    assert again.thresholds == made.classifier.thresholds
    model = mlstm.load(folder)
    np.testing.assert_array_equal(model.encode(test), made.classifier.model.encode(test))
    assert not (folder / resuming.FILE).exists()


@pytest.mark.parametrize("poolings", [("last",), ("mean", "max"), ("min", "last", "mean")])
def test_along_a_text_the_last_odds_are_those_of_all_of_it(model, planted, poolings):
    config = dataclasses.replace(QUICK, epochs=0, poolings=poolings, sizes=(3,))
    data = planted(32, 0)
    classifier = finetune(model, data, data, YES_NO, config).classifier
    texts = [b"a", b"abc q def " * 40, "é日".encode(), b""]
    along = classifier.along(texts)
    assert [each.shape for each in along] == [(len(text), 2) for text in texts]
    whole = classifier.predict_proba(texts)
    for each, row in zip(along[:3], whole, strict=False):
        np.testing.assert_allclose(each[-1], row, atol=1e-5)
    np.testing.assert_allclose(
        along[1][99], classifier.predict_proba([texts[1][:100]])[0], atol=1e-5
    )


def test_stopped_after_an_epoch_and_begun_again_it_ends_with_the_same_bits(
    model, planted, tmp_path
):
    config = dataclasses.replace(QUICK, epochs=3, dropout=0.2, language_model_loss=0.1, truncate=32)
    data = planted(48, 0), planted(32, 1)

    class Stopped(Exception):
        pass

    def stop(line):
        if line.startswith("epoch 1 "):
            raise Stopped

    whole = finetune(model, *data, YES_NO, config, tmp_path / "whole")
    with pytest.raises(Stopped):
        finetune(model, *data, YES_NO, config, tmp_path / "again", tell=stop)
    again = finetune(model, *data, YES_NO, config, tmp_path / "again")
    assert again.resumed == 1
    assert again.epochs == whole.epochs
    for name in ("model", "classifier"):
        one, other = (tmp_path / f / f"{name}.safetensors" for f in ("whole", "again"))
        assert one.read_bytes() == other.read_bytes()
    finished = finetune(model, *data, YES_NO, config, tmp_path / "again")
    assert finished.resumed == 3
    assert finished.epochs == whole.epochs


def test_a_folder_with_other_work_is_refused_and_says_what_is_other(model, planted, made):
    _, folder = made
    with pytest.raises(InputError, match="of epochs 8, not 9; give another folder"):
        finetune(
            model, planted(256, 0), planted(128, 1), YES_NO,
            dataclasses.replace(QUICK, epochs=9), folder,
        )  # fmt: skip
    with pytest.raises(InputError, match="of dev texts "):
        finetune(model, planted(256, 0), planted(128, 5), YES_NO, QUICK, folder)


def test_killed_between_saving_and_clearing_up_it_clears_up_when_begun_again(
    model, planted, tmp_path, monkeypatch
):
    data = planted(32, 0), planted(32, 1)
    config = dataclasses.replace(QUICK, epochs=0, freeze=5)

    def killed(folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(resuming, "remove", killed)
        with pytest.raises(KeyboardInterrupt):
            finetune(model, *data, YES_NO, config, tmp_path)
    assert (tmp_path / resuming.FILE).exists()
    assert finetune(model, *data, YES_NO, config, tmp_path).resumed == 0
    assert not (tmp_path / resuming.FILE).exists()


@pytest.mark.parametrize("names", [[f"{k}.npy" for k in range(15)], ["model.safetensors"]])
def test_the_folder_of_another_model_is_refused_and_left_as_it_was(model, planted, tmp_path, names):
    for name in names:
        (tmp_path / name).write_bytes(b"of others")
    data = planted(32, 0)
    with pytest.raises(InputError, match=r"is a model already .* give a folder of its own"):
        finetune(model, data, data, YES_NO, dataclasses.replace(QUICK, epochs=0), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


@pytest.mark.parametrize("last", [classifier_files.ARRAYS, classifier_files.ABOUT])
def test_killed_within_saving_it_goes_on(model, planted, tmp_path, monkeypatch, last):
    data = planted(32, 0), planted(32, 1)
    config = dataclasses.replace(QUICK, epochs=0, freeze=5)
    write = classifier_files.write_whole

    def killed(path, content):
        if path.name == last:
            raise KeyboardInterrupt
        write(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(classifier_files, "write_whole", killed)
        with pytest.raises(KeyboardInterrupt):
            finetune(model, *data, YES_NO, config, tmp_path)
    assert (tmp_path / classifier_files.MODEL).exists()
    assert finetune(model, *data, YES_NO, config, tmp_path).resumed == 0
    mlstm.load_classifier(tmp_path)


def test_a_damaged_state_is_named(model, planted, tmp_path):
    def stop(line):
        raise KeyboardInterrupt

    data = planted(32, 0)
    with pytest.raises(KeyboardInterrupt):
        finetune(model, data, data, YES_NO, QUICK, tmp_path, tell=stop)
    path = tmp_path / resuming.FILE
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        finetune(model, data, data, YES_NO, QUICK, tmp_path)


def test_several_labels_each_have_their_threshold(model):
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, (200, 2)).astype(float)
    texts = []
    for one, other in labels:
        letters = draw.choice(list(b"abc "), 30).astype(np.uint8)
        letters[: 6 * int(one)] = ord("x")
        letters[24 : 24 + 6 * int(other)] = ord("y")
        texts.append(letters.tobytes())
    labels[::7, 1] = np.nan
    labelling = Labelling(SEVERAL, ("x", "y"))
    cut = Examples(texts[:150], labels[:150]), Examples(texts[150:], labels[150:])
    config = dataclasses.replace(QUICK, epochs=3, thresholds="f1", class_weights="balanced")
    made = finetune(model, *cut, labelling, config).classifier
    assert len(made.thresholds) == 2
    odds = made.predict_proba(texts[150:])
    found = measured(labelling, labels[150:], made.labelling.decide(odds, made.thresholds))
    assert found.labels is not None
    assert found.labels["x"].f1.value > 0.9
    assert found.labels["y"].f1.value > 0.9
    names = [",".join(n for n, p, t in zip("xy", row, made.thresholds, strict=True) if p >= t)
             for row in odds]  # fmt: skip
    assert made.told(odds) == names
    assert {"", "x", "y", "x,y"} == set(names)


def test_one_of_many_classes(model):
    draw = np.random.default_rng(0)
    labels = np.arange(120) % 3
    texts = [bytes([b"xyz"[k]]) * 5 + draw.choice(list(b"abc"), 10).astype(np.uint8).tobytes()
             for k in labels]  # fmt: skip
    labelling = Labelling(EXCLUSIVE, ("x", "y", "z"))
    cut = Examples(texts[:90], labels[:90]), Examples(texts[90:], labels[90:])
    made = finetune(model, *cut, labelling, dataclasses.replace(QUICK, epochs=2))
    np.testing.assert_allclose(made.classifier.predict_proba(texts[:9]).sum(1), 1)
    assert made.classifier.predict([texts[90], texts[91], texts[92]]) == ["x", "y", "z"]
    assert made.classifier.thresholds == ()


def test_balanced_weights_give_each_side_the_same_sum():
    labels = np.array([[1, 1], [0, 1], [0, np.nan], [0, 0]], float)
    labelling = Labelling(SEVERAL, ("a", "b"))
    wanted, known = targets(labelling, labels)
    weights = balanced(labelling, wanted, known)
    assert weights[0, 0] == weights[1:, 0].sum() == 2
    assert weights[:2, 1].sum() == weights[3, 1] == 1.5
    assert weights[2, 1] == 0
    three = Labelling(EXCLUSIVE, ("a", "b", "c"))
    weights = balanced(three, *targets(three, np.array([0, 0, 0, 1])))
    np.testing.assert_allclose(weights[:, 0], [2 / 3, 2 / 3, 2 / 3, 2])


def test_the_users_model_is_left_as_it_was(model, planted):
    before = jax.tree.map(np.array, model.parameters)
    data = planted(32, 0)
    made = finetune(model, data, data, YES_NO, dataclasses.replace(QUICK, epochs=1))
    jax.tree.map(np.testing.assert_array_equal, model.parameters, before)
    changed = made.classifier.model.parameters
    assert made.best == 0 or not np.array_equal(changed["embedding"], before["embedding"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0, "freeze": 0}, "nothing to train"),
        ({"poolings": ("sum",)}, 'no pooling "sum"'),
        ({"sites": ("0.q",)}, 'no site "0.q"'),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"sizes": (4, 0)}, "sizes has 0"),
        ({"poolings": ("mean", "max", "mean")}, "poolings has mean twice"),
        ({"sites": ("0.c", " 0.c")}, "sites has 0.c twice"),
        ({"thresholds": "recall"}, "thresholds is 'recall'"),
    ],
)
def test_a_wrong_setting_is_named(model, planted, change, message):
    data = planted(32, 0)
    with pytest.raises(InputError, match=message):
        finetune(model, data, data, YES_NO, dataclasses.replace(QUICK, **change))


def test_a_loss_of_bytes_needs_a_readout_and_says_so_before_the_work(model, planted):
    rest = {name: of for name, of in model.parameters.items() if name != "readout"}
    config = dataclasses.replace(model.config, readout="none")
    mute = dataclasses.replace(model, config=config, parameters=rest)

    def progress(*done):
        raise AssertionError("texts are read already")

    data = planted(32, 0)
    settings = dataclasses.replace(QUICK, language_model_loss=0.1)
    with pytest.raises(InputError, match=r"language_model_loss is 0.1: the model has no readout"):
        finetune(mute, data, data, YES_NO, settings, progress=progress)


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        ([], [], "train: no texts"),
        ([b"a", b"b"], [1], "train: labels of shape"),
        ([b"a", b"b"], [1, 2], "whole numbers from 0 to 1"),
        ([b"a", b"b"], [1, 1], "all of 2 labelled texts are yes"),
        ([b"a", 3], [1, 0], r"texts\[1\] is a int"),
    ],
)
def test_wrong_labels_are_named(model, planted, texts, labels, message):
    with pytest.raises(InputError, match=message):
        finetune(model, Examples(texts, np.array(labels)), planted(32, 1), YES_NO, QUICK)


def test_an_epoch_whose_loss_is_not_finite_ends_with_a_line(model, planted):
    data = planted(32, 0)
    config = dataclasses.replace(QUICK, learning_rate=1e30, optimizer="sgd", clip=0.0, freeze=0)
    with pytest.raises(InputError, match=r"not finite in .* a lower learning rate"):
        finetune(model, data, data, YES_NO, config)


def test_a_head_that_is_not_finite_ends_with_a_line_and_leaves_no_classifier(
    model, planted, tmp_path
):
    data = planted(32, 0)
    config = FinetuneConfig(
        epochs=0, freeze=40, sizes=(8, 8), optimizer="sgd", learning_rate=1e30, poolings=("mean",)
    )
    with pytest.raises(InputError, match=r"32 of 32 dev texts are not finite; a lower learning"):
        finetune(model, data, data, YES_NO, config, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["head.0.w", "scale"])
def test_a_file_of_values_that_are_not_finite_is_refused(made, tmp_path, name):
    folder = tmp_path / "copy"
    shutil.copytree(made[1], folder)
    path, about = folder / classifier_files.ARRAYS, folder / classifier_files.ABOUT
    arrays = safetensors.numpy.load_file(path)
    arrays[name].flat[0] = np.nan
    path.write_bytes(safetensors.numpy.save(arrays))
    described = json.loads(about.read_text())
    described["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    about.write_text(json.dumps(described))
    with pytest.raises(InputError, match=f"array {name} has values that are not finite"):
        mlstm.load_classifier(folder)
