import json
import shutil

import numpy as np
import pytest


def test_a_run_is_scored_on_its_own_test_split_beside_bz2_and_xz(launch, trained_run, tmp_path):
    result = launch("evaluate", f"--model={trained_run}", f"--json={tmp_path / 'out.json'}")
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["text"].endswith("(test)")
    assert 0 < record["bytes"] < 28 * 400 * 0.1
    assert record["compressed_bits_per_byte"].keys() == {"bz2", "xz"}
    assert f"{record['bits_per_byte']:.4f}" in result.stdout.decode()
    assert result.stderr == b""


def test_a_file_is_scored_whole(launch, trained_run, tmp_path):
    (tmp_path / "book.txt").write_bytes(b"word " * 1000)
    flags = f"--model={trained_run}", f"--data={tmp_path / 'book.txt'}", "--reset_every=64"
    result = launch("evaluate", *flags)
    assert "4,999 bytes scored, state reset every 64 bytes" in result.stdout.decode()


def test_a_run_that_was_moved_finds_its_corpus(launch, trained_run, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(trained_run, moved)
    description = json.loads((moved / "config.json").read_text())
    description["data"]["corpus"] = str(tmp_path / "gone")
    (moved / "config.json").write_text(json.dumps(description))
    result = launch("evaluate", f"--model={moved}")
    assert str(moved / "corpus") in result.stdout.decode()


def test_a_population_is_scored_by_seed_with_mean_and_deviation(
    launch, trained_population, tmp_path
):
    file = tmp_path / "out.json"
    result = launch("evaluate", f"--model={trained_population}", f"--json={file}")
    assert result.returncode == 0, result.stderr
    record = json.loads(file.read_text())
    assert [each["seed"] for each in record["seeds"]] == [5, 6]
    bits = [each["bits_per_byte"] for each in record["seeds"]]
    assert record["bits_per_byte"] == pytest.approx(np.mean(bits))
    assert record["standard_deviation"] == pytest.approx(np.std(bits, ddof=1))
    printed = result.stdout.decode()
    assert f"{trained_population}, step 1, seed 5 to 6" in printed
    for label, figure in zip(
        ("seed 5", "seed 6", "mean", "std"), (*bits, np.mean(bits), np.std(bits, ddof=1)),
        strict=True,
    ):  # fmt: skip
        assert f"{label:8}{figure:14.4f}" in printed
    result = launch("evaluate", f"--model={trained_population}", "--model_seed=6")
    assert f"{'model':8}{bits[1]:14.4f}" in result.stdout.decode()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--data=RUN/text.txt", "--split=test"], "not a prepared corpus"),
        (["--data=EMPTY"], "empty"),
        (["--data=~nosuch/text"], "~nosuch is nobody's home"),
        (["--json=~nosuch/out.json"], "~nosuch is nobody's home"),
        (["--model_seed=3"], "no model of seed 3; its seed is 0"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(launch, trained_run, tmp_path, flags, words):
    (tmp_path / "empty.txt").touch()
    names = {"RUN": str(trained_run), "EMPTY": str(tmp_path / "empty.txt")}
    for name, path in names.items():
        flags = [flag.replace(name, path) for flag in flags]
    result = launch("evaluate", f"--model={trained_run}", *flags)
    assert result.returncode == 2, result.stderr
    assert result.stderr.count(b"\n") == 1
    assert words in result.stderr.decode()
