import json

import pytest

from mlstm.run_comparison import compare_runs


@pytest.mark.slow
def test_a_search_trains_tells_what_fails_chooses_and_is_not_run_again(launch, tmp_path):
    (tmp_path / "text.txt").write_bytes(b"some words, again and again\n" * 400)
    folder = tmp_path / "search"
    flags = (
        "--config=quickstart:tiny",
        f"--config.data.source={tmp_path / 'text.txt'}",
        f"--workdir={folder}",
        "--steps=6",
        "--grid=optimizer.learning_rate=0.02,1e30",
    )
    result = launch("search", *flags)
    assert result.returncode == 0, result.stderr
    printed = result.stdout.decode()
    assert "2 trainings, 0 of them done" in printed
    assert "chosen on validation: trial 1, optimizer.learning_rate=0.02" in printed
    assert "not finite" in printed
    record = json.loads((folder / "results.json").read_text())
    (run, _) = compare_runs([folder / "trials"]).runs
    assert run.best is not None
    assert record["trials"][0]["validation_bits_per_byte"] == pytest.approx(run.best[1])
    assert run.config["data.folder"] == str(folder / "corpus")
    again = launch("search", *flags)
    assert "2 trainings, 2 of them done" in again.stdout.decode()
    assert printed.rpartition("\n\n")[2] == again.stdout.decode().rpartition("\n\n")[2]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "give either --grid, or --space with --random"),
        (["--space=model.hidden=8|16"], "--space and --random go together"),
        (["--grid=model.hiden=8"], "did you mean 'hidden'?"),
        (["--grid=model.hidden=0"], "trial 1 (model.hidden=0): model.hidden is 0"),
        (["--grid=model.hidden=8", "--config.seeds=2"], "give --seeds instead"),
    ],
)
def test_nothing_runs_where_something_is_wrong(launch, tmp_path, flags, words):
    usual = "--config=quickstart:tiny", f"--workdir={tmp_path / 'search'}"
    result = launch("search", *usual, *flags)
    assert result.returncode == 2, result.stderr
    assert result.stderr.count(b"\n") == 1
    assert words in result.stderr.decode()
    assert not (tmp_path / "search").exists()
