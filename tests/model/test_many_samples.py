import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlstm.corpus.vocabulary import Bytes
from mlstm.errors import InputError
from mlstm.model import language_model, many_samples, sampling
from mlstm.model.config import ModelConfig
from mlstm.model.many_samples import generate_many
from mlstm.model.sampling import Choice
from mlstm.trained import Model

HIDDEN, UNIT, LOUD = 16, 3, ord("q")


@pytest.fixture(scope="module")
def model():
    """Two layers; unit 3 of the last h, which is never above 1, raises one byte."""
    config = ModelConfig(embedding=8, hidden=HIDDEN, layers=2)
    parameters = language_model.init_parameters(config, jax.random.key(0))
    parameters["readout"]["w"] *= 10
    parameters["readout"]["w"] = parameters["readout"]["w"].at[UNIT].set(0).at[UNIT, LOUD].set(30.0)
    return Model(config, parameters, Bytes())


def ids(*prompts: bytes) -> list[np.ndarray]:
    return [np.frombuffer(prompt, np.uint8).astype(np.int32) for prompt in prompts]


def setting(*values: float | None, unit: int = UNIT) -> dict:
    """For each value the edit that sets the unit to it; None changes nothing."""
    keep, add = np.ones((len(values), HIDDEN)), np.zeros((len(values), HIDDEN))
    for k, value in enumerate(values):
        if value is not None:
            keep[k, unit], add[k, unit] = 0, value
    stage = {"keep": jnp.asarray(keep, jnp.float32), "add": jnp.asarray(add, jnp.float32)}
    return {"1.h": (stage,)}


def written(model, prompts, length, edits, **settings) -> np.ndarray:
    return generate_many(model.config, model.parameters, prompts, length, edits, **settings)


def test_an_edit_that_changes_nothing_writes_what_generate_writes(model):
    made = written(model, ids(b"def "), 40, setting(None, 0.5, None), samples=3, seed=5)
    assert made.shape == (3, 1, 3, 40)
    alone = b"".join(
        bytes(block[0]) for block in sampling.generate(model, b"def ", 40, samples=3, seed=5)
    )
    assert bytes(made[0, 0, 0].tolist()) == alone
    np.testing.assert_array_equal(made[0], made[2])
    assert (made[0] != made[1]).any()


def test_each_edit_writes_what_generate_writes_under_it(model):
    edits = setting(-0.5, 0.9)
    made = written(model, ids(b"a", b"xyz"), 30, edits, reading=edits, seed=2)
    for k, value in enumerate((-0.5, 0.9)):
        (alone,) = zip(
            *sampling.generate(model, b"a", 30, seed=2, edits=f"1.h[{UNIT}]={value}"), strict=True
        )
        assert bytes(made[k, 0, 0].tolist()) == b"".join(alone)


def test_a_prompt_is_read_whole_whatever_stands_beside_it(model):
    long, short = b"z" * 150, b"ab"
    together = written(model, ids(long, short), 20, setting(None), choice=Choice(0.0))
    for k, prompt in enumerate((long, short)):
        alone = written(model, ids(prompt), 20, setting(None), choice=Choice(0.0))
        np.testing.assert_array_equal(together[:, k], alone[:, 0])


def test_an_edit_acts_while_it_is_told_to(model):
    prompts, quiet, loud = ids(b"some text"), setting(None), setting(1.0)
    in_writing = written(model, prompts, 30, loud)
    in_reading = written(model, prompts, 30, quiet, reading=loud)
    assert (in_writing == LOUD).mean() > 0.9
    # What was read under it makes the first token, and has then passed.
    assert (in_reading[..., 0] == LOUD).all()
    assert (in_reading[..., 1:] == LOUD).mean() < 0.5
    assert (written(model, prompts, 30, loud, reading=loud)[..., 0] == LOUD).all()


def test_how_many_are_written_at_once_and_in_what_blocks_changes_nothing(model):
    edits, prompts = setting(None, 0.1, 0.2, 0.3, 0.4), ids(b"def f", b"x")
    whole = written(model, prompts, 25, edits, samples=2)
    seen = []
    parts = written(
        model,
        prompts,
        25,
        edits,
        samples=2,
        block=7,
        streams=8,
        progress=lambda done, every: seen.append((done, every)),
    )
    np.testing.assert_array_equal(whole, parts)
    assert seen == sorted(seen)
    assert seen[-1] == (5 * 4 * 25, 5 * 4 * 25)


def test_other_values_seeds_and_prompts_do_not_compile_again(model):
    written(model, ids(b"abc", b"d"), 20, setting(0.1, 0.2), seed=1)
    before = many_samples._make._cache_size(), many_samples._read._cache_size()
    written(model, ids(b"x", b"yzzzzzzz"), 20, setting(0.7, -0.4, unit=5), seed=2)
    assert (many_samples._make._cache_size(), many_samples._read._cache_size()) == before


def test_the_same_seed_writes_the_same_and_another_something_else(model):
    first, again, other = (
        written(model, ids(b"abc"), 30, setting(0.1), seed=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize(
    ("prompts", "more", "said"),
    [
        ([], {}, "no prompt"),
        (ids(b"a", b""), {}, "prompt is empty"),
        (ids(b"a"), {"samples": 0}, "samples is 0"),
        (ids(b"a"), {"seed": -1}, "seed is -1"),
        (ids(b"a"), {"choice": Choice(-1.0)}, "temperature is -1"),
    ],
)
def test_what_cannot_be_written_is_one_line(model, prompts, more, said):
    with pytest.raises(InputError, match=said):
        written(model, prompts, 5, setting(0.1), **more)
