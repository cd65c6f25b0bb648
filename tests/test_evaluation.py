import bz2
import json
import lzma

import jax
import pytest

from mlstm import evaluation
from mlstm.corpus.shards import open_source
from mlstm.corpus.vocabulary import Bytes
from mlstm.loading import Model
from mlstm.model import language_model
from mlstm.model.language_model import ModelConfig

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
