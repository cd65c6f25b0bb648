import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mlstm
from mlstm.checkpoint import Checkpoints
from mlstm.corpus.vocabulary import Bytes
from mlstm.errors import InputError
from mlstm.loading import load_one, text_of
from mlstm.model import language_model
from mlstm.model.config import ModelConfig
from mlstm.runs import is_run, validation_curve

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG = ModelConfig(embedding=4, hidden=8, layers=2)
DESCRIPTION = {
    "format_version": 1,
    "model": {"embedding": 4, "hidden": 8, "layers": 2},
    "vocabulary": {"kind": "bytes"},
    "cleaning": "none",
}


def parameters_of(step):
    return language_model.init_parameters(CONFIG, jax.random.key(step))


def write_run(folder, validations, **changes) -> Path:
    """A run with one checkpoint for each step -> validation."""
    checkpoints = Checkpoints(folder / "checkpoints")
    for step, validation in validations.items():
        state = {"parameters": parameters_of(step), "step": jnp.int32(step)}
        checkpoints.save(step, state, validation=validation)
    checkpoints.close()
    (folder / "config.json").write_text(json.dumps(DESCRIPTION | changes))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"), {1: 3.0, 2: 2.0, 3: 2.5})


def is_of_step(model, step) -> bool:
    return model.step == step and jax.tree.all(
        jax.tree.map(np.array_equal, model.parameters, parameters_of(step))
    )


def test_the_best_checkpoint_is_read(run):
    model = mlstm.load(run)
    assert is_of_step(model, 2)
    assert model.config == CONFIG
    assert model.origin == f"{run}, step 2"


def test_a_step_is_read_when_asked_for(run):
    assert is_of_step(mlstm.load(str(run), step=3), 3)


def test_the_newest_checkpoint_is_read_where_nothing_was_validated(tmp_path):
    assert is_of_step(mlstm.load(write_run(tmp_path, {1: None, 2: None})), 2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format_version": 9}, "format_version 9; this version reads 1"),
        ({"model": {"hiden": 8}}, "hiden"),
        ({"model": {"cell": "perceptron"}}, "perceptron"),
        ({"model": None}, 'no section "model"'),
        ({"seeds": 0}, "seeds 0 have to be whole"),
        ({"seed": "x"}, "seed 'x' and seeds 1 have to be whole numbers"),
        ({"model": {"embedding": 4, "hidden": 9, "layers": 2}}, "config.json asks for"),
        ({"vocabulary": {"kind": "runes"}}, "runes"),
    ],
)
def test_a_config_that_does_not_fit_is_named(run, tmp_path, changes, words):
    (tmp_path / "config.json").write_text(json.dumps(DESCRIPTION | changes))
    (tmp_path / "checkpoints").symlink_to(run / "checkpoints")
    with pytest.raises(InputError, match=words):
        mlstm.load(tmp_path)


def test_a_population_is_a_list_or_the_model_of_one_seed(tmp_path):
    write_run(tmp_path, {1: None}, seed=3, seeds=2)
    with pytest.raises(InputError, match=r"shape \(256, 4\), .* asks for \(2, 256, 4\)"):
        mlstm.load(tmp_path)
    both = jax.tree.map(lambda *each: jnp.stack(each), parameters_of(3), parameters_of(4))
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(2, {"parameters": both, "step": jnp.int32(2)})
    checkpoints.close()
    models = mlstm.load(tmp_path)
    assert [model.seed for model in models] == [3, 4]
    for model in (*models, mlstm.load(tmp_path, seed=3), mlstm.load(tmp_path, 2, seed=4)):
        assert model.origin == f"{tmp_path}, step 2, seed {model.seed}"
        assert jax.tree.all(
            jax.tree.map(np.array_equal, model.parameters, parameters_of(model.seed))
        )
    with pytest.raises(InputError, match="no model of seed 5; its seeds are 3 to 4"):
        mlstm.load(tmp_path, seed=5)
    with pytest.raises(InputError, match="several models, and one is needed: its seeds are 3 to 4"):
        load_one(tmp_path)
    assert load_one(tmp_path, seed=4).seed == 4


def test_the_validations_of_a_population_are_their_mean_or_those_of_one_seed(tmp_path):
    lines = [
        json.dumps({"step": s, "kind": k, "bits_per_byte": mean, "bits_per_byte_of_seeds": each})
        for s, k, mean, each in [
            (1, "validation", 3, [2, 4]),
            (2, "train", 9, [9, 9]),
            (2, "validation", None, [1, None]),
        ]
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 3, "ki')
    (tmp_path / "config.json").write_text(json.dumps(DESCRIPTION | {"seed": 3, "seeds": 2}))
    assert validation_curve(tmp_path) == [(1, 3)]
    assert validation_curve(tmp_path, 3) == [(1, 2), (2, 1)]
    assert validation_curve(tmp_path, 4) == [(1, 4)]
    with pytest.raises(InputError, match="no model of seed 5"):
        validation_curve(tmp_path, 5)
    (tmp_path / "config.json").write_text(json.dumps(DESCRIPTION | {"seed": 3}))
    assert validation_curve(tmp_path, 3) == [(1, 3)]
    (tmp_path / "metrics.jsonl").unlink()
    assert validation_curve(tmp_path, 3) == []


def test_a_run_of_one_model_has_its_seed_and_no_other(run):
    assert mlstm.load(run, seed=0).seed == load_one(run).seed == 0
    with pytest.raises(InputError, match="no model of seed 1; its seed is 0"):
        mlstm.load(run, seed=1)


def test_what_is_no_run_is_named(run, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        mlstm.load(tmp_path / "nothing")
    with pytest.raises(InputError, match="not a run"):
        mlstm.load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        mlstm.load(tmp_path)
    with pytest.raises(InputError, match=r"no checkpoint of step 9; there are 1, 2, 3"):
        mlstm.load(run, step=9)


def python(code: str) -> list[str]:
    """What the code printed, in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_running_a_model_needs_neither_training_nor_tensorboard(run):
    found = python(
        f"import sys, mlstm; model = mlstm.load({str(run)!r});"
        "list(mlstm.generate(model, b'x', 3));"
        "print(*sys.modules)"
    )
    assert "jax" in found
    assert not {"tensorboard", "mlstm.training", "mlstm.training.optimizer"} & set(found)


def test_running_a_model_works_without_our_use_of_optax(run):
    """flax.nnx imports optax for itself; none of our modules may."""
    found = python(
        f"import sys, mlstm; model = mlstm.load({str(run)!r});"
        "ours = [m for name, m in sys.modules.items() if name.startswith('mlstm')];"
        "print(len(ours), *[m.__name__ for m in ours if 'optax' in vars(m)])"
    )
    assert int(found[0]) > 5
    assert found[1:] == []


def test_importing_mlstm_touches_neither_jax_nor_a_device():
    found = python("import sys, mlstm; dir(mlstm); print(*sys.modules)")
    assert not {"jax", "numpy", "flax"} & set(found)


def test_every_public_name_is_there():
    for name in mlstm.__all__:
        assert getattr(mlstm, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mlstm.nothing


def test_a_model_in_a_file_is_loaded_as_one_of_a_run_is_but_has_no_text_and_no_log(run, tmp_path):
    file = tmp_path / "model.safetensors"
    mlstm.save(load_one(run, 2), file)
    model = load_one(file)
    assert is_of_step(model, 2)
    assert (model.origin, model.seed, model.imported) == (str(file), 0, False)
    assert "from " + str(file) in repr(model)
    assert text_of(file) == text_of(run) == (Bytes(), "none")
    assert validation_curve(file) == []
    for options in ({"step": 2}, {"seed": 0}):
        with pytest.raises(InputError, match="no training run: it has no steps and no seeds"):
            mlstm.load(file, **options)
    for name in (file, "published:openai", "hf:someone/words"):
        with pytest.raises(InputError, match="no training run, and no text comes with it"):
            mlstm.corpus_of(name)


def test_a_folder_is_a_run_by_what_is_in_it(run, tmp_path):
    assert is_run(run)
    assert not is_run(tmp_path)
    (tmp_path / "config.json").write_text('{"architectures": ["LSTM"]}')
    assert not is_run(tmp_path)
    for name in ("published:openai", "hf:someone/words", "~nosuch/run", run / "config.json", "\0"):
        assert not is_run(name)
