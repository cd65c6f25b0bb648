import csv
import json
import shutil

import numpy as np
import pytest

from mlstm.corpus.fitting import FitCharacters, FitWords
from mlstm.corpus.shards import prepare_source
from mlstm.errors import InputError
from mlstm.model import language_model
from mlstm.model.config import ModelConfig
from mlstm.run_comparison import compare_runs, write_csv
from probing.views import figures


def write(folder, *, digest="d", seeds=1, rate=(512.0, 1024.0), steps=20, bits=(3.0, 2.0), **model):
    """A run's folder whose log has two entries of each kind, at steps 10 and 20."""
    folder.mkdir(parents=True)
    config = {
        "format_version": 1,
        "model": {"hidden": 8, "embedding": 4, **model},
        "data": {"source": "x", "batch": 4, "window": 16, "digest": digest, "corpus": str(folder)},
        "train": {"steps": steps},
        "vocabulary": {"kind": "bytes"},
        "seeds": seeds,
    }
    (folder / "config.json").write_text(json.dumps(config))
    lines = []
    for step, b, r in zip((10, 20), bits, rate, strict=True):
        lines.append({"step": step, "kind": "train", "bits_per_byte": b, "bytes_per_second": r})
        each = [b - 0.1, b + 0.1] if seeds == 2 else []
        record = {"step": step, "kind": "validation", "bits_per_byte": b}
        lines.append(record | ({"bits_per_byte_of_seeds": each} if each else {}))
    text = "\n".join(map(json.dumps, lines))
    (folder / "metrics.jsonl").write_text(text + '\n{"step": 30, "ki')
    return folder


def test_figures_of_a_run_equal_what_its_config_and_log_say(tmp_path):
    write(tmp_path / "a", bits=(2.0, 2.5))
    (run,) = compare_runs([tmp_path / "a"]).runs
    found = run.record()
    config = ModelConfig(hidden=8, embedding=4)
    assert found["parameters"] == language_model.parameter_count(config)
    assert found["bytes"] == 20 * 64
    assert found["flops"] == 20 * 64 * language_model.flops_per_byte(config)
    # 640 bytes at 512 bytes a second, then 640 at 1024
    assert found["seconds"] == pytest.approx(640 / 512 + 640 / 1024)
    assert run.along([5, 15])["seconds"] == pytest.approx([320 / 512, 640 / 512 + 320 / 1024])
    assert (found["best_bits_per_byte"], found["best_step"]) == (2.0, 10)
    assert found["last_bits_per_byte"] == 2.5
    assert found["status"] == "finished"


def test_what_differs_is_shown_with_defaults_filled_in(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b", layers=2)
    write(tmp_path / "c", steps=40)
    found = compare_runs([tmp_path])
    assert [run.name for run in found.runs] == ["a", "b", "c"]
    assert found.differing == {"model.layers": [1, 2, 1], "train.steps": [20, 20, 40]}
    assert found.runs[2].status == "going"
    assert "20 of 40, going" in str(found)
    rows = list(csv.DictReader(write_csv(found.rows()).decode().splitlines()))
    assert [row["config.model.layers"] for row in rows] == ["1", "2", "1"]
    assert "different" not in str(found)


def test_a_population_is_shown_by_mean_and_spread(tmp_path):
    write(tmp_path / "a", seeds=2)
    (run,) = compare_runs([tmp_path / "a"]).runs
    assert run.record()["standard_deviation"] == pytest.approx(np.std([1.9, 2.1], ddof=1))
    config = ModelConfig(hidden=8, embedding=4)
    assert run.record()["flops"] == 2 * 20 * 64 * language_model.flops_per_byte(config)
    assert "x 2" in str(compare_runs([tmp_path / "a"]))


def test_other_corpora_are_warned_of_and_broken_folders_told(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b", digest="other")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "config.json").write_text("{")
    (tmp_path / "empty").mkdir()
    found = compare_runs([tmp_path, tmp_path / "empty", tmp_path / "gone"])
    assert found.texts == 2
    assert len(found.broken) == 3
    printed = str(found)
    assert "2 different texts" in printed
    for word in ("config.json: cannot be read", "no folder of runs", "gone: no such folder"):
        assert word in printed
    assert printed.count("left out: ") == 3
    with pytest.raises(InputError, match="no such folder"):
        compare_runs([tmp_path / "gone"])


def test_runs_in_bytes_and_in_words_of_one_text_compare(tmp_path):
    text = b"the dog ran; the cat ran once. " * 40

    def run(name, content, vocabulary=None):
        (tmp_path / f"{name}.txt").write_bytes(content)
        corpus = prepare_source(
            tmp_path / f"{name}.txt",
            tmp_path / f"{name}-corpus",
            splits=(0.8, 0.2, 0),
            vocabulary=vocabulary,
        )
        folder = write(tmp_path / "runs" / name, digest=corpus.digest)
        description = json.loads((folder / "config.json").read_text())
        description["data"]["corpus"] = str(corpus.folder)
        description["vocabulary"] = corpus.manifest["vocabulary"]
        (folder / "config.json").write_text(json.dumps(description))
        return folder

    several = [run("bytes", text), run("characters", text, FitCharacters())]
    several.append(run("words", text, FitWords(minimum=2)))
    found = compare_runs(several)
    assert len({run.digest for run in found.runs}) == 3
    assert found.texts == 1, [run.text for run in found.runs]
    assert not found.warning
    assert compare_runs([*several, run("other", text[::-1])]).texts == 2
    shutil.rmtree(tmp_path / "words-corpus")
    gone = compare_runs(several)
    assert gone.texts is None
    assert "is not known" in str(gone)
    assert "not known" in figures.write(gone, tmp_path / "out")["runs"]


def test_a_run_without_a_log_has_begun(tmp_path):
    (write(tmp_path / "a") / "metrics.jsonl").unlink()
    found = compare_runs([tmp_path / "a"])
    assert found.runs[0].status == "begun"
    assert figures.of(found) == {}
    assert json.loads(found.to_json())["runs"][0]["last_bits_per_byte"] is None


def test_curves_are_drawn_against_four_units_and_written(tmp_path):
    write(tmp_path / "a", seeds=2)
    write(tmp_path / "b", digest="other")
    found = compare_runs([tmp_path / "a", tmp_path / "b"])
    (figure,) = figures.of(found).values()
    assert [axes.get_xlabel().split(",")[0] for axes in figure.axes] == [
        *("steps", "bytes read", "FLOPs", "seconds of training")
    ]
    lines = figure.axes[1].lines
    np.testing.assert_allclose(lines[0].get_xdata(), [640, 1280])
    np.testing.assert_allclose(lines[0].get_ydata(), [3.0, 2.0])
    assert lines[0].get_linestyle() != lines[1].get_linestyle()
    svg = figures.write(found, tmp_path / "out")["runs"]
    assert "a (2 models)" in svg
    assert "do not compare" in svg
