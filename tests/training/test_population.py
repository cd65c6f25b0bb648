"""Several seeds trained at once are the runs that each of them would have been alone."""

import dataclasses
import json
import math
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mlstm
from mlstm.corpus.shards import open_source
from mlstm.errors import InputError
from mlstm.runs import member
from mlstm.training import loop
from mlstm.training import setup as setups
from mlstm.training import state as states
from mlstm.training.config import Config, from_config_dict, to_dict
from mlstm.training.setup import Setup
from mlstm.training.state import OF_MODELS
from mlstm.training.validation import Validation

SEEDS = range(3, 11)
WITNESSES = [0, 3, 7]  # of the seeds, by their index: each is a run of its own to compare with


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    numbers = np.random.default_rng(0)
    for name in range(40):  # each about 60 bytes: most windows have a document's start
        text = numbers.integers(97, 105, numbers.integers(30, 100)).astype(np.uint8)
        (folder / f"{name}.txt").write_bytes(text.tobytes())
    return open_source(
        folder, tmp_path_factory.mktemp("corpus") / "of it", splits=(1, 0, 0), reset="document"
    )


def config_of(changes):
    values = {
        "model.hidden": 16, "model.embedding": 8, "data.source": "text", "data.batch": 4,
        "data.window": 8, "train.steps": 100, "optimizer.learning_rate": 0.01, "log.every": 1,
        "seed": SEEDS[0], "seeds": len(SEEDS),
    } | changes  # fmt: skip
    tree = to_dict(Config())
    for name, value in values.items():
        section, _, field = name.rpartition(".")
        (tree[section] if section else tree)[field] = value
    return from_config_dict(tree)


def make(corpus, dtype=jnp.float32, **changes):
    return setups.make(config_of(changes), corpus, dtype)


def losses(setup, state, steps):
    """The loss of each step, with the seeds (where there are any) along the last axis."""
    found = []
    for step in range(steps):
        batch = setup.stream.batch(0, step % setup.stream.windows)
        state, metrics = setup.train_step(state, setup.place(batch))
        found.append(metrics.nats)
    return np.array(jax.device_get(found))


def alone(corpus, steps, dtype=jnp.float32, **changes):
    """The losses of a run for each witness, one after another."""
    setup = make(corpus, dtype, **changes, seeds=1)
    states_of = [
        states.create(
            dataclasses.replace(setup.config, seed=SEEDS[i]), setup.optimizer, setup.mesh, dtype
        )
        for i in WITNESSES
    ]
    return np.stack([losses(setup, state, steps) for state in states_of], axis=-1)


def bits(tree):
    keys = jax.tree.map(
        lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x,
        tree,
    )
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(keys)]


def of_seed(state, seed):
    """The part of a state that belongs to the model of one seed."""
    own = [part for part, axis in zip(state, OF_MODELS, strict=True) if axis == 0]
    return member(own, SEEDS, seed)


def test_the_seeds_begin_as_they_would_alone(corpus):
    state = make(corpus).create()
    single = make(corpus, seeds=1)
    for seed in (SEEDS[0], SEEDS[-1]):
        config = dataclasses.replace(single.config, seed=seed)
        one = states.create(config, single.optimizer, single.mesh)
        found, want = member(state.parameters, SEEDS, seed), one.parameters
        assert bits(member(state.key, SEEDS, seed)) == bits(one.key)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-7)


ADAMW = {"optimizer.name": "adamw", "model.output_dropout": 0.3}
MUON = {"optimizer.name": "muon", "model.layers": 2, "model.dropout": 0.2}


@pytest.mark.parametrize(
    ("recipe", "meshes"),
    [
        (ADAMW, [(1, 1), (8, 1)]),
        pytest.param(MUON, [(4, 2)], marks=pytest.mark.slow),
    ],
)
def test_50_steps_of_a_population_are_those_of_its_seeds_alone_in_float64(corpus, recipe, meshes):
    with jax.enable_x64(True):
        want = alone(corpus, 50, jnp.float64, **recipe)
        for data, model in meshes:
            placed = {"mesh.data": data, "mesh.model": model}
            setup = make(corpus, jnp.float64, **recipe, **placed)
            assert setup.resets_inside
            state = setup.create()
            weight = state.parameters["layers"]["0"]["wh"]
            piece = (8 // data, 16, 4, 16 // model)
            assert {shard.data.shape for shard in weight.addressable_shards} == {piece}
            found = losses(setup, state, 50)
            np.testing.assert_allclose(found[:, WITNESSES], want, rtol=0, atol=1e-9)
            assert len(np.unique(found[-1])) == len(SEEDS)


@pytest.mark.parametrize(
    ("recipe", "mesh"), [pytest.param(ADAMW, (4, 2), marks=pytest.mark.slow), (MUON, (1, 1))]
)
def test_3_steps_of_a_population_are_those_of_its_seeds_alone_in_float32(corpus, recipe, mesh):
    setup = make(corpus, **recipe, **{"mesh.data": mesh[0], "mesh.model": mesh[1]})
    found = losses(setup, setup.create(), 3)
    np.testing.assert_allclose(found[:, WITNESSES], alone(corpus, 3, **recipe), rtol=1e-5)


def test_devices_that_share_the_seeds_exchange_nothing(corpus):
    setup = make(corpus, **{"optimizer.name": "muon", "mesh.data": 8})
    batch = setup.place(setup.stream.batch(0, 0))
    program = setup.train_step.lower(setup.abstract(), batch).compile().as_text()
    for exchange in ("all-reduce", "all-gather", "all-to-all", "collective-permute"):
        assert exchange not in program


@pytest.mark.parametrize(("on_nonfinite", "groups"), [("skip", 1), ("stop", 1), ("skip", 4)])
def test_a_model_that_is_not_finite_keeps_its_state_and_disturbs_no_other(
    corpus, on_nonfinite, groups
):
    changes = {"train.on_nonfinite": on_nonfinite, "mesh.data": groups}
    setup = make(corpus, **changes, **{"model.output_dropout": 0.3})
    assert states.side_by_side(setup.config) == (groups > 1)
    bad = SEEDS[5]
    first, second = (setup.place(setup.stream.batch(0, window)) for window in (0, 1))

    def begin(spoiled):
        state = setup.create()
        if not spoiled:
            return state
        embedding = state.parameters["embedding"].at[SEEDS.index(bad)].set(jnp.nan)
        return state._replace(parameters=state.parameters | {"embedding": embedding})

    good, _ = setup.train_step(begin(False), first)
    before = bits(of_seed(begin(True), bad)[:3])  # parameters, optimizer, carry
    state, metrics = setup.train_step(begin(True), first)
    assert bits(of_seed(state, bad)[:3]) == before
    assert state.first_bad_step.tolist() == [1 if seed == bad else -1 for seed in SEEDS]
    assert state.skipped.tolist() == [int(seed == bad) for seed in SEEDS]
    assert np.isnan(metrics.nats).tolist() == [seed == bad for seed in SEEDS]
    good, _ = setup.train_step(good, second)
    state, _ = setup.train_step(state, second)
    for seed in SEEDS:
        if seed != bad:
            assert bits(of_seed(state, seed)) == bits(of_seed(good, seed))
    assert bits(of_seed(state, bad)[:3]) == before


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_bytes(np.random.default_rng(0).integers(97, 105, 6000).astype(np.uint8).tobytes())
    return path


@pytest.fixture(scope="module")
def run(text):
    def train(workdir, init_from=None, **changes):
        config = config_of(
            {
                "data.source": str(text), "data.folder": str(text.parent / "corpus"),
                "train.steps": 8, "train.validation_batch": 4, "train.validation_window": 16,
                "train.validate_every": 4, "optimizer.schedule": "constant", "log.every": 2,
                "log.sample_bytes": 4, "checkpoint.every": 4, "seeds": 2,
            } | changes
        )  # fmt: skip
        return loop.run(config, workdir, init_from=init_from)

    return train


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    """The folder of a run of the seeds 3 and 4."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    run(folder)
    return folder


def lines(folder, kind):
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in found if line["kind"] == kind]


def leaves(folder, step):
    path = folder / "checkpoints" / str(step) / "metadata" / "metadata"
    return json.loads(path.read_text())["body"]["leaves"]


def scores(folder):
    """Bits per byte of each seed, by the last validation."""
    return lines(folder, "validation")[-1]["bits_per_byte_of_seeds"]


def test_a_run_resumed_is_the_one_never_stopped_and_on_a_mesh_but_for_rounding(
    tmp_path, run, whole, capsys
):
    assert (whole / "samples" / "8.txt").exists()

    def resumed(name, **changes):
        folder = shutil.copytree(whole, tmp_path / name)
        shutil.rmtree(folder / "checkpoints" / "8")
        run(folder, **changes)
        said = capsys.readouterr().err
        assert "for each of the seeds 3 to 4" in said
        assert "resuming from step 4 of 8" in said
        return folder

    again = resumed("again")
    assert leaves(again, 8) == leaves(whole, 8)
    assert [{**r, "bytes_per_second": 0} for r in lines(again, "train")] == [
        {**r, "bytes_per_second": 0} for r in lines(whole, "train")
    ]
    moved = resumed("moved", **{"mesh.data": 2, "mesh.model": 2})
    assert scores(moved) == pytest.approx(scores(whole), rel=1e-5)


def test_each_model_of_a_run_is_that_of_its_seed_alone(tmp_path, run, whole):
    models = mlstm.load(whole)
    logged = lines(whole, "validation")[-1]
    assert logged["bits_per_byte"] == pytest.approx(np.mean(logged["bits_per_byte_of_seeds"]))
    assert [model.seed for model in models] == [3, 4]
    for seed, model, score in zip((3, 4), models, logged["bits_per_byte_of_seeds"], strict=True):
        single = run(tmp_path / f"seed{seed}", seed=seed, seeds=1, **{"log.samples": 0})
        assert single.bits_per_byte == pytest.approx(score, rel=1e-5)
        assert model.origin == f"{whole}, step 8, seed {seed}"
        one = mlstm.load(whole, seed=seed)
        assert bits(one.parameters) == bits(model.parameters)
        want = mlstm.load(tmp_path / f"seed{seed}", seed=seed)
        assert "bits_per_byte_of_seeds" not in lines(tmp_path / f"seed{seed}", "train")[0]
        for a, b in zip(*map(jax.tree.leaves, (one.parameters, want.parameters)), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)
    with pytest.raises(InputError, match="no model of seed 5; its seeds are 3 to 4"):
        mlstm.load(whole, seed=5)
    with pytest.raises(InputError, match="no model of seed 4; its seed is 3"):
        mlstm.load(tmp_path / "seed3", seed=4)


def test_a_run_goes_on_with_its_seeds_and_begins_with_as_many_models_as_it_has(
    tmp_path, run, whole
):
    for changes, words in (({"seeds": 3}, "seeds was 2 and is 3"), ({"seed": 4}, "seed was 3 and")):
        with pytest.raises(InputError, match=words):
            run(whole, **changes)

    begun = tmp_path / "begun"
    with pytest.raises(InputError, match=r"parameters for seeds=2, config\.seeds is 1"):
        run(begun, init_from=str(whole), seeds=1)
    (tmp_path / "one").mkdir()
    of_one = json.loads((whole / "config.json").read_text()) | {"seeds": 1}
    (tmp_path / "one" / "config.json").write_text(json.dumps(of_one))
    with pytest.raises(InputError, match=r"parameters for seeds=1, config\.seeds is 2"):
        run(begun, init_from=str(tmp_path / "one"))
    still = {"optimizer.name": "sgd", "optimizer.learning_rate": 1e-30, "train.steps": 1}
    run(begun, init_from=str(whole), seed=20, **still)
    assert scores(begun) == pytest.approx(scores(whole), rel=1e-6)
    assert scores(begun) != pytest.approx(scores(whole)[::-1], rel=1e-4)


def test_the_best_step_and_patience_go_by_the_mean(tmp_path, run, monkeypatch):
    of_seeds = iter(np.array([[2, 2], [1, 3.5], [math.nan, 1]]))
    monkeypatch.setattr(Validation, "bits_per_byte", lambda *_: next(of_seeds))
    result = run(tmp_path, **{"train.validate_every": 1, "train.patience": 2, "log.samples": 0})
    assert (result.ended, result.step, result.bits_per_byte) == ("early", 3, None)
    assert [line["bits_per_byte"] for line in lines(tmp_path, "validation")] == [2, 2.25, None]
    assert scores(tmp_path) == [None, 1]
    path = tmp_path / "checkpoints" / "3" / "metadata" / "metadata"
    progress = json.loads(path.read_text())["body"]["content"]["progress"]
    assert progress == {"best": 2, "since_best": 2, "last": None, "last_step": 3}
    assert [model.step for model in mlstm.load(tmp_path)] == [1, 1]


@pytest.mark.parametrize("on_nonfinite", ["stop", "skip"])
def test_a_run_says_which_of_its_models_is_not_finite(
    tmp_path, run, capsys, monkeypatch, on_nonfinite
):
    create = Setup.create

    def spoiled(self, parameters=None, rows=None):
        state = create(self, parameters, rows)
        embedding = state.parameters["embedding"].at[1].set(jnp.nan)
        return state._replace(parameters=state.parameters | {"embedding": embedding})

    monkeypatch.setattr(Setup, "create", spoiled)
    result = run(tmp_path, **{"train.on_nonfinite": on_nonfinite, "log.samples": 0})
    said = capsys.readouterr().err
    assert "the loss or its gradient is not finite at step 1 (seed 4)" in said
    assert (result.bad_step, result.bad_seed) == (1, 4)
    if on_nonfinite == "stop":
        assert (result.ended, result.saved) == ("not finite", False)
        assert "not finite at step 1 (seed 4); stopped" in str(result)
    else:
        assert (result.ended, result.saved) == ("finished", True)
        last = lines(tmp_path, "train")[-1]
        assert (last["skipped"], last["bits_per_byte"]) == (8, None)
        assert [bits is None for bits in last["bits_per_byte_of_seeds"]] == [False, True]
