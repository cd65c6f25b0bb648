"""The evidence of a probing on a mesh, and in two processes of four devices, is one device's."""

import json

import numpy as np
import pytest

import probing
from mlstm import devices
from mlstm.loading import load_one
from mlstm.model.sites import parse_neuron
from probing.states import activations
from probing.tasks import source_code


@pytest.fixture(scope="module")
def code(tmp_path_factory, write_code):
    folder = tmp_path_factory.mktemp("code")
    write_code(folder, 10)
    return folder


@pytest.fixture(scope="module")
def table(run, code):
    return probing.score_neurons(load_one(run), source_code(code), draws=19)


SIXTH = 1.01e-6
BINNED = "auc", "auc_bound", "auc_low", "auc_high", "information"


def check_same(found: dict, expected: dict, binned: float = SIXTH) -> None:
    """Names and whole numbers, counts among them, are equal; the others to their sixth and last
    decimal, which rounding may turn; figures from bins to `binned`."""
    assert found.keys() == expected.keys()
    for name in ("splits", "classes", "numbers", "data_digest"):
        assert found[name] == expected[name]
    assert_close(found["best"], expected["best"], binned)
    for name in ("neurons", "twin", "control"):
        assert found[name].keys() == expected[name].keys()
        for figure, values in expected[name].items():
            assert_close(found[name][figure], values, binned if figure in BINNED else SIXTH)


def assert_close(found, expected, atol: float) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            assert_close(found[name], expected[name], atol)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other, atol)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=atol)
    else:
        assert found == expected


PARTS = "scores", "twin", "control"


@pytest.mark.parametrize("shape", [(8, 1), (4, 2)], ids=["8x1", "4x2"])
def test_a_table_of_a_mesh_is_that_of_one_device(run, code, table, shape):
    mesh = devices.mesh(*shape)
    found = probing.score_neurons(load_one(run), source_code(code), draws=19, mesh=mesh)
    # Units that are split are summed in another order: a state that lies on the edge of a bin, and
    # with it all that repeat it, may be counted in the next one. The bound of the AUC covers that.
    whole = shape[1] == 1
    for part, expected in ((getattr(found, n), getattr(table, n)) for n in PARTS):
        for name, figures in vars(expected).items():
            atol = 0 if name in ("n_on", "n_off") else 1e-6
            if name in BINNED and not whole:
                atol = 1e-6 + float(np.nanmax(expected.auc_bound))
            np.testing.assert_allclose(
                getattr(part, name), figures, rtol=0, atol=atol, err_msg=name
            )
    for name, summary in table.summaries.items():
        counts, expected = (part.summaries[name].counts for part in (found, table))
        np.testing.assert_allclose(found.summaries[name].edges, summary.edges, atol=1e-5)
        np.testing.assert_array_equal(counts.sum(2), expected.sum(2))
        moved = np.abs(counts.cumsum(2) - expected.cumsum(2))
        assert np.count_nonzero(moved) <= (0 if whole else 1e-3 * moved.size)
    np.testing.assert_array_equal(found.surface, table.surface)
    np.testing.assert_allclose(found.significance.p_max, table.significance.p_max, atol=0.051)


def test_arrays_and_traces_of_a_mesh_are_those_of_one_device(run, code):
    model, data, mesh = load_one(run), source_code(code), devices.mesh(4, 2)
    for pooling in ("position", "mean"):
        on_mesh, alone = (
            probing.arrays(model, data, "0.c", concept="string", pooling=pooling, mesh=each)
            for each in (mesh, None)
        )
        np.testing.assert_allclose(on_mesh.x, alone.x, atol=1e-6)
        np.testing.assert_array_equal(on_mesh.y, alone.y)
    texts, neurons = [b"a", b"some text", b"x" * 300], [parse_neuron("0.c[3]")]
    for found, expected in zip(
        activations.traces(model, texts, neurons, mesh=mesh),
        activations.traces(model, texts, neurons),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("mesh", ["8x1", "4x2"])
def test_two_processes_probe_as_one_device_and_the_first_writes(
    run, code, table, start, finish, tmp_path, mesh
):
    output = tmp_path / "out"
    flags = [f"--model={run}", f"--data={code}", f"--output={output}", f"--mesh={mesh}"]
    job = start(["-m", "launch.probe", *flags, "--draws=19"], 2, 4)
    said = finish(job)
    assert [process.returncode for process in job] == [0, 0], said
    assert ["(string)" in text for text in said] == [True, False]
    written = ["figures", "neurons.csv", "neurons_concepts.csv", "report.html", "results.json"]
    assert sorted(path.name for path in output.iterdir()) == written
    saved = json.loads((output / "results.json").read_text())
    bound = float(np.nanmax(table.scores.auc_bound))
    check_same(saved, json.loads(table.to_json()), SIXTH if mesh == "8x1" else SIXTH + bound)


@pytest.mark.slow
def test_two_processes_study_as_one_device_and_the_first_writes(run, code, start, finish, tmp_path):
    output = tmp_path / "out"
    flags = [f"--model={run}", f"--data={code}", f"--output={output}", "--concept=string"]
    job = start(["-m", "launch.study", *flags, "--draws=39"], 2, 4)
    said = finish(job)
    assert [process.returncode for process in job] == [0, 0], said
    assert ["results  " in text for text in said] == [True, False]
    (claim,) = json.loads((output / "study-string.json").read_text())["claims"]
    alone = probing.verify(load_one(run), None, source_code(code), "string", draws=39)
    assert isinstance(alone, probing.Claim)
    assert claim["neuron"] == alone.neuron
    assert claim["p"] == pytest.approx(alone.p)
    assert claim["test"] == pytest.approx(alone.plain()["test"], abs=1e-6)
