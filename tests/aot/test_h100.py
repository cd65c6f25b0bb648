"""What a time step may launch on an H100; compiled on any machine that has the plugin.

make test-aot
"""

import functools
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
