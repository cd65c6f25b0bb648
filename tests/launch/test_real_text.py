"""Facts of real texts that were measured elsewhere; needs the folder that MLSTM_DATA names."""

import json

import pytest

import mlstm
from mlstm import evaluation
from mlstm.corpus.stream import Stream


@pytest.fixture(scope="module")
def plays(mlstm_data, tmp_path_factory):
    text = mlstm_data / "text" / "tinyshakespeare.txt"
    folder = tmp_path_factory.mktemp("plays") / "corpus"
    return mlstm.open_source(text, folder, splits=(0.9, 0.1, 0))


def test_tiny_shakespeare_is_split_as_nanogpt_splits_it(plays):
    train, held_out = plays.split("train"), plays.split("validation")
    assert (train.length, held_out.length) == (1_003_854, 111_540)
    together = bytes(train.read(0, train.length)) + bytes(held_out.read(0, held_out.length))
    assert len(set(together)) == 65


def test_bz2_needs_for_tiny_shakespeare_what_was_published(mlstm_data):
    split = mlstm.open_source(mlstm_data / "text" / "tinyshakespeare.txt", splits=(1, 0, 0)).split(
        "train"
    )
    assert evaluation.compressed(split)["bz2"] == pytest.approx(2.356, abs=0.001)


def test_every_byte_of_the_held_out_plays_but_the_first_is_scored_once(plays):
    split = plays.split("validation")
    stream = Stream(split, 32, 256, context=256)
    assert sum(stream.batch(0, w).weights.sum() for w in range(stream.windows)) == 111_539


@pytest.mark.slow
def test_the_shakespeare_config_reaches_its_figure(mlstm_data, launch, tmp_path):
    text = mlstm_data / "text" / "tinyshakespeare.txt"
    run = tmp_path / "run"
    flags = f"--config.data.source={text}", f"--workdir={run}"
    trained = launch("train", "--config=shakespeare", *flags)
    assert trained.returncode == 0, trained.stderr
    figures = tmp_path / "figures.json"
    launch("evaluate", f"--model={run}", "--split=validation", f"--json={figures}")
    assert json.loads(figures.read_text())["nats_per_byte"] < 1.50
