"""The mesh and the processes change no loss, but for rounding."""

import json
from pathlib import Path

import numpy as np
import pytest

LOSSES = str(Path(__file__).with_name("losses.py"))
MESHES = ["1x1", "8x1", "4x2", "2x4", "1x8"]
OF_TWO = ["4x2", "1x8"]  # units are split within a process, and across
ASKED = [("float64", 50, 1e-9), pytest.param("float32", 3, 1e-5, marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    text = np.random.default_rng(0).integers(97, 105, 2500).astype(np.uint8)
    (folder / "text.txt").write_bytes(text.tobytes())
    return folder


@pytest.fixture
def measure(folder, start, finish):
    """The losses on each mesh, in every process of a job the same: (meshes, steps)."""

    def go(meshes, dtype, steps, processes=1):
        command = [LOSSES, str(folder), ",".join(meshes), dtype, str(steps)]
        job = start(command, processes, 8 // processes)
        said = finish(job)
        assert [process.returncode for process in job] == [0] * processes, said
        found = [json.loads(text.splitlines()[-1]) for text in said]
        assert found == [found[0]] * processes
        return np.array(found[0])

    return go


@pytest.mark.parametrize(("dtype", "steps", "tolerance"), ASKED)
def test_losses_are_the_same_on_every_mesh_and_over_two_processes(measure, dtype, steps, tolerance):
    want, *others = measure(MESHES, dtype, steps)
    assert len(set(want)) == steps
    for mesh, found in zip(MESHES[1:], others, strict=True):
        np.testing.assert_allclose(found, want, rtol=tolerance, err_msg=mesh)
    for mesh, found in zip(OF_TWO, measure(OF_TWO, dtype, steps, processes=2), strict=True):
        np.testing.assert_allclose(found, want, rtol=tolerance, err_msg=f"{mesh} of two processes")


@pytest.mark.parametrize("processes", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_the_same_mesh_twice_gives_the_same_bits(measure, processes):
    once, again = measure(["4x2", "4x2"], "float32", 10, processes).tolist()
    assert once == again
