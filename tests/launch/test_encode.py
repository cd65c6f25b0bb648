import json

import numpy as np
import pytest
from safetensors import safe_open

import mlstm

TEXTS = ["It was great.", "", "é &amp; ü\n", "again and again " * 40]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The texts as .jsonl."""
    path = tmp_path_factory.mktemp("input") / "texts.jsonl"
    path.write_text("\n".join(json.dumps({"id": 1, "review": text}) for text in TEXTS))
    return path


def test_the_rows_of_a_file_are_those_of_model_encode(launch, trained_run, written, tmp_path):
    result = launch(
        "encode",
        f"--model={trained_run}",
        f"--input={written}",
        "--text_field=review",
        "--sites=0.c,0.h",
        "--pooling=mean",
        "--cleaning=openai",
        f"--output={tmp_path / 'new' / 'out.safetensors'}",
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == b""
    assert "4 texts x 16 units" in result.stdout.decode()
    expected = mlstm.load(trained_run).encode(TEXTS, "0.c,0.h", "mean", "openai")
    with safe_open(tmp_path / "new" / "out.safetensors", "numpy") as found:
        np.testing.assert_allclose(found.get_tensor("features"), expected, atol=1e-6)
        assert found.metadata() == {
            "model": f"{trained_run}, step 2",
            "sites": "0.c,0.h",
            "pooling": "mean",
            "cleaning": "openai",
        }
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_lines_of_a_text_become_rows_of_an_array(launch, trained_run, tmp_path):
    (tmp_path / "in.txt").write_text("one\n\nthree\n")
    flags = f"--model={trained_run}", f"--input={tmp_path / 'in.txt'}"
    result = launch("encode", *flags, f"--output={tmp_path / 'out.npy'}")
    assert result.returncode == 0, result.stderr
    found = np.load(tmp_path / "out.npy")
    expected = mlstm.load(trained_run).encode(["one", "", "three"])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not found[1].any()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--output=out.csv"], "features are written as .npy or .safetensors"),
        (["--input=nosuch.txt"], "nosuch.txt: cannot be read"),
        ([], "texts.jsonl:1: no field "),
        (["--text_field=review", "--sites=3.c"], 'no site "3.c" in this model'),
        (["--mesh=8"], "--mesh=8: it is DATAxMODEL"),
        (["--mesh=4x2"], "--mesh 4 x 2 needs 8 devices, here is 1 (cpu)"),
        (["--pooling=sum"], "pooling"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    launch, trained_run, written, tmp_path, flags, words
):
    usual = f"--model={trained_run}", f"--input={written}", f"--output={tmp_path / 'out.npy'}"
    result = launch("encode", *usual, *flags)
    assert result.returncode == 2, result.stderr
    assert result.stderr.count(b"\n") == 1
    assert words in result.stderr.decode()
    assert not list(tmp_path.iterdir())


def test_help_shows_the_flags_of_several_devices(launch):
    said = launch("encode", "--help").stdout.decode()
    assert "--mesh" in said
    assert "--coordinator" in said
