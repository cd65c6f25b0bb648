import json


def test_runs_are_compared_and_written(launch, trained_run, trained_population, tmp_path):
    output = tmp_path / "out"
    runs = f"--runs={trained_run},{trained_population},{tmp_path / 'gone'}"
    result = launch("compare", runs, f"--output={output}")
    assert result.returncode == 0, result.stderr
    printed = result.stdout.decode()
    for word in ("tiny", "population", "x 2", "seeds", "left out: ", "gone: no such folder"):
        assert word in printed
    record = json.loads((output / "comparison.json").read_text())
    assert [run["models"] for run in record["runs"]] == [1, 2]
    assert (output / "runs.csv").read_text().startswith("run,folder,status,")


def test_no_run_is_one_line_and_exit_code_2(launch, tmp_path):
    result = launch("compare", f"--runs={tmp_path}")
    assert result.returncode == 2
    assert result.stderr.count(b"\n") == 1
    assert b"no run, and no folder of runs" in result.stderr
