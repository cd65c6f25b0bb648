import gzip
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mlstm.corpus.reading import Corpus
from mlstm.corpus.shards import prepare_texts

ROOT = Path(__file__).parents[2]
# A program that writes its documents slowly, so that it can be killed in the middle.
SLOW = """
import sys, time
from launch import program
from mlstm.corpus import Document, prepare
folder = sys.argv.pop()
sys.argv[0] = "slow"
def documents():
    for n in range(10_000):
        if n == 200:
            print("half way", flush=True)
        if n >= 200:
            time.sleep(0.01)
        yield Document(f"d{n}", b"text " * 50, "train")
def main(_):
    prepare(documents(), folder, shard_bytes=3000)
program.run(main)
"""


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT)}


def launch_prepare(*flags):
    return subprocess.run(
        [sys.executable, "-m", "launch.prepare", *flags],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
    )


def one_line_of_error(*flags):
    done = launch_prepare(*flags)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(np.random.default_rng(0).integers(32, 127, 5000, np.uint8).tobytes())
    return path


def stopped_half_way(folder, number):
    """The exit code, and what was said on stderr."""
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "half way\n"
    child.send_signal(number)
    _, said = child.communicate(timeout=20)
    return child.returncode, said


def test_the_embedded_corpus_is_prepared_without_any_input(tmp_path):
    done = launch_prepare(f"--output={tmp_path / 'std'}")
    assert done.returncode == 0, done.stderr
    corpus = Corpus.open(tmp_path / "std")
    assert corpus.splits == ("train", "validation", "test")
    assert corpus.manifest["source"]["kind"] == "python_stdlib"
    assert corpus.digest in done.stdout


def test_splits_and_reset_are_those_of_the_flags(tmp_path, text):
    done = launch_prepare(
        f"--input={text}", f"--output={tmp_path / 'c'}", "--splits=0.8,0.2,0", "--reset=shard"
    )
    assert done.returncode == 0, done.stderr
    corpus = Corpus.open(tmp_path / "c")
    assert (corpus.reset, corpus.split("train").length) == ("shard", 4000)
    assert corpus.splits == ("train", "validation")


def test_a_damaged_file_among_others_is_a_warning_and_under_strict_an_error(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for n in range(20):
        (folder / f"{n}.txt").write_bytes(b"some text")
    (folder / "bad.txt.gz").write_bytes(gzip.compress(b"some text")[:-4])
    flags = [f"--input={folder}", f"--output={tmp_path / 'c'}", "--splits=1,0,0"]
    assert "bad.txt" in one_line_of_error(*flags, "--strict")
    done = launch_prepare(*flags)
    assert done.returncode == 0
    assert done.stderr.startswith("warning: left out bad.txt")


def test_an_existing_corpus_is_replaced_only_with_overwrite(tmp_path, text):
    flags = [f"--input={text}", f"--output={tmp_path / 'c'}"]
    assert launch_prepare(*flags).returncode == 0
    assert "--overwrite" in one_line_of_error(*flags, "--splits=0.5,0.5,0")
    assert launch_prepare(*flags, "--splits=0.5,0.5,0", "--overwrite").returncode == 0
    assert Corpus.open(tmp_path / "c").split("train").length == 2500


def test_another_corpus_is_refused_before_its_text_is_read(tmp_path, text):
    flags = [f"--output={tmp_path / 'c'}"]
    assert launch_prepare(f"--input={text}", *flags).returncode == 0
    assert "text.txt (5,000 bytes)" in one_line_of_error(*flags)


def test_a_file_left_out_is_a_warning_though_the_corpus_was_there_already(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for n in range(3):
        (folder / f"{n}.txt").write_bytes(b"some text")
    flags = [f"--input={folder}", f"--output={tmp_path / 'c'}", "--splits=1,0,0"]
    assert launch_prepare(*flags).stderr == ""
    (folder / "late.zip").write_bytes(b"PK")
    done = launch_prepare(*flags)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert done.stderr.startswith("warning: left out late.zip")


def test_verify_says_that_a_corpus_is_whole_and_names_the_file_that_is_not(tmp_path, text):
    flags = ["--verify", f"--output={tmp_path / 'c'}"]
    assert "no such folder" in one_line_of_error(*flags)
    assert launch_prepare(f"--input={text}", f"--output={tmp_path / 'c'}").returncode == 0
    done = launch_prepare(*flags)
    assert done.returncode == 0, done.stderr
    assert "as it was prepared" in done.stdout
    (tmp_path / "c/train-00000.bin").write_bytes(bytes(4500))
    assert "train-00000.bin was changed" in one_line_of_error(*flags)


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--input=~nobody-of-this-name/x"], "~nobody-of-this-name"),
        ([f"--input={'x' * 300}"], "name too long"),
        (["--input=nowhere.txt"], "nowhere.txt: no such file"),
        (["--input=/dev/null"], "/dev/null"),
        (["--splits=a,b,c"], "--splits=a,b,c"),
        (["--splits=0.5,0.5,0"], "fixes its own split"),
        (["--reset=never"], "reset"),
        (["--inptu=x"], "inptu"),
    ],
)
def test_bad_flags_are_one_line(tmp_path, flags, part):
    assert part in one_line_of_error(f"--output={tmp_path / 'c'}", *flags)
    assert os.listdir(tmp_path) == []


def test_the_output_has_to_be_named():
    assert "output" in one_line_of_error()


def test_killed_in_the_middle_leaves_no_corpus_and_a_second_run_clears_up(tmp_path, text):
    folder = tmp_path / "out" / "c"
    assert stopped_half_way(folder, signal.SIGKILL)[0] == -signal.SIGKILL
    assert not folder.exists()
    (remains,) = os.listdir(folder.parent)
    assert remains.startswith(".c.")
    assert launch_prepare(f"--input={text}", f"--output={folder}").returncode == 0
    Corpus.open(folder).verify()
    assert os.listdir(folder.parent) == ["c"]


def test_the_folder_of_a_preparer_that_lives_is_not_cleared_away(tmp_path, text):
    folder = tmp_path / "out" / "c"
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(folder)], stdout=subprocess.PIPE, env=environment()
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"half way\n"
        assert launch_prepare(f"--input={text}", f"--output={folder}").returncode == 0
        assert len(os.listdir(folder.parent)) == 2
        time.sleep(0.2)
        assert child.poll() is None
    finally:
        child.kill()
        child.communicate()


def test_ctrl_c_leaves_nothing_half_made(tmp_path):
    folder = tmp_path / "out" / "c"
    assert stopped_half_way(folder, signal.SIGINT) == (130, "slow: interrupted\n")
    assert os.listdir(folder.parent) == []


def test_ctrl_c_of_the_program_is_one_line_and_its_own_exit_code(tmp_path):
    folder, output = tmp_path / "texts", tmp_path / "out" / "c"
    folder.mkdir()
    for n in range(20_000):
        (folder / str(n)).write_bytes(b"x")
    child = subprocess.Popen(
        [sys.executable, "-m", "launch.prepare", f"--input={folder}", f"--output={output}"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    deadline = time.monotonic() + 20
    while not list(tmp_path.glob("out/.c.*/*.bin")) and time.monotonic() < deadline:
        time.sleep(0.005)
    child.send_signal(signal.SIGINT)
    _, stderr = child.communicate(timeout=20)
    assert child.returncode == 130
    assert stderr.splitlines()[-1] == "prepare: interrupted"
    assert "Traceback" not in stderr
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize("cleaning", ["none", "openai"])
def test_each_line_is_a_document_with_its_end_where_it_is_not_cleaned(tmp_path, cleaning):
    (tmp_path / "a.txt").write_bytes(b"line\n\n" * 30 + b"line\r\nline")
    made = prepare_texts(tmp_path / "a.txt", tmp_path / "corpus", cleaning=cleaning)
    found = {made.split(n).document(i) for n in made.splits for i in range(made.split(n).documents)}
    assert found == {b"line\n" if cleaning == "none" else b"\n line "}
    assert sum(made.split(name).documents for name in made.splits) == 32
    rows = "".join(f'{{"text": "row {k}"}}\n' for k in range(30))
    (tmp_path / "a.jsonl").write_text(rows)
    made = prepare_texts(tmp_path / "a.jsonl", tmp_path / "rows", splits=(1, 0, 0))
    assert not made.split("train").document(0).endswith(b"\n")


def test_each_row_of_a_table_is_a_document(launch, tmp_path):
    rows = "".join(f"{k},review {k}\n" for k in range(90))
    (tmp_path / "reviews.csv").write_text("id,review\n" + rows)
    flags = f"--input={tmp_path / 'reviews.csv'}", f"--output={tmp_path / 'corpus'}"
    result = launch("prepare", *flags, "--lines", "--text_field=review")
    assert result.returncode == 0, result.stderr
    opened = Corpus.open(tmp_path / "corpus")
    assert sum(opened.split(name).documents for name in opened.splits) == 90
    assert opened.split("train").document(0).startswith(b"review ")
    result = launch("prepare", *flags, "--text_field=review")
    assert b"--text_field says nothing without --lines" in result.stderr


def reviews(path, count=400):
    lines = [
        f'{{"reviewText": "review &amp; {k}\\n{k % 7}", "overall": 5.0}}\n' for k in range(count)
    ]
    lines[200:200] = ["{'reviewText': 'an old review'}\n", "{'reviewText': broken\n"]
    path.write_text("".join(lines))
    return path


def test_reviews_become_shards_and_a_broken_line_is_named(launch, tmp_path):
    text = reviews(tmp_path / "reviews.json")
    result = launch(
        "prepare",
        f"--input={text}",
        f"--output={tmp_path / 'c'}",
        "--lines",
        "--cleaning=openai",
        "--shards=10",
        "--held_out_shards=2,1",
        "--reset=shard",
        "--processes=2",
    )
    assert result.returncode == 0, result.stderr
    assert f"{text}:202: neither JSON nor a Python literal" in result.stderr.decode()
    corpus = Corpus.open(tmp_path / "c")
    counts = [len(corpus.manifest["splits"][name]["shards"]) for name in corpus.splits]
    assert (corpus.reset, counts) == ("shard", [10, 2, 1])
    assert sum(corpus.split(name).documents for name in corpus.splits) == 401
    assert corpus.split("train").document(0).startswith((b"\n review & ", b"\n an old"))


def test_the_jobs_of_an_array_say_who_is_missing_until_the_last_joins(launch, tmp_path):
    text = reviews(tmp_path / "reviews.json")
    flags = [f"--input={text}", f"--output={tmp_path / 'c'}", "--lines"]
    said = [launch("prepare", *flags, f"--shard={n}/2").stdout.decode() for n in (1, 0)]
    assert "pieces are missing (0)" in said[0] or "digest" in said[0]
    assert "digest" in said[1]
    assert not list(tmp_path.glob(".c*"))
    whole = launch("prepare", *flags[:1], f"--output={tmp_path / 'd'}", "--lines")
    digest = said[1].splitlines()[-1]
    assert digest in whole.stdout.decode()


def test_a_file_is_cut_where_the_flag_says(tmp_path, text):
    flags = [f"--input={text}", f"--output={tmp_path / 'c'}"]
    assert launch_prepare(*flags, "--splits_bytes=4000,600,400").returncode == 0
    corpus = Corpus.open(tmp_path / "c")
    assert [corpus.split(name).length for name in corpus.splits] == [4000, 600, 400]


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--splits_bytes=1,2,x"], "--splits_bytes=1,2,x: numbers are wanted"),
        (["--splits_bytes=1,2,3"], "have to be all of it"),
        (["--splits_bytes=1,2,3", "--lines"], "leave --lines out"),
        (["--shards=3"], "--shards says nothing without --lines"),
        (["--shard=1/2"], "--shard says nothing without --lines"),
        (["--lines", "--shard=2/2"], "shares are 0 to 1"),
        (["--lines", "--shard=x"], "I/N is wanted"),
        (["--lines", "--shards=3", "--held_out_shards=1"], "two numbers"),
        (["--lines", "--held_out_shards=2,2"], "--held_out_shards says nothing without --shards"),
        (
            ["--lines", "--duplicate_share=0.2"],
            "--duplicate_share says nothing without --deduplicate_against",
        ),
        (["--lines", "--noheadings"], "--headings says nothing without --format=wikitext"),
        (
            ["--format=wikitext_lines", "--noheadings"],
            "--headings says nothing without --format=wikitext",
        ),
        (["--verify"], "--verify prepares nothing, and --input says nothing with it"),
        (["--list"], "--list prepares nothing, and --input says nothing with it"),
        (["--lines", "--deduplicate_against=nowhere"], "nowhere: no such file"),
        (["--format=xml"], "format"),
        (["--cleaning=scrub"], "cleaning"),
    ],
)
def test_flags_of_records_that_are_wrong_are_one_line(tmp_path, text, flags, part):
    said = one_line_of_error(f"--input={text}", f"--output={tmp_path / 'out' / 'c'}", *flags)
    assert part in said


@pytest.mark.parametrize("flag", ["--lines", "--overwrite", "--strict", "--noheadings", "--list"])
def test_a_flag_of_preparing_goes_not_with_verify(tmp_path, flag):
    said = one_line_of_error("--verify", f"--output={tmp_path / 'c'}", flag)
    assert "says nothing with it" in said
