"""Edits of every kind: what they do to a state, when, from text and from files."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlstm.errors import InputError
from mlstm.model import edits, encoding
from mlstm.model import language_model as lm
from mlstm.model.edits import make_edits, parse_edit, resolve
from mlstm.model.edits.files import from_plain, to_plain

CONFIG = lm.ModelConfig(hidden=8, layers=2, vocabulary=11, embedding=5)
PARAMETERS = lm.init_parameters(CONFIG, jax.random.key(0))
RNG = np.random.default_rng(0)
POOL = RNG.normal(size=(5, 8)).astype(np.float32)
INTO, OUT = (RNG.normal(size=shape).astype(np.float32) for shape in ((8, 2), (2, 8)))


def one_step(changes, emit=("0.c", "0.h", "1.c"), position=0, prompt=None):
    """Sites after one step from a random state, of three streams, under edits."""
    made = make_edits(CONFIG, changes)
    arrays = None
    if made:
        at = np.full((1, 3), position)
        arrays = resolve(made.arrays, made.steps(np.arange(3)[None], at, prompt))
    state = jax.tree.map(
        lambda x: jax.random.normal(jax.random.key(1), x.shape), lm.initial_state(CONFIG, 3)
    )
    return lm.forward(CONFIG, PARAMETERS, jnp.array([[1, 2, 3]]), state, edits=arrays, emit=emit)


X = np.asarray(one_step([]).emitted["0.c"][0])  # (3, 8), unedited


def expected(units, new):
    changed = X.copy()
    changed[:, units] = new
    return changed


LOW, HIGH = -0.1 * np.ones(2), np.array([0.2, 0.3])
KINDS = {
    "zero": (edits.zero("0.c", [1, 4]), expected([1, 4], 0)),
    "zero of all": (edits.zero("0.c"), np.zeros_like(X)),
    "set": (edits.set_to("0.c", 3, -0.7), expected(3, -0.7)),
    "mean": (edits.mean("0.c", [1, 4], [0.5, 0.25]), expected([1, 4], [0.5, 0.25])),
    "shift": (edits.shift("0.c", [0], 2), expected([0], X[:, [0]] + 2)),
    "scale": (edits.scale("0.c", [0, 2], [3, -1]), expected([0, 2], X[:, [0, 2]] * [3, -1])),
    "clamp": (
        edits.clamp("0.c", [0, 5], LOW, HIGH),
        expected([0, 5], X[:, [0, 5]].clip(LOW, HIGH)),
    ),
    "patch": (edits.patch("0.c", [6, 7], POOL[:1, :2]), expected([6, 7], POOL[0, :2])),
    "erase": (edits.erase("0.c", POOL[0], INTO, OUT), X + (X - POOL[0]) @ INTO @ OUT),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_does_what_it_says(kind):
    edit, wanted = KINDS[kind]
    np.testing.assert_allclose(one_step([edit]).emitted["0.c"][0], wanted, atol=1e-6)


def test_resampled_units_keep_what_they_have_in_common_and_are_drawn_by_seed_text_and_position():
    def drawn(seed, position=0):
        change = edits.resample("0.c", [2, 5], POOL[:, :2], seed)
        return np.asarray(one_step([change], position=position).emitted["0.c"][0][:, [2, 5]])

    first = drawn(0)
    rows = {tuple(row) for row in POOL[:, :2]}
    assert all(tuple(row) in rows for row in first)
    np.testing.assert_array_equal(drawn(0), first)
    seen = {tuple(row) for k in range(20) for row in drawn(k % 2, position=k)}
    assert seen == rows


def test_several_edits_act_in_their_order():
    changes = ["0.c[1]=2", "0.c[1]+=1", "0.c[1]*=3", "0.c[2]=-1..0.1", "0.c[2]+=5", "0.c[3]*=0.5"]
    found = one_step([*changes, edits.erase("0.c", POOL[0], INTO, OUT)]).emitted["0.c"][0]
    wanted = X.copy()
    wanted[:, 1] = 9
    wanted[:, 2] = X[:, 2].clip(-1, 0.1) + 5
    wanted[:, 3] *= 0.5
    wanted += (wanted - POOL[0]) @ INTO @ OUT
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_edits_at_every_step_of_single_units_are_one_stage_and_others_are_stages():
    made = make_edits(CONFIG, ["0.c[1]=2", "0.c[1]*=3", "0.c[2]=0..1", "0.c[3]=4", "1.h[0]+=1"])
    assert {key: len(stages) for key, stages in made.arrays.items()} == {"0.c": 1, "1.h": 1}
    made = make_edits(CONFIG, ["0.c[1]=0..1", "0.c[1]=3", "0.c[1]=4@2:3", "0.c[1]=5"])
    assert len(made.arrays["0.c"]) == 4
    assert [place for _, place in made.placed] == [2]


def test_no_edit_and_one_that_never_acts_change_nothing_bitwise():
    assert make_edits(CONFIG, []) is None
    plain = one_step([])
    for change in ("0.c[1]=3@5:9", "1.c[2]=4@generation"):
        for a, b in zip(jax.tree.leaves(one_step([change])), jax.tree.leaves(plain), strict=True):
            np.testing.assert_array_equal(a, b)
    for change in ("0.c[1]*=1", "0.h[*]+=0"):  # another program, which may fuse otherwise
        for a, b in zip(jax.tree.leaves(one_step([change])), jax.tree.leaves(plain), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)


def assert_close(a, b):
    """Equal but for what another program rounds otherwise."""
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_an_edit_of_c_acts_before_the_output_or_from_the_next_step_on():
    plain, before, after = (
        one_step(change) for change in ([], "0.c[3]=0.25", "0.c[3]=0.25@after_step")
    )
    assert not np.allclose(before.emitted["0.h"], plain.emitted["0.h"])
    assert_close(after.emitted["0.h"], plain.emitted["0.h"])
    for found in (before, after):
        np.testing.assert_array_equal(found.emitted["0.c"][..., 3], 0.25)
        np.testing.assert_array_equal(found.state[0]["c"][:, 3], 0.25)


def test_an_edit_of_h_may_be_for_one_of_its_readers_alone():
    plain = one_step([])
    read = one_step("0.h[2]=0.5@readout")
    assert_close(read.state[0]["h"], plain.state[0]["h"])
    assert not np.allclose(read.emitted["1.c"], plain.emitted["1.c"])  # the layer above reads it
    carried = one_step("0.h[2]=0.5@recurrence")
    np.testing.assert_array_equal(carried.state[0]["h"][:, 2], 0.5)
    assert_close(carried.emitted["1.c"], plain.emitted["1.c"])
    last = one_step("1.h[2]=0.5@recurrence")
    assert_close(last.hidden, plain.hidden)
    np.testing.assert_array_equal(one_step("1.h[2]=0.5@readout").hidden[..., 2], 0.5)


@pytest.mark.parametrize(
    ("change", "prompt", "strengths"),
    [
        ("0.c[0]=1@2:4", None, [0, 0, 1, 1, 0, 0]),
        ("0.c[0]=1@3:", None, [0, 0, 0, 1, 1, 1]),
        ("0.c[0]=1@ramp=4", None, [0.25, 0.5, 0.75, 1, 1, 1]),
        ("0.c[0]=1@1:@ramp=2", None, [0, 0.5, 1, 1, 1, 1]),
        ("0.c[0]=1@prompt", 2, [1, 1, 0, 0, 0, 0]),
        ("0.c[0]=1@generation", 2, [0, 0, 1, 1, 1, 1]),
        ("0.c[0]=1@generation@ramp=2", 2, [0, 0, 0.5, 1, 1, 1]),
        ("0.c[0]=1@generation", None, [0] * 6),
    ],
)
def test_when_an_edit_acts(change, prompt, strengths):
    made = make_edits(CONFIG, change)
    position = np.arange(6)[:, None]
    steps = made.steps(np.zeros_like(position), position, prompt)
    np.testing.assert_allclose(steps["0.c"]["0"]["strength"][:, 0], strengths)


def test_a_ramp_moves_a_state_from_its_own_value_to_the_new_one():
    found = one_step("0.c[1]=2@ramp=4", position=1).emitted["0.c"][0]
    np.testing.assert_allclose(found, expected(1, X[:, 1] / 2 + 1), atol=1e-6)


# None magnifies a state from step to step: then two orders of rounding agree in no digit.
EVERY_KIND = [
    *(KINDS[kind][0] for kind in ("zero", "set", "mean", "shift", "clamp", "patch")),
    edits.scale("0.c", [0, 2], [0.3, -1]),
    edits.erase("0.c", POOL[0], 0.1 * INTO, OUT),
    edits.resample("0.c", [2, 5], POOL[:, :2]),
    edits.resample("1.h", None, POOL, start=3, reads="recurrence"),
    edits.patch("1.c", None, POOL, start=2, when="after_step"),
    edits.shift("0.h", [1], 0.3, reads="readout", ramp=7),
    edits.shift("0.m", [1, 2], 0.3, start=2, stop=9),
    edits.scale("1.o", None, 0.7),
    edits.clamp("1.h", None, -0.3, 0.4),
    edits.erase("1.h", POOL[0], 0.1 * INTO, OUT, reads="readout", start=1),
]


@pytest.mark.parametrize(
    "way",
    [
        {"chunk": 5},
        {"chunk": 5, "keep": "states", "unroll": 3},
        {"chunk": 5, "layout": "columns"},
        {"chunk": 64, "layout": "columns", "keep": "states"},
        pytest.param({"chunk": 5, "weight_norm": False}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_every_kind_is_the_same_fast_as_readable_forward_and_backward(way):
    """On a two-layer model in float64, and the gradients for all terms of the edits as well."""
    config = dataclasses.replace(CONFIG, **way)
    time, streams = 12, 3
    with jax.enable_x64(True):
        keys = iter(jax.random.split(jax.random.key(3), 40))
        parameters = lm.init_parameters(config, next(keys), jnp.float64)
        ids = jax.random.randint(next(keys), (time, streams), 0, config.vocabulary)
        given = {
            "mask": jax.random.bernoulli(next(keys), 0.8, ids.shape),
            "resets": jax.random.bernoulli(next(keys), 0.1, ids.shape),
        }
        state = jax.tree.map(
            lambda x: jax.random.normal(next(keys), x.shape), lm.initial_state(config, streams)
        )

        def loss(parameters, state, arrays, reference):
            output = lm.forward(
                config,
                parameters,
                ids,
                state,
                **given,
                edits=arrays,
                emit=("0.c", "0.h", "1.h", "1.o"),
                reference=reference,
            )
            counted = output._replace(hidden=output.hidden * given["mask"][..., None])
            return sum(
                jnp.sin(x + k).mean() for k, x in enumerate(jax.tree.leaves(counted))
            ), output

        both = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True), static_argnums=3)
        text, position = np.mgrid[:streams, :time].T.reshape(time, streams, 2).transpose(2, 0, 1)
        for changes in (EVERY_KIND[:8], EVERY_KIND[8:]):
            made = make_edits(config, changes)
            arrays = resolve(made.arrays, made.steps(text, position))
            arrays = jax.tree.map(lambda x: x.astype(jnp.float64), arrays)
            (_, fast), fast_gradients = both(parameters, state, arrays, False)
            (_, plain), plain_gradients = both(parameters, state, arrays, True)
            for (path, a), b in zip(
                jax.tree_util.tree_leaves_with_path((fast, fast_gradients)),
                jax.tree.leaves((plain, plain_gradients)),
                strict=True,
            ):
                name, a, b = jax.tree_util.keystr(path), np.asarray(a), np.asarray(b)
                assert np.isfinite(a).all(), name
                assert np.abs(a - b).max() <= 1e-10 * np.abs(b).max() + 1e-15, name


def test_other_values_units_and_texts_do_not_recompile():
    def run(texts, change):
        made = make_edits(CONFIG, [change])
        windows = encoding.stream_states(
            CONFIG, PARAMETERS, texts, ("1.h",), streams=2, window=8, edits=made
        )
        return [np.asarray(window.states["1.h"]) for window in windows]

    def texts(*lengths):
        return [RNG.integers(0, 11, n).astype(np.uint8) for n in lengths]

    pairs = [
        (edits.set_to("0.c", 1, 2.0), edits.scale("0.c", [3, 4], 0.0)),
        (edits.set_to("0.c", 1, 2.0, start=3), edits.shift("0.c", [2, 3], 1, phase="prompt")),
        (edits.clamp("0.h", 1, 0, 1), edits.clamp("0.h", [3, 5], -1, 0.5)),
        (edits.resample("0.c", [1], POOL[:, :1]), edits.resample("0.c", [2, 3], POOL[:, 1:3], 7)),
        (edits.patch("0.c", None, POOL), edits.patch("0.c", [5], POOL[:, :1], start=4)),
        (edits.erase("0.c", POOL[0], INTO, OUT), edits.erase("0.c", POOL[1], -INTO, OUT)),
    ]
    for first, second in pairs:
        run(texts(20, 3), first)
        compiled = encoding._window._cache_size()
        run(texts(1, 2, 30, 4), second)
        assert encoding._window._cache_size() == compiled, str(second)


WRITTEN = [
    "0.c[17]=1",
    "0.c[3,5]*=0",
    "1.h[2,3,4]+=0.5@readout@10:20",
    "0.c[*]=-1..1@after_step",
    "0.c[0]=-2.5@generation@ramp=50",
    "0.c[0]=0@:7",
    "0.c[0]=0@prompt@7:",
]


@pytest.mark.parametrize("text", WRITTEN)
def test_an_edit_that_is_written_is_read_back(text):
    edit = parse_edit(text)
    assert str(edit) == text.replace("@:7", "@0:7")
    assert str(parse_edit(str(edit))) == str(edit)
    assert parse_edit("1.h[2:5]+=1").units == (2, 3, 4)


@given(
    st.lists(
        st.sampled_from(
            ["0", "17", ".", "c", "[", "]", "=", "+", "-", "*", ":", "@", "..", "ramp=3", "prompt"]
        )
    ).map("".join)
    | st.text(max_size=20)
)
def test_any_text_is_an_edit_or_refused(text):
    try:
        read = parse_edit(text)
    except InputError:
        return
    assert str(parse_edit(str(read))) == str(read)


def test_edits_go_to_a_file_and_back(tmp_path):
    path = tmp_path / "edits.json"
    edits.save_edits(path, EVERY_KIND)
    back = edits.read_edits(path)
    assert [to_plain(edit) for edit in back] == [to_plain(edit) for edit in EVERY_KIND]
    for one, other in zip(EVERY_KIND, back, strict=True):
        for a, b in zip(
            jax.tree.leaves(make_edits(CONFIG, [one]).arrays),
            jax.tree.leaves(make_edits(CONFIG, [other]).arrays),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)


FILES = {
    "{": "no JSON",
    "[]": "format_version None",
    '{"format_version": 9, "edits": []}': "format_version 9; this version reads 1",
    '{"format_version": 1, "edits": {}}': "list",
}
ITEMS = [
    ({"kind": "explode"}, "no kind of edit 'explode'"),
    ({"kind": "set", "site": "0.c"}, "needs value"),
    ({"kind": "set", "site": "0.c", "value": 1, "colour": 2}, "has no 'colour'"),
    ({"kind": "set", "site": "0.c", "value": float("nan")}, "not finite"),
    ({"kind": "set", "site": "0.c", "value": [1, float("inf")]}, "not finite"),
    ({"kind": "set", "site": "0.c", "value": "much"}, "no number"),
    ({"kind": "set", "site": "c", "value": 1}, "not a site"),
    ({"kind": "set", "site": "0.c", "value": 1, "units": [1.5]}, "whole numbers"),
    ({"kind": "set", "site": "0.c", "value": 1, "units": []}, "units have to be some"),
    ({"kind": "set", "site": "0.c", "value": 1, "units": [2, 2]}, "each of them once"),
    ({"kind": "set", "site": "0.c", "value": 1, "phase": "dreams"}, 'phase is "dreams"'),
    ({"kind": "set", "site": "0.h", "value": 1, "when": "after_step"}, "of c alone"),
    ({"kind": "set", "site": "0.c", "value": 1, "reads": "readout"}, "of h alone"),
    ({"kind": "set", "site": "0.c", "value": 1, "start": "3"}, "whole number"),
    ({"kind": "set", "site": "0.c", "value": 1, "start": 3, "stop": 3}, "begins at 3"),
    ({"kind": "set", "site": "0.c", "value": 1, "start": None}, "whole number"),
    ({"kind": "set", "site": "0.c", "value": 1, "ramp": None}, "whole number"),
    ({"kind": "set", "site": "0.c", "value": 1, "ramp": -1}, "ramp is -1"),
    ({"kind": "set", "site": "0.c", "value": 10**400}, "no number"),
    ({"kind": "patch", "site": "0.c", "states": [[1] * 8], "start": 10**30}, "start is"),
    ({"kind": "resample", "site": "0.c", "pool": [[1]], "seed": None}, "seed is None"),
    ({"kind": "clamp", "site": "0.c", "low": 1, "high": 0}, "low is above high"),
    ({"kind": "patch", "site": "0.c", "states": [[]]}, "empty"),
    ({"kind": "erase", "site": "0.c", "mean": [0], "into": [[1]], "out": [[1, 2], [3, 4]]}, "into"),
    ({"kind": "resample", "site": "0.c", "pool": [[1]], "seed": "x"}, "seed is 'x'"),
]


@pytest.mark.parametrize("content", FILES)
def test_a_file_that_is_none_gets_one_line(content, tmp_path):
    path = tmp_path / "edits.json"
    path.write_text(content)
    with pytest.raises(InputError, match=FILES[content]) as error:
        edits.read_edits(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("item", "part"), ITEMS)
def test_an_item_that_is_none_gets_one_line(item, part, tmp_path):
    path = tmp_path / "edits.json"
    path.write_text(json.dumps({"format_version": 1, "edits": [item]}))
    with pytest.raises(InputError) as error:
        edits.read_edits(path)
    assert part in str(error.value)
    assert f"{path}: edits[0]" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("2.c[0]=1", 'no site "2.c"'),
        ("0.q[0]=1", "0.m, 0.i"),
        ("0.c[8]=1", "0 to 7"),
        ("0.c[2:9]=1", "0 to 7"),
        ("0.c=1", "not an edit"),
        ("0.c[1]", "not an edit"),
        ("0.c[1]=one", '"one"'),
        ("0.c[1]=inf", "not a number below"),
        ("0.c[1]=1e39", "not a number below"),
        ("0.c[1]=1..0", "low is above high"),
        ("0.c[99999999999]=1", "no list of units"),
        ("0.c[]=1", "no list of units"),
        ("0.c[3:3]=1", "no range of units"),
        ("0.c[1]-=2", "not an edit"),
        ("0.c[1]=2@dawn", '"@dawn"'),
        ("0.c[1]=2@ramp=1@ramp=2", "says twice"),
        ("0.h[1]=2@after_step", "of c alone"),
        ("0.c[1]=2@5:4", "begins at 5"),
    ],
)
def test_an_edit_that_cannot_be_says_what_would_be_right(text, part):
    with pytest.raises(InputError) as error:
        make_edits(CONFIG, [text])
    assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_values_of_another_width_are_refused():
    for edit in (
        edits.mean("0.c", [1, 2], [0.0, 1.0, 2.0]),
        edits.patch("0.c", None, POOL[:, :3]),
        edits.erase("0.c", POOL[0][:4], INTO[:4], OUT[:, :4]),
    ):
        with pytest.raises(InputError, match="units, not"):
            make_edits(CONFIG, [edit])


def test_a_patch_ends_behind_its_last_row_wherever_it_comes_from():
    for edit in (
        edits.patch("0.c", None, POOL, start=2),
        from_plain({"site": "0.c", "kind": "patch", "states": POOL.tolist(), "start": 2}),
    ):
        assert (edit.start, edit.stop) == (2, 2 + len(POOL))
    assert edits.patch("0.c", None, POOL, stop=3).stop == 3


def test_a_plain_edit_needs_no_fields_that_have_their_defaults():
    plain = to_plain(parse_edit("0.c[1]=2"))
    assert plain == {"site": "0.c", "kind": "set", "units": [1], "value": 2.0}
    assert str(from_plain(plain)) == "0.c[1]=2"
