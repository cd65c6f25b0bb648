"""Programs that run a trained model, in two processes of four devices each."""

import json

import numpy as np
import pytest

import mlstm
from mlstm import evaluation

pytestmark = pytest.mark.slow
TEXTS = [f"text number {n} " * (n % 40) for n in range(120)]


@pytest.fixture(scope="module", autouse=True)
def texts(run):
    (run / "texts.txt").write_text("\n".join(TEXTS) + "\n")


@pytest.mark.parametrize("mesh", [[], ["--mesh=4x2"]], ids=["all", "4x2"])
def test_two_processes_encode_as_one_and_the_first_writes(run, start, finish, tmp_path, mesh):
    output = tmp_path / "out.npy"
    flags = [f"--model={run}", f"--input={run / 'texts.txt'}", f"--output={output}"]
    job = start(["-m", "launch.encode", *flags, "--pooling=mean", *mesh], 2, 4)
    said = finish(job)
    assert [process.returncode for process in job] == [0, 0], said
    assert ["120 texts x 8 units" in text for text in said] == [True, False]
    assert list(tmp_path.iterdir()) == [output]
    expected = mlstm.load(run).encode(TEXTS, pooling="mean")
    np.testing.assert_allclose(np.load(output), expected, atol=1e-6)


@pytest.mark.parametrize("mesh", [[], ["--mesh=4x2"]], ids=["all", "4x2"])
def test_two_processes_score_as_one_and_the_first_writes(run, start, finish, tmp_path, mesh):
    figures = tmp_path / "out.json"
    flags = [f"--model={run}", f"--data={run / 'texts.txt'}", f"--json={figures}"]
    job = start(["-m", "launch.evaluate", *flags, *mesh], 2, 4)
    said = finish(job)
    assert [process.returncode for process in job] == [0, 0], said
    assert ["bits per byte" in text for text in said] == [True, False]
    split, _ = evaluation.open_text(run / "texts.txt")
    alone = mlstm.evaluate(mlstm.load(run), split)
    record = json.loads(figures.read_text())
    assert record["bytes"] == alone.bytes
    assert record["nats"] == pytest.approx(alone.nats, rel=1e-6)
