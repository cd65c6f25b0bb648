"""What a time step may launch on an H100; compiled on any machine that has the plugin.

make test-aot
"""

import functools
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = REPOSITORY / "benchmarks" / "h100.py"

LARGE = "--hidden=4096 --batch=128 --window=64 --products=bfloat16"
SMALL = "--hidden=1024 --batch=64 --window=64 --products=bfloat16"
ON_A_MESH = f"{LARGE} --mesh=4x2"
LSTM = f"{LARGE} --cell=lstm"
STATES = f"{LARGE} --keep=states --chunk=8"
WINDOW = 64

# For one time step.
KERNELS = {
    (LARGE, "forward"): 6,
    (LARGE, "backward"): 8,
    (SMALL, "forward"): 6,
    (SMALL, "backward"): 8,
    (STATES, "forward"): 6,
    (STATES, "backward"): 8,
}
LAUNCHES = {LARGE: 18, SMALL: 16, STATES: 18}  # of a whole window, for each of its time steps
PRODUCTS = {LARGE: 2, SMALL: 2, STATES: 2, ON_A_MESH: 2, LSTM: 1}  # forward, and as many backward
COLLECTIVES = {
    (ON_A_MESH, "forward"): {"all-gather": 2},
    (ON_A_MESH, "backward"): {"reduce-scatter": 2},
}
TEMPORARIES = {LARGE: 1.4, STATES: 1.0}  # GiB
POPULATIONS = {f"{SMALL} --seeds=8": SMALL}  # and one model of the same shape

# The whole step of a run: 128 streams for each group of devices that shares them.
STEP = "--step --hidden=4096 --batch=128 --window=256 --products=bfloat16"
STEPS = {mesh: f"{STEP} --mesh={mesh}" for mesh in ("8x1", "4x2", "1x8")}
LOGITS = 256 * 128 * 256 * 4  # bytes: T x B x V float32
READ = 256 * 128 * 64 * 4  # of the gradient of what is read: T x B x E float32
MEMORY = {"8x1": 6.1, "4x2": 3.4, "1x8": 1.5}  # GiB on each device, of the 80 that there are
NUMBERS = 1024  # bytes: exchanges below are norms, sums of the loss, flags

pytestmark = [
    pytest.mark.aot,
    pytest.mark.skipif(
        not (REPOSITORY / ".aot" / ".installed").exists(),
        reason="there is no CUDA plugin in .aot: make .aot/.installed",
    ),
]


@functools.cache
def compiled(flags: str) -> dict:
    """The program's report; each set of flags is compiled once."""
    done = subprocess.run(
        [sys.executable, PROGRAM, "--json", *flags.split()],
        env={k: v for k, v in os.environ.items() if k != "XLA_FLAGS"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def budgets(table: dict):
    ids = [key if isinstance(key, str) else " ".join(key) for key in table]
    return pytest.mark.parametrize(("what", "budget"), table.items(), ids=ids)


@budgets(KERNELS)
def test_a_time_step_launches_no_more_than_its_budget(what, budget):
    flags, direction = what
    report = compiled(flags)
    loops = {loop["role"]: loop["kernels"] for loop in report["loops"]}
    assert 0 < report[direction]["kernels"] <= budget, loops[f"{direction} time"]


@budgets(LAUNCHES)
def test_a_window_launches_no_more_than_its_budget(what, budget):
    assert compiled(what)["launches"] <= budget * WINDOW


@budgets(PRODUCTS)
def test_a_time_step_makes_each_product_once(what, budget):
    report = compiled(what)
    assert (report["forward"]["products"], report["backward"]["products"]) == (budget, budget)


@pytest.mark.parametrize("flags", PRODUCTS)
def test_no_weight_gradient_is_formed_in_a_time_step(flags):
    assert compiled(flags)["backward"]["weight_gradients"] == 0


@budgets(TEMPORARIES)
def test_temporaries_stay_within_their_budget(what, budget):
    assert compiled(what)["temporaries"] / 2**30 <= budget


def test_temporaries_are_fewer_than_those_of_the_plain_scan():
    assert compiled(LARGE)["temporaries"] < compiled(f"{LARGE} --plain")["temporaries"]


@budgets(COLLECTIVES)
def test_a_time_step_exchanges_states_and_nothing_else(what, budget):
    flags, direction = what
    assert compiled(flags)[direction]["collectives"] == budget


def test_what_devices_made_of_their_own_streams_is_summed_outside_loops():
    outside, *loops = compiled(ON_A_MESH)["loops"]
    assert outside["sums_over_data"] > 0
    assert [loop["sums_over_data"] for loop in loops] == [0] * len(loops), loops


def by_results(exchanges, axis) -> list[dict]:
    """Those over an axis that are more than a few numbers, largest first."""
    found = [e for e in exchanges if axis in e["axes"] and e["bytes"] > NUMBERS]
    return sorted(found, key=lambda e: -e["bytes"])


@pytest.mark.parametrize("mesh", ["8x1", "4x2"])
def test_over_data_a_step_sums_as_many_bytes_as_there_are_parameters_once(mesh):
    report = compiled(STEPS[mesh])
    assert [loop["sums_over_data"] for loop in report["loops"][1:]] == [0] * (
        len(report["loops"]) - 1
    )
    # The gains of weight normalisation come from sums that are made already: less by 0.05%.
    assert report["summed_over_data"] == pytest.approx(report["parameters"], rel=1e-3)
    sums = by_results(report["exchanges"], "data")
    # What is above XLA's threshold (30 MiB) crosses alone, what is below in one; of that only the
    # embedding's gradient may have to wait for a sum over `model`.
    assert [e["kind"] for e in sums] == ["all-reduce"] * len(sums)
    assert len(sums) <= (3 if mesh == "8x1" else 4), sums


@pytest.mark.parametrize("mesh", ["4x2", "1x8"])
def test_over_model_a_step_exchanges_once_each_way_outside_the_loops_over_time(mesh):
    forward, backward = by_results(compiled(STEPS[mesh])["exchanges"], "model")
    assert (forward["kind"], forward["times"], forward["bytes"]) == ("all-reduce", 1, LOGITS)
    assert (backward["kind"], backward["times"]) == ("all-reduce", 1)
    assert READ <= backward["bytes"] <= READ + NUMBERS


@pytest.mark.parametrize("mesh", ["4x2", "1x8"])
def test_over_model_a_time_step_gathers_rounded_states_twice_and_sums_gradients_twice(mesh):
    report = compiled(STEPS[mesh])
    assert report["forward"]["collectives"] == {"all-gather": 2}
    assert report["backward"]["collectives"] == {"reduce-scatter": 2}
    (forward,) = (loop for loop in report["loops"] if loop["role"] == "forward time")
    assert set(forward["collectives"]) == {"all-gather over model: bf16[128,4096]"}


@budgets(MEMORY)
def test_the_memory_of_a_step_stays_within_its_budget(what, budget):
    assert compiled(STEPS[what])["memory"] / 2**30 <= budget


def test_on_a_mesh_a_weight_gradient_is_made_of_as_many_steps_as_on_one_device():
    """By the streams of a device, not of all of them."""
    loops = compiled(STEPS["8x1"])["loops"]
    (chunks,) = (loop for loop in loops if loop["role"] == "backward chunks")
    assert "4096 x 16384 over 1024" in chunks["products"]


@pytest.mark.parametrize(("mesh", "name"), [("8x1", "ALONE"), ("4x2", "SHARED"), ("1x8", "SHARED")])
def test_the_scaling_model_counts_the_launches_that_are_compiled(mesh, name, monkeypatch):
    monkeypatch.syspath_prepend(PROGRAM.parent)
    known = getattr(importlib.import_module("scaling_model"), name)
    report = compiled(STEPS[mesh])
    kernels = {loop["role"]: sum(loop["kernels"].values()) for loop in report["loops"]}
    for counted, found in (
        (known.forward, report["forward"]["kernels"]),
        (known.backward, report["backward"]["kernels"]),
        (known.chunk, kernels["backward chunks"]),
        (known.rest, kernels["outside loops"]),
    ):
        assert found <= counted * 1.02
        assert found >= counted * 0.85


@budgets(POPULATIONS)
def test_a_population_launches_what_one_model_does(what, budget):
    many, one = compiled(what), compiled(budget)
    for direction in ("forward", "backward"):
        # XLA sums a large product in another number of pieces: a kernel more or less.
        assert many[direction]["kernels"] <= one[direction]["kernels"] + 1
        assert many[direction]["products"] == one[direction]["products"]


def test_the_plain_scan_breaks_these_rules():
    """Else they would not be read from the compiled program rightly."""
    assert compiled(f"{LARGE} --plain")["backward"]["weight_gradients"] > 0
    assert compiled(f"{LARGE} --plain")["forward"]["kernels"] > 20
