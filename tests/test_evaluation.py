import bz2
import json
import lzma
import math
import re
from typing import Any

import jax
import numpy as np
import pytest

from mlstm import devices, evaluation
from mlstm.corpus.shards import open_source, prepare_source
from mlstm.corpus.vocabulary import Bytes
from mlstm.errors import InputError
from mlstm.model import language_model
from mlstm.model.config import ModelConfig
from mlstm.model.scoring import Score
from mlstm.trained import Model

TEXT = b"".join(b"line %d of a text, and its cube is %d\n" % (n, n**3) for n in range(9000))


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_bytes(TEXT)
    return open_source(path, splits=(1, 0, 0)).split("train")


def test_bz2_and_xz_get_exactly_the_bytes_of_the_split(split):
    expected = {
        "bz2": 8 * len(bz2.compress(TEXT, 9)) / len(TEXT),
        "xz": 8 * len(lzma.compress(TEXT, preset=9 | lzma.PRESET_EXTREME)) / len(TEXT),
    }
    assert evaluation.compressed(split) == pytest.approx(expected)


def test_a_comparison_says_everything_in_print_and_in_json(split):
    config = ModelConfig(embedding=4, hidden=8)
    parameters = language_model.init_parameters(config, jax.random.key(0))
    seen = []
    result = evaluation.compare(
        Model(config, parameters, Bytes(), origin="runs/x, step 5"),
        split,
        text="book.txt",
        progress=lambda done, total: seen.append(done / total),
    )
    record = json.loads(result.to_json())
    assert record["bytes"] == len(TEXT) - 1
    assert record["compressed_bits_per_byte"].keys() == {"bz2", "xz"}
    for word in ("runs/x, step 5", "book.txt", f"{record['bits_per_byte']:.4f}", "xz", "bz2"):
        assert word in str(result)
    assert seen == sorted(seen)
    assert seen[-1] == 1


@pytest.mark.parametrize("reset_every", [0, 100])
def test_eight_devices_find_the_score_of_one(tmp_path, reset_every):
    (tmp_path / "text.txt").write_bytes(TEXT[: 2048 * 11])
    text = open_source(tmp_path / "text.txt", splits=(1, 0, 0)).split("train")
    config = ModelConfig(embedding=4, hidden=8, layers=2)
    model = Model(config, language_model.init_parameters(config, jax.random.key(0)), Bytes())
    alone = evaluation.evaluate(model, text, reset_every=reset_every)
    for shape in ((8, 1), (2, 4)):
        mesh = devices.mesh(*shape)
        found = evaluation.evaluate(model, text, reset_every=reset_every, mesh=mesh)
        assert found.bytes == alone.bytes == text.length - 1
        assert found.nats == pytest.approx(alone.nats, rel=1e-6)


def test_models_that_are_compared_have_each_a_seed_of_their_own(split):
    config = ModelConfig(embedding=4, hidden=8)
    parameters = language_model.init_parameters(config, jax.random.key(0))
    for seeds in ([], [3], [3, 3], [3, None]):
        models = [Model(config, parameters, Bytes(), seed=seed) for seed in seeds]
        with pytest.raises(InputError, match=rf"two or more .* are {re.escape(str(seeds))}"):
            evaluation.compare(models, split)


def test_a_population_with_a_score_that_is_no_number_has_no_mean():
    scores = {3: Score(100.0, 50, None), 4: Score(math.nan, 50, None)}
    result = evaluation.PopulationEvaluation("runs/x", "book.txt", scores, {"xz": 2.0}, 0)
    rows = {line.split("  ")[0]: line.split()[-1] for line in str(result).splitlines()}
    assert (rows["seed 3"], rows["seed 4"]) == ("2.0000", "nan")
    assert (rows["mean"], rows["std"]) == ("nan", "nan")
    record = json.loads(result.to_json(), parse_constant=pytest.fail)
    assert [each["bits_per_byte"] is None for each in record["seeds"]] == [False, True]
    assert record["bits_per_byte"] is record["standard_deviation"] is None


class Numbered:
    """A split whose every id is its own place."""

    length = 1001
    reset_points = np.array([0, 50, 300, 777])

    def read(self, start: int, stop: int) -> np.ndarray:
        assert 0 <= start <= stop <= self.length
        return np.arange(start, stop)


@pytest.mark.parametrize("length", [1, 7, 128, 129, 300, 10**9])
def test_blocks_of_any_length_are_read_in_order_by_windows_of_bounded_size(length):
    split: Any = Numbered()
    blocks = evaluation.Blocks(split, length)
    assert blocks.window <= 128
    assert blocks.window * blocks.batch_size <= 8192
    batches = [blocks.batch(0, window) for window in range(blocks.windows)]
    ids_TB, targets_TB, weights_TB, resets_TB = map(np.concatenate, zip(*batches, strict=True))
    counted = weights_TB == 1
    assert sorted(ids_TB[counted]) == list(range(split.length - 1))
    assert (targets_TB[counted] == ids_TB[counted] + 1).all()
    begins = (ids_TB % length == 0) | np.isin(ids_TB, split.reset_points)
    assert (resets_TB[counted] == begins[counted]).all()
    goes_on = counted[1:] & (ids_TB[1:] % length != 0)
    assert (ids_TB[:-1][goes_on] + 1 == ids_TB[1:][goes_on]).all()


def test_a_corpus_is_opened_at_its_test_split_and_a_file_whole(tmp_path):
    (tmp_path / "text.txt").write_bytes(TEXT[:1000])
    corpus = prepare_source(tmp_path / "text.txt", tmp_path / "corpus", splits=(0.5, 0.3, 0.2))
    split, name = evaluation.open_text(tmp_path / "corpus")
    assert (split.length, name) == (200, f"{corpus.folder} (test)")
    assert evaluation.open_text(tmp_path / "corpus", "validation")[0].length == 300
    split, name = evaluation.open_text(tmp_path / "text.txt")
    assert (split.length, name) == (1000, str(tmp_path / "text.txt"))
    with pytest.raises(InputError, match="not a prepared corpus"):
        evaluation.open_text(tmp_path / "text.txt", "test")
