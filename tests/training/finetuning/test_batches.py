"""Batches of few shapes that hold each text once."""

import numpy as np
import pytest

from mlstm.training.finetuning import batches

LENGTHS = [0, 3, 64, 65, 130, 700, 701, 1500, 90, 91, 92, 93, 2000]


@pytest.mark.parametrize("truncate", [0, 128, 100, 5000])
def test_each_text_is_in_one_batch_ends_at_its_end_and_has_all_its_ids(truncate):
    ids = [np.arange(n) % 251 for n in LENGTHS]
    sizes = batches.bucket_lengths(LENGTHS, truncate, 3)
    seen = []
    for texts in batches.plan(LENGTHS, 4, np.random.default_rng(0)):
        batch = batches.make(ids, texts, 4, sizes)
        assert len(batch.ids) - batch.before in sizes
        assert not truncate or len(batch.ids) - batch.before <= truncate
        for stream, text in enumerate(batch.texts.tolist()):
            if text >= 0:
                seen.append(text)
                found = batch.ids[batch.mask[:, stream], stream]
                np.testing.assert_array_equal(found, ids[text])
                if len(found):
                    assert batch.mask[-1, stream]
            else:
                assert not batch.mask[:, stream].any()
    assert sorted(seen) == list(range(len(LENGTHS)))


def test_the_lengths_are_those_that_waste_least():
    def cost(sizes):
        return sum(next(size for size in sizes if size >= n) for n in LENGTHS)

    found = batches.bucket_lengths(LENGTHS, 0, 3)
    assert len(found) == 3
    assert found[-1] == 2048
    places = range(64, 2049, 64)
    best = min(cost((a, b, 2048)) for a in places for b in places if a < b < 2048)
    assert cost(found) == best


def test_epochs_differ_in_who_is_beside_whom_and_seeds_repeat():
    lengths = np.random.default_rng(1).integers(10, 1000, 64)
    plans = [batches.plan(lengths, 8, np.random.default_rng([0, epoch])) for epoch in (1, 2, 1)]
    sets = [{frozenset(texts.tolist()) for texts in plan} for plan in plans]
    assert sets[0] != sets[1]
    assert all((a == b).all() for a, b in zip(plans[0], plans[2], strict=True))
    spread = np.mean([np.ptp(lengths[texts]) for texts in plans[0]])
    assert spread < 300  # of like length: at random it would be near 800
