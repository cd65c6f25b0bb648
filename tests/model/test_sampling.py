import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlstm.corpus.vocabulary import Bytes
from mlstm.errors import InputError
from mlstm.model import language_model, sampling
from mlstm.model.config import ModelConfig
from mlstm.model.edits import make_edits, resolve
from mlstm.model.sampling import Choice
from mlstm.trained import Model


@pytest.fixture(scope="module")
def model():
    config = ModelConfig(embedding=8, hidden=16, layers=2)
    parameters = language_model.init_parameters(config, jax.random.key(0))
    # Fresh logits are nearly flat; the choices must be told apart.
    parameters["readout"]["w"] *= 30
    return Model(config, parameters, Bytes())


def text(model, prompt, length, **settings) -> list[bytes]:
    blocks = sampling.generate(model, prompt, length, **settings)
    return [b"".join(pieces) for pieces in zip(*blocks, strict=True)]


def logits_after(model, data: bytes, **settings) -> np.ndarray:
    """(T, V): what the forward pass says of the byte after each prefix."""
    ids = jnp.asarray(model.vocabulary.encode(data), jnp.int32)[:, None]
    state = language_model.initial_state(model.config, 1)
    out = language_model.forward(model.config, model.parameters, ids, state, **settings)
    return np.asarray(language_model.logits(model.parameters, out.hidden))[:, 0]


def test_the_same_seed_writes_the_same_bytes_whatever_the_block(model):
    whole, *others = (
        text(model, b"def ", 70, seed=3, samples=2, block=block) for block in (70, 1, 7, 64)
    )
    assert others == [whole] * 3


def test_samples_and_seeds_differ(model):
    first, second = text(model, b"def ", 40, samples=2)
    (third,) = text(model, b"def ", 40, seed=1)
    assert len({first, second, third}) == 3


def test_temperature_0_takes_the_likeliest_byte_at_every_step(model):
    (made,) = text(model, b"class A", 50, temperature=0.0)
    expected = logits_after(model, b"class A" + made)[6:-1].argmax(-1)
    assert list(made) == expected.tolist()


@pytest.mark.parametrize("settings", [{"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}])
def test_the_narrowest_choice_is_argmax(model, settings):
    assert text(model, b"x", 30, **settings) == text(model, b"x", 30, temperature=0.0)


def test_draws_follow_the_softmax_of_the_logits(model):
    counts, shares = drawn(model, Choice(temperature=2.0)), shares_after(model, 2.0)
    # Pearson's statistic over the bytes that are expected five times or more.
    common = shares * counts.sum() >= 5
    expected = shares[common] * counts.sum()
    statistic = ((counts[common] - expected) ** 2 / expected).sum()
    freedom = common.sum() - 1
    assert statistic < freedom + 5 * np.sqrt(2 * freedom)


def test_top_k_draws_from_the_k_likeliest_alone(model):
    likeliest = shares_after(model, 2.0).argsort()[::-1][:5]
    found = np.flatnonzero(drawn(model, Choice(2.0, top_k=5)))
    assert sorted(found) == sorted(likeliest)


def test_top_p_draws_from_the_fewest_bytes_that_reach_p(model):
    shares = shares_after(model, 2.0)
    order = shares.argsort()[::-1]
    nucleus = order[: 1 + np.searchsorted(np.cumsum(shares[order]), 0.5)]
    assert 1 < len(nucleus) < 256
    found = np.flatnonzero(drawn(model, Choice(2.0, top_p=0.5)))
    assert sorted(found) == sorted(nucleus)


def drawn(model, choice) -> np.ndarray:
    """How often each byte came first, of 4000 samples."""
    prompt = model.vocabulary.encode(b"The ")
    blocks = sampling.generate_ids(
        model.config, model.parameters, prompt, 1, choice=choice, samples=4000, block=1
    )
    return np.bincount(np.concatenate(list(blocks)).ravel(), minlength=256)


def shares_after(model, temperature) -> np.ndarray:
    return np.asarray(jax.nn.softmax(logits_after(model, b"The ")[-1].astype(float) / temperature))


@pytest.mark.parametrize("length", [1, 1023, 1024, 1025, 2500])
def test_a_prompt_of_any_length_is_read_whole(model, length):
    prompt = np.random.default_rng(length).integers(0, 256, length).astype(np.uint8)
    folded = language_model.fold(model.config, model.parameters)
    found, _ = sampling.read_prompt(model.config, folded, prompt)
    expected = logits_after(model, prompt.tobytes())[-1]
    np.testing.assert_allclose(found[0], expected, atol=1e-4 * abs(expected).max())


def test_edits_act_on_the_prompt_and_on_what_is_made(model):
    changes = ["0.c[3]=4", "1.h[5]+=1.5"]
    (made,) = text(model, b"while ", 40, temperature=0.0, edits=changes)
    arrays = make_edits(model.config, changes).arrays
    expected = logits_after(model, b"while " + made, edits=arrays)[5:-1].argmax(-1)
    assert list(made) == expected.tolist()
    assert made != text(model, b"while ", 40, temperature=0.0)[0]


def test_an_edit_of_one_phase_acts_in_it_alone(model):
    """What follows equals a forward pass whose edit begins, or ends, behind the prompt."""
    prompt, changes = b"while ", {"prompt": "0.c[3]=4@prompt", "generation": "0.c[3]=4@generation"}
    spans = {"prompt": "0.c[3]=4@:6", "generation": "0.c[3]=4@6:"}
    written = {}
    for phase, change in changes.items():
        (made,) = text(model, prompt, 40, temperature=0.0, edits=[change], block=16)
        same = make_edits(model.config, spans[phase])
        position = np.arange(len(prompt + made))[:, None]
        arrays = resolve(same.arrays, same.steps(np.zeros_like(position), position))
        expected = logits_after(model, prompt + made, edits=arrays)[5:-1].argmax(-1)
        assert list(made) == expected.tolist()
        written[phase] = made
    always = text(model, prompt, 40, temperature=0.0, edits=["0.c[3]=4"])[0]
    assert len({always, *written.values()}) == 3


def test_a_value_of_0_is_a_value(model):
    """Not a way to say that nothing is edited; on the prompt and at temperature 0 too."""
    plain = text(model, b"def f(", 60, temperature=0.0)
    muted = [f"0.c[{unit}]=0" for unit in range(8)]
    assert text(model, b"def f(", 60, temperature=0.0, edits=muted) != plain


def test_an_empty_prompt_is_a_line_end(model):
    assert text(model, b"", 20) == text(model, b"\n", 20)


def test_no_value_recompiles(model):
    def generate(prompt, length, temperature, k, p, edit):
        text(model, prompt, length, temperature=temperature, top_k=k, top_p=p, edits=[edit], seed=k)

    generate(b"a", 65, 1.0, 3, 0.5, "0.c[1]=1")
    before = sampling.make._cache_size(), sampling._read._cache_size()
    generate(b"abc" * 500, 10, 0.0, 7, 0.9, "0.c[9]*=0.5")
    assert (sampling.make._cache_size(), sampling._read._cache_size()) == before


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_k": -1}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"samples": 0}, "samples"),
        ({"block": 0}, "block"),
        ({"length": 0}, "length"),
        ({"edits": ["0.z[1]=1"]}, "0.z"),
    ],
)
def test_a_setting_that_cannot_be_is_named_before_anything_is_made(model, settings, word):
    with pytest.raises(InputError, match=word):
        sampling.generate(model, b"x", **({"length": 5} | settings))


def test_a_list_of_models_is_refused(model):
    with pytest.raises(InputError, match="one model is needed, not a list of 2"):
        sampling.generate([model, model], b"x", 5)
