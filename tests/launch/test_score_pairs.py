"""Pairs of a file with a model that costs what it is told to."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from launch.rows import Texts, told_by_line
from launch.score_pairs import added, score_pairs
from mlstm.errors import InputError, TextError
from mlstm.text_scores import TextScores

FIELDS = "good", "bad"


class Costs:
    """A model, and its own score: a bit for each byte that is charged."""

    def __init__(self, clean):
        self.clean = clean

    def __call__(self, model, texts):
        sizes = np.array([len(self.clean(text)) for text in texts], np.int64)
        none = np.zeros(len(texts), np.int64)
        return TextScores(sizes.astype(float), sizes, none, none)


def run(path, rows, *, by=None, clean: Callable[[bytes], bytes] = bytes):
    path.write_text("\n".join(map(json.dumps, rows)))
    texts = Texts(str(path), "good", added(FIELDS))
    model = object()
    return score_pairs(model, model, texts, FIELDS, by, Costs(clean), clean, None, None)  # pyright: ignore[reportArgumentType]


def test_a_row_without_a_group_is_named(tmp_path):
    rows = [{"good": "a", "bad": "b", "UID": "x"}, {"good": "a", "bad": "b"}]
    with pytest.raises(InputError, match=r"in\.jsonl:2: no field \"UID\""):
        run(tmp_path / "in.jsonl", rows, by="UID")


def test_what_else_would_choose_reads_what_the_model_is_charged_for(tmp_path):
    rows = [{"good": "  ab", "bad": "abc"}]
    found = run(tmp_path / "in.jsonl", rows, clean=bytes.strip)
    assert found.shares["shorter"].share == 1  # 2 bytes and 3; as they stand, 4 and 3
    rows = [{"good": "Xab", "bad": "Yab"}]
    found = run(tmp_path / "in.jsonl", rows, clean=lambda text: text[1:])
    assert found.shares["letters alone"].ties == 1
    rows += [{"good": "Xab", "bad": "Xabc"}]
    assert run(tmp_path / "in.jsonl", rows, clean=lambda t: t[1:]).shares["letters alone"].ties == 1


def test_a_pair_with_an_empty_text_has_no_bits_per_byte(tmp_path):
    rows = [{"good": "", "bad": "abc"}, {"good": "ab", "bad": "abc"}]
    found = run(tmp_path / "in.jsonl", rows)
    assert found.shares["bits per byte"].pairs == 1
    assert found.shares["bits"].pairs == 2
    assert found.shares["bits"].share == 1


def test_what_is_wrong_in_a_text_is_told_by_its_line(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(json.dumps({"good": str(k)}) for k in range(1030)))
    *_, last = Texts(str(path), "good", []).pieces()
    with pytest.raises(InputError, match=r"in\.jsonl:1027: so it is"):  # noqa: SIM117
        with told_by_line(str(path), last):
            raise TextError(2, "so it is")
