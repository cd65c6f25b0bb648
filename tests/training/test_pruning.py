"""What is pruned has no weight, no state and no moment, at every step, however it is trained."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mlstm
from mlstm.corpus.shards import open_source
from mlstm.corpus.stream import Stream
from mlstm.errors import InputError
from mlstm.model import language_model, pruning
from mlstm.model.cells import gain_of
from mlstm.model.config import ModelConfig
from mlstm.runs import member
from mlstm.training import loop
from mlstm.training import pruning as masks
from mlstm.training import setup as setups
from mlstm.training import state as states
from mlstm.training.config import Config, from_config_dict, to_dict
from mlstm.training.step import make_train_step

H = 16
UNITS = {"0.c": (3, 5, 15), "0.m": (0, 7)}
TEXT = "0.c[3,5,15] 0.m[0,7]"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    text = np.random.default_rng(0).integers(97, 105, 2500).astype(np.uint8)
    (folder / "text.txt").write_bytes(text.tobytes())
    return open_source(folder / "text.txt", folder / "corpus")


def config_of(corpus, **changes):
    values = {
        "model.hidden": H, "model.embedding": 8, "data.source": str(corpus.folder),
        "data.batch": 8, "data.window": 8, "train.steps": 20, "train.prune": TEXT,
        "optimizer.learning_rate": 0.01, "optimizer.weight_decay": 0.1, "optimizer.clip_norm": 1.0,
        "log.every": 4, "log.samples": 0, "log.gate_saturation": False,
        "checkpoint.every": 5, "checkpoint.newest": 9, "checkpoint.log_spaced": False,
    } | changes  # fmt: skip
    tree = to_dict(Config())
    for name, value in values.items():
        section, _, field = name.rpartition(".")
        (tree[section] if section else tree)[field] = value
    return from_config_dict(tree)


def trained(corpus, steps, parameters=None, **changes):
    setup = setups.make(config_of(corpus, **changes), corpus)
    state = setup.create(parameters)
    for step in range(steps):
        batch = setup.stream.batch(0, step % setup.stream.windows)
        state, _ = setup.train_step(state, setup.place(batch))
    return setup, jax.device_get(
        jax.tree.map(lambda x: None if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x, state)
    )


def check_dead(parameters, layer, h, m, last, multiplicative):
    """By name, and not by what the code under test says of the arrays."""
    of = parameters["layers"][str(layer)]
    made = {"wx": h, "wh": h, "b": h} | ({"wmx": m, "wmh": m} if multiplicative else {})
    for weight, units in made.items():
        for name in {weight, gain_of(weight)} & of.keys():
            assert not of[name][..., list(units)].any(), name
            assert of[name][..., [u for u in range(H) if u not in units]].any()
    reads = {"wmh": h, "wh": m} if multiplicative else {"wh": h}
    for name, units in reads.items():
        assert not of[name][list(units)].any()
    if last:
        assert not parameters["readout"]["w"][list(h)].any()
    else:
        above = parameters["layers"][str(layer + 1)]
        for name in {"wx", "wmx"} & above.keys():
            assert not above[name][list(h)].any()


FEW = ("adamw", "muon", "adagrad")
OPTIMIZERS = ["adamw", "muon", "sgd", "adam", "nadamw", "adagrad", "lamb", "lion", "rmsprop"]


@pytest.mark.parametrize(
    "optimizer",
    [pytest.param(name, marks=[pytest.mark.slow] * (name not in FEW)) for name in OPTIMIZERS],
)
def test_every_optimizer_leaves_what_is_pruned_at_exactly_zero(corpus, optimizer):
    setup, state = trained(corpus, 6, **{"optimizer.name": optimizer})
    check_dead(state.parameters, 0, UNITS["0.c"], UNITS["0.m"], last=True, multiplicative=True)
    assert not any(masks.remains(setup.config.model, state).values())
    for name in ("h", "c"):
        assert not state.carry[0][name][:, list(UNITS["0.c"])].any()
        assert state.carry[0][name].any(axis=0).sum() == H - 3
    moments = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(state.optimizer)
        if "'wh'" in jax.tree_util.keystr(path) and leaf.shape == (H, 4, H)
    ]
    assert moments
    for moment in moments:
        assert not moment[..., [3, 5, 15]].any()
        assert not moment[[0, 7]].any()
        assert moment.any()


def test_an_optimizer_that_pushes_every_number_brings_no_unit_back(corpus):
    config = config_of(corpus)
    noise = optax.add_noise(eta=1.0, gamma=0.1, key=jax.random.key(0))
    optimizer = optax.chain(noise, optax.adam(0.01), optax.add_noise(1.0, 0.1, jax.random.key(1)))
    step = make_train_step(
        config.model, optimizer, lambda _: jnp.float32(0.01), windows=9, log_every=1,
        stop_on_nonfinite=True,
    )  # fmt: skip
    state = states.init(config, optimizer)
    stream = Stream(corpus.split("train"), 8, 8)
    for window in range(3):
        state, _ = jax.jit(step)(state, stream.batch(0, window)._replace(resets=None))
    found = jax.device_get(state.parameters)
    check_dead(found, 0, UNITS["0.c"], UNITS["0.m"], last=True, multiplicative=True)
    assert not any(masks.remains(config.model, state).values())
    free = state._replace(mask=None)  # as it would be without a mask
    for window in (3, 4):
        free, _ = jax.jit(step)(free, stream.batch(0, window)._replace(resets=None))
    assert all(masks.remains(config.model, free._replace(mask=state.mask)).values())


KINDS = {
    "two layers": {"model.layers": 2, "train.prune": "0.c[3,5,15] 0.m[0,7] 1.c[2] 1.m[1]"},
    "lstm": {"model.cell": "lstm", "train.prune": "0.c[3,5,15]"},
    "no weight normalisation": {"model.weight_norm": False},
    "two layers of lstm": {
        "model.cell": "lstm", "model.layers": 2, "model.dropout": 0.2, "train.prune": "0.c[3,5,15]",
    },
    "states alone, in columns": {"model.keep": "states", "model.layout": "columns"},
    "bfloat16, in parts": {"model.products": "bfloat16", "train.accumulate": 2},
}  # fmt: skip


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] * (n > 2)) for n, kind in enumerate(KINDS)]
)
def test_every_kind_of_model_keeps_its_pruned_units_dead(corpus, kind):
    changes = {"optimizer.name": "muon"} | KINDS[kind]
    setup, state = trained(corpus, 4, **changes)
    model = setup.config.model
    multiplicative = model.cell == "multiplicative_lstm"
    m = (0, 7) if multiplicative else ()
    check_dead(state.parameters, 0, (3, 5, 15), m, model.layers == 1, multiplicative)
    if "1.c" in changes.get("train.prune", ""):
        check_dead(state.parameters, 1, (2,), (1,), True, True)
    assert not any(masks.remains(model, state).values())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.parameters))


@pytest.mark.parametrize(
    "kind",
    [
        {"model.cell": "gru"},
        {"model.cell": "gru_reset_before"},
        {"model.cell": "rnn", "model.layers": 3, "model.residual": True},
    ],
    ids=lambda kind: kind["model.cell"],
)
def test_a_pruned_unit_of_a_cell_without_c_is_dead(corpus, kind):
    setup, state = trained(corpus, 4, **{"train.prune": "0.h[3,5,15]"}, **kind)
    model, ids = setup.config.model, np.arange(97, 105, dtype=np.int32)[:, None]
    assert not any(masks.remains(model, state).values())
    hidden = language_model.forward(
        model, state.parameters, ids, language_model.initial_state(model, 1), emit=("0.h",)
    ).emitted["0.h"]
    dead = np.zeros(model.hidden, bool)
    dead[[3, 5, 15]] = True
    assert (np.asarray(hidden)[..., dead] == 0).all()
    assert (np.asarray(hidden)[..., ~dead] != 0).all()


def emitted(model, parameters, reference, products="float32"):
    ids = np.random.default_rng(1).integers(97, 105, (20, 3)).astype(np.int32)
    sites = ("0.m", "0.c", "0.h") if model.cell == "multiplicative_lstm" else ("0.c", "0.h")
    state = language_model.initial_state(model, 3)

    def nats(parameters):
        out = language_model.forward(
            model, parameters, ids[:-1], state, emit=sites, reference=reference
        )
        cost = language_model.negative_log_likelihood(model, parameters, out.hidden, ids[1:])
        return cost.sum(), out.emitted

    (loss, states), gradient = jax.value_and_grad(nats, has_aux=True)(parameters)
    return loss, states, gradient


@pytest.mark.parametrize("keep", ["products", "states"])
@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_the_fast_loop_of_a_pruned_model_is_the_readable_one(keep, layout):
    model = ModelConfig(hidden=H, embedding=8, keep=keep, layout=layout)
    parameters = language_model.init_parameters(model, jax.random.key(0))
    alive = pruning.alive_units(model, UNITS)
    parameters = pruning.prune(model, parameters, alive)
    loss, states, gradient = emitted(model, parameters, reference=False)
    want, _, want_gradient = emitted(model, parameters, reference=True)
    assert float(loss) == pytest.approx(float(want), rel=1e-5)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(want_gradient), strict=True):
        assert np.isfinite(a).all()
        assert np.abs(a - b).max() <= 1e-5 * np.abs(b).max()
    for site, units in {"0.c": (3, 5, 15), "0.h": (3, 5, 15), "0.m": (0, 7)}.items():
        assert not np.asarray(states[site])[..., list(units)].any()
        assert (np.asarray(states[site]).any((0, 1))).sum() == H - len(units)


@pytest.mark.parametrize(("layers", "weight_norm"), [(1, True), (2, True), (1, False)])
def test_the_mask_acts_behind_weight_normalisation(layers, weight_norm):
    model = ModelConfig(hidden=H, embedding=8, layers=layers, weight_norm=weight_norm)
    parameters = language_model.init_parameters(model, jax.random.key(0))
    alive = pruning.alive_units(model, UNITS)
    pruned = pruning.prune(model, parameters, alive)
    for layer in range(layers):
        before, after = (
            language_model._module(model, p).layers[str(layer)] for p in (parameters, pruned)
        )
        for kind in ("weights", "input_weights"):
            for name, w in getattr(before, kind)().items():
                want, found = np.array(w), np.asarray(getattr(after, kind)()[name])
                if layer == 0:
                    dead = (0, 7) if name in ("wmx", "wmh") else (3, 5, 15)
                    want[..., list(dead)] = 0
                    for reader, rows in (("wmh", [3, 5, 15]), ("wh", [0, 7])):
                        if name == reader:
                            want[rows] = 0
                elif name in ("wx", "wmx"):
                    want[[3, 5, 15]] = 0
                np.testing.assert_allclose(found, want, atol=2e-7, err_msg=f"{layer} {name}")


def test_nothing_pruned_changes_no_parameter_and_no_checkpoint(corpus):
    model = config_of(corpus).model
    parameters = language_model.init_parameters(model, jax.random.key(0))
    same = pruning.prune(model, parameters, pruning.alive_units(model, {}))
    for a, b in zip(jax.tree.leaves(parameters), jax.tree.leaves(same), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    state = setups.make(config_of(corpus, **{"train.prune": ""}), corpus).create()
    assert state.mask is None
    assert "mask" not in state.saved()


def test_a_population_has_one_mask_or_one_for_each(corpus):
    _, shared = trained(corpus, 2, seeds=2)
    for seed in (0, 1):
        parameters = member(shared.parameters, range(2), seed)
        check_dead(parameters, 0, (3, 5, 15), (0, 7), last=True, multiplicative=True)
    _, own = trained(corpus, 2, seeds=2, **{"train.prune": "0.c[1];0.c[2,4] 0.m[3]"})
    for seed, (h, m) in enumerate([((1,), ()), ((2, 4), (3,))]):
        check_dead(member(own.parameters, range(2), seed), 0, h, m, True, multiplicative=True)


@pytest.mark.slow
def test_a_mesh_trains_the_same_pruned_population(corpus):
    _, want = trained(corpus, 2, seeds=2)
    _, found = trained(corpus, 2, seeds=2, **{"mesh.data": 2, "mesh.model": 2})
    for a, b in zip(jax.tree.leaves(want), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize(
    "mesh",
    [
        (4, 2),
        pytest.param((8, 1), marks=pytest.mark.slow),
        pytest.param((2, 4), marks=pytest.mark.slow),
    ],
)
def test_a_mesh_trains_the_same_pruned_model(corpus, mesh):
    parameters = language_model.init_parameters(config_of(corpus).model, jax.random.key(3))
    _, want = trained(corpus, 4, parameters)
    data, model = mesh
    setup, found = trained(corpus, 4, parameters, **{"mesh.data": data, "mesh.model": model})
    check_dead(found.parameters, 0, (3, 5, 15), (0, 7), last=True, multiplicative=True)
    assert not any(masks.remains(setup.config.model, found).values())
    for a, b in zip(jax.tree.leaves(want), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_a_run_that_is_killed_goes_on_with_its_mask_and_ends_with_the_same_bits(corpus, tmp_path):
    config = config_of(corpus, **{"optimizer.name": "muon"})
    whole = loop.run(config, tmp_path / "whole")
    assert whole.ended == "finished"
    another = config_of(corpus, **{"optimizer.name": "muon", "train.prune": "0.c[1]"})
    with pytest.raises(InputError, match=r"begun with another config: train\.prune was"):
        loop.run(another, tmp_path / "whole")
    loop.run(config, tmp_path / "cut")
    for step in (20, 15):  # as a run that was killed behind step 10 has left it
        folder = tmp_path / "cut" / "checkpoints" / str(step)
        for path in sorted(folder.rglob("*"), reverse=True) if folder.exists() else []:
            path.rmdir() if path.is_dir() else path.unlink()
        if folder.exists():
            folder.rmdir()
    loop.run(config, tmp_path / "cut")
    assert json.loads((tmp_path / "cut" / "config.json").read_text())["train"]["prune"] == TEXT
    models = [mlstm.load(tmp_path / name, 20) for name in ("whole", "cut")]
    for a, b in zip(*(jax.tree.leaves(m.parameters) for m in models), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    for step in (5, 10, 20):
        model = mlstm.load(tmp_path / "cut", step)
        assert isinstance(model, mlstm.Model)
        check_dead(
            jax.device_get(model.parameters), 0, (3, 5, 15), (0, 7), True, multiplicative=True
        )
        values = model.encode([b"abcdefgh"], "0.c,0.h,0.m")[0]
        assert sorted(np.flatnonzero(values == 0)) == [3, 5, 15, 19, 21, 31, 32, 39]


def test_a_unit_that_is_not_dead_is_never_saved(corpus, tmp_path, monkeypatch):
    real = pruning.prune

    def leaky(model, parameters, alive):
        pruned = real(model, parameters, alive)
        pruned["layers"]["0"]["b"] = pruned["layers"]["0"]["b"].at[0, 3].set(1.0)
        return pruned

    monkeypatch.setattr("mlstm.training.state.prune", leaky)
    with pytest.raises(AssertionError, match=r"step 5: pruned units are not 0 in the parameters"):
        loop.run(config_of(corpus), tmp_path / "run")
    assert not list((tmp_path / "run" / "checkpoints").glob("[0-9]*"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0.c[16]", "no units 16 at site"),
        ("0.c[5-3]", "no units 5-3 at site"),
        ("0.x[1]", 'no site "0.x" in this model'),
        ("2.c[1]", 'no site "2.c" in this model'),
        ("0.i[1]", "are gates of others; prune 0.c or 0.m"),
        ("0.c", "names no units"),
        ("0.c[0-15]", 'all 16 units of "0.c" pruned leave nothing'),
        ("0.h[0-7] 0.c[8-15]", 'all 16 units of "0.c" pruned leave nothing'),
        ("0.m[0-15]", 'all 16 units of "0.m" pruned leave nothing'),
        ("0.c[1];0.c[2]", "2 lists of units, config.seeds is 1"),
    ],
)
def test_a_mask_that_cannot_be_is_one_line(corpus, text, said):
    with pytest.raises(InputError, match=r"config\.train\.prune") as met:
        config_of(corpus, **{"train.prune": text})
    assert said in str(met.value)
    assert "\n" not in str(met.value)


def test_adafactor_is_refused(corpus):
    with pytest.raises(InputError, match="never 0 for a unit; any other optimizer prunes"):
        config_of(corpus, **{"optimizer.name": "adafactor"})


def test_units_are_read_as_they_are_written():
    model = ModelConfig(hidden=H, layers=2)
    units = pruning.parse_units(model, " 0.h[1-2,3] 1.m[4, 5] 0.c[2]")
    assert units == {"0.c": (1, 2, 3), "1.m": (4, 5)}
    assert pruning.parse_units(model, pruning.format_units(units)) == units


def test_a_run_may_begin_at_another_window(corpus):
    setup = setups.make(config_of(corpus, **{"data.first_window": 3}), corpus)
    assert int(setup.create().position.window) == 3
    windows = setup.stream.windows
    with pytest.raises(InputError, match=f"an epoch of this text has {windows} windows"):
        setups.make(config_of(corpus, **{"data.first_window": windows}), corpus)
