"""Corpora of records: many files, several processes, shares, broken lines."""

import bz2
import csv
import fcntl
import functools
import gzip
import io
import json
import lzma
import os
import subprocess
import sys

import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlstm.corpus import Document, open_source, prepare, prepare_share, prepare_texts
from mlstm.corpus import texts as texts_of
from mlstm.corpus.preparing import assembling, blocks, crew, making, pieces
from mlstm.corpus.vocabulary import Table, amino_acids, printable
from mlstm.errors import InputError

WORDS = ["fish &amp; chips", "café", "漢 😀", "plain", " lead", "trail \n x", "&notit;", ""]


def some_texts(count=300, seed=5):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(0, 9))) for _ in range(count)]


def write_objects(path, texts, field="text"):
    lines = [json.dumps({"n": n, field: text}) for n, text in enumerate(texts)]
    path.write_text("\n".join(lines) + "\n")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def found(corpus):
    """(split, name, text) of each document, in order."""
    return [
        (name, split.names[number], split.document(number))
        for name, split in ((name, corpus.split(name)) for name in corpus.splits)
        for number in range(split.documents)
    ]


def one_line(call):
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("cleaning", ["none", "openai"])
@pytest.mark.parametrize("shard_bytes", [700, 1 << 20])
def test_the_files_are_those_of_one_document_after_another(tmp_path, cleaning, shard_bytes):
    texts = some_texts()
    write_objects(tmp_path / "a.jsonl", texts)
    documents = [Document(f"a.jsonl:{n}", text.encode()) for n, text in enumerate(texts, 1)]
    given = {"cleaning": cleaning, "shard_bytes": shard_bytes, "splits": (0.6, 0.2, 0.2)}
    one = prepare(documents, tmp_path / "one", **given)
    two = prepare_texts(tmp_path / "a.jsonl", tmp_path / "two", block_bytes=1500, **given)
    assert one.digest == two.digest
    assert one.manifest["skipped"] == two.manifest["skipped"]
    two.verify()


def test_any_block_size_and_number_of_processes_give_the_same_files(tmp_path):
    write_objects(tmp_path / "a.jsonl", some_texts())
    given = [(1, 1 << 20), (1, 400), (2, 3000)]
    made = [
        contents(
            prepare_texts(
                tmp_path / "a.jsonl", tmp_path / str(n), processes=processes, block_bytes=size
            ).folder
        )
        for n, (processes, size) in enumerate(given)
    ]
    assert made[0] == made[1] == made[2]


def test_processes_are_used_from_a_program_without_a_main_guard(tmp_path):
    write_objects(tmp_path / "a.jsonl", some_texts(60))
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, jax\nfrom mlstm.corpus import prepare_texts\n"
        "from mlstm.corpus.preparing import crew\n"
        "folder = sys.argv[1]\n"
        "prepare_texts(folder + '/a.jsonl', folder + '/c', processes=2, block_bytes=900)\n"
        "class Asks:\n"
        "    def do(self):\n"
        "        return 'jax' in __import__('sys').modules\n"
        "print('once')\n"
    )
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "once\n"), done.stderr
    open_source(tmp_path / "c").verify()


def test_a_process_imports_no_jax():
    code = "import sys, mlstm.corpus.preparing.worker; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


PACKERS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_compressed_file_gives_the_texts_of_the_plain_one(tmp_path, suffix):
    write_objects(tmp_path / "a.jsonl", some_texts())
    packed = tmp_path / f"a.jsonl{suffix}"
    packed.write_bytes(PACKERS[suffix]((tmp_path / "a.jsonl").read_bytes()))
    given = {"block_bytes": 2000, "splits": (1, 0, 0)}
    plain = prepare_texts(tmp_path / "a.jsonl", tmp_path / "plain", **given)
    two = prepare_texts(packed, tmp_path / "packed", processes=2, **given)
    assert [text for *_, text in found(plain)] == [text for *_, text in found(two)]
    assert found(two)[0][1] == f"a.jsonl{suffix}:1"


def test_the_files_of_a_folder_are_read_each_in_its_format(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    write_objects(folder / "a.jsonl", ["object"] * 3)
    write_objects(folder / "b.json", ["review"] * 3, "reviewText")
    (folder / "c.csv").write_text('id,text\n1,"a\nrow"\n2,row\n')
    (folder / "d.tsv").write_text("id\ttext\n1\ttabs\n")
    (folder / "e.txt").write_text("line\n\nlast")
    corpus = prepare_texts(folder, tmp_path / "c", splits=(1, 0, 0))
    texts = [(name, text.decode()) for _, name, text in found(corpus)]
    assert texts == [
        *((f"a.jsonl:{n}", "object") for n in (1, 2, 3)),
        *((f"b.json:{n}", "review") for n in (1, 2, 3)),
        ("c.csv:1", "a\nrow"),
        ("c.csv:2", "row"),
        ("d.tsv:1", "tabs"),
        ("e.txt:1", "line\n"),
        ("e.txt:3", "last\n"),
    ]
    assert corpus.manifest["skipped"]["empty"] == 1


def test_a_broken_line_is_counted_and_named_and_under_strict_ends_it(tmp_path):
    texts = some_texts(200)
    write_objects(tmp_path / "good.jsonl", texts)
    lines = (tmp_path / "good.jsonl").read_bytes().splitlines(keepends=True)
    lines[120:120] = [b'{"n": 7, "te\n']
    lines[50:50] = [b"\n"]
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines))
    corpus = prepare_texts(tmp_path / "a.jsonl", tmp_path / "c", block_bytes=1000)
    (bad,) = corpus.manifest["skipped"]["unreadable"]
    assert bad["name"] == "a.jsonl:122"
    assert bad["error"].startswith(f"{tmp_path}/a.jsonl:122: no JSON: ")
    assert sorted(text for *_, text in found(corpus)) == sorted(
        text.encode() for text in texts if text
    )
    assert "a.jsonl:121" not in {name for _, name, _ in found(corpus)}  # a number of its own
    said = one_line(
        lambda: prepare_texts(
            tmp_path / "a.jsonl", tmp_path / "d", block_bytes=1000, strict=True, processes=2
        )
    )
    assert said.startswith(f"{tmp_path}/a.jsonl:122: no JSON: ")


def test_many_broken_lines_are_counted_and_some_are_named(tmp_path):
    good = [json.dumps({"text": f"good {n}"}) for n in range(40)]
    lines = [line for line in good for line in (line, *["x"] * 60)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    corpus = prepare_texts(tmp_path / "a.jsonl", tmp_path / "c", block_bytes=200)
    skipped = corpus.manifest["skipped"]
    assert skipped["broken"] == 2400
    assert len(skipped["unreadable"]) <= 1000
    assert "left out: 2,400 documents that are unreadable" in str(corpus)


def test_a_wrong_field_is_told_without_reading_to_the_end(tmp_path):
    write_objects(tmp_path / "a.jsonl", some_texts(200), "body")
    said = one_line(lambda: prepare_texts(tmp_path / "a.jsonl", tmp_path / "c"))
    assert 'a.jsonl:1: no field "text" (fields: n, body). Name it with --text_field' in said
    assert "all of the first 200 records" in said


def broken_inputs(tmp_path):
    text = "".join(json.dumps({"text": f"text {n}"}) + "\n" for n in range(5000)).encode()
    packed = gzip.compress(text)
    return {
        "cut.jsonl.gz": (packed[: len(packed) // 2], "damaged, cut short, or not a .gz file"),
        "flipped.jsonl.gz": (packed[:-8] + bytes(8), "damaged, cut short, or not a .gz file"),
        "empty.jsonl": (b"", "is empty"),
        "blank.jsonl": (b"\n \n\r\n", "there is no text: every document is empty"),
        "blank.txt": (b"\n\r\n\n", "there is no text: every document is empty"),
        "utf16.jsonl": (text.decode().encode("utf-16"), "utf16.jsonl is UTF-16: convert it to"),
        "utf16.csv": ("\ufefftext\na\n".encode("utf-16-be"), "utf16.csv is UTF-16: convert"),
        "utf16.txt": ("a\nb\n".encode("utf-16"), "utf16.txt is UTF-16: convert it to UTF-8"),
        "utf16.txt.gz": (gzip.compress("a\nb\n".encode("utf-16")), "gz is UTF-16: convert it"),
        "utf32.txt": ("a\nb\n".encode("utf-32"), "utf32.txt is UTF-32: convert it to UTF-8"),
        "old.csv": (b"n,text\r1,a\r2,b\r", "old.csv:1: no CSV: a line ends in a bare carriage"),
        "old.tsv": (b"n\ttext\r1\ta\r", "old.tsv:1: no TSV: a line ends in a bare carriage"),
        "latin.csv": (b"a,b\n\xe9,1\n", 'latin.csv:1: no field "text"'),
        "quote.csv": (b'text\n"never ends\n', "quote.csv:2: no CSV: unexpected end of data"),
        "a.zip": (b"PK", "is an archive"),
        "a.parquet": (b"PAR1 no", "damaged, cut short, or not a .parquet file"),
    }


@pytest.mark.parametrize("name", list(broken_inputs(None)))
def test_what_cannot_be_prepared_is_one_clear_line(tmp_path, name):
    data, words = broken_inputs(tmp_path)[name]
    (tmp_path / name).write_bytes(data)
    said = one_line(lambda: prepare_texts(tmp_path / name, tmp_path / "out" / "c"))
    assert words in said
    assert len(said) < 400


def test_a_damaged_file_among_others_is_left_out_as_a_whole_and_named(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for n in range(3):
        write_objects(folder / f"{n}.jsonl", some_texts(40, n))
    packed = gzip.compress(b'{"text": "%s"}\n' % (b"ab " * 200) * 900)
    (folder / "1-cut.jsonl.gz").write_bytes(packed[:-20])
    (folder / "2-none.csv").write_text("id,body\n1,a\n")
    corpus = prepare_texts(folder, tmp_path / "with", block_bytes=3000, processes=2)
    bad = {each["name"]: each["error"] for each in corpus.manifest["skipped"]["unreadable"]}
    assert sorted(bad) == ["1-cut.jsonl", "2-none.csv"]
    for name in ("1-cut.jsonl.gz", "2-none.csv"):
        (folder / name).unlink()
    assert prepare_texts(folder, tmp_path / "without").digest == corpus.digest


def test_lines_that_are_too_long_are_told_and_never_held(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "LONGEST", 5 << 20)
    short = b'{"text": "a text"}\n'
    for name, pack in {"a.jsonl": bytes, "b.jsonl.gz": gzip.compress}.items():
        long = b'{"text": "' + b"x" * (9 << 20) + b'"}\n'
        (tmp_path / name).write_bytes(pack(short * 5 + long + short * 5 + long[:-1]))
        corpus = prepare_texts(
            tmp_path / name, tmp_path / f"c{name}", splits=(1, 0, 0), block_bytes=4000
        )
        bad = corpus.manifest["skipped"]["unreadable"]
        assert [each["name"] for each in bad] == [f"{name}:6", f"{name}:12"]
        assert "bytes, longer than the" in bad[0]["error"]
        assert f"{len(long) - 1:,}" in bad[0]["error"]
        assert f"{len(long) - 1:,}" in bad[1]["error"]
        names = [each for _, each, _ in found(corpus)]
        assert sorted(names) == sorted(f"{name}:{n}" for n in (*range(1, 6), *range(7, 12)))


def test_a_hundred_megabytes_without_a_line_end_take_bounded_memory(tmp_path):
    with (tmp_path / "a.txt").open("wb") as file:
        file.write(b"first\n")
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b"\nlast\n")
    code = (
        "import sys\nfrom mlstm.corpus import prepare_texts\n"
        "made = prepare_texts(sys.argv[1] + '/a.txt', sys.argv[1] + '/c', splits=(1, 0, 0))\n"
        "print(made.split('train').read(0, 11).tobytes(), made.manifest['skipped'])\n"
        "print([line for line in open('/proc/self/status') if 'VmHWM' in line][0].split()[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    said, peak = done.stdout.splitlines()
    assert said.startswith("b'first\\nlast\\n'"), done.stderr
    assert "104,857,600 bytes, longer than the" in said
    assert int(peak) < 150_000


ENDS = st.sampled_from(["\n", "\r\n"])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_texts_come_back_from_any_format_cut_into_any_blocks(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    texts = data.draw(st.lists(st.text(letters, max_size=12), min_size=1, max_size=10))
    texts.append("the last")
    size = data.draw(st.integers(1, 300))
    kind = data.draw(st.sampled_from(["jsonl", "literal", "csv", "txt"]))
    end = data.draw(ENDS)
    if kind in ("jsonl", "literal"):
        name, write = "a.jsonl", json.dumps if kind == "jsonl" else repr
        gap = data.draw(st.sampled_from(["", end, " " + end]))
        body = (end + gap).join(write({"text": text}) for text in texts)
    elif kind == "csv":
        name, out = "a.csv", io.StringIO(newline="")
        # A writer of Python leaves "\r" without quotes where lines end in "\n".
        quoting = csv.QUOTE_ALL if "\r" in "".join(texts) else csv.QUOTE_MINIMAL
        writer = csv.writer(out, lineterminator=end, quoting=quoting)
        writer.writerows([["text", "n"], *([t, 1] for t in texts)])
        body = out.getvalue()
    else:
        texts = [text.replace("\n", "").replace("\r", "") for text in texts]
        name, body = "a.txt", end.join(texts)
    (folder / name).write_bytes(body.encode())
    corpus = prepare_texts(folder / name, folder / "c", splits=(1, 0, 0), block_bytes=size)
    line_end = "\n" if kind == "txt" else ""
    expected = [
        (f"{name}:{n}", (text + line_end).encode()) for n, text in enumerate(texts, 1) if text
    ]
    got = [(name, text) for _, name, text in found(corpus)]
    if len(expected) + corpus.manifest["skipped"]["empty"] > 1:
        assert got == expected


def test_a_vocabulary_that_lacks_a_byte_leaves_its_document_out(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"MKV\nM-1\nAC\n" * 20)
    corpus = prepare_texts(
        tmp_path / "a.txt", tmp_path / "c", vocabulary=amino_acids(), block_bytes=30
    )
    bad = corpus.manifest["skipped"]["unreadable"]
    assert [each["name"] for each in bad] == [f"a.txt:{n}" for n in range(2, 60, 3)]
    assert "a.txt:2: b'-' at byte 1 is no symbol" in bad[0]["error"]
    other = prepare_texts(tmp_path / "a.txt", tmp_path / "d", vocabulary=printable())
    assert {text for *_, text in found(other)} == {b"MKV\n", b"M-1\n", b"AC\n"}


def test_the_same_call_again_opens_what_is_there_and_another_is_refused(tmp_path):
    write_objects(tmp_path / "a.jsonl", some_texts())
    one = prepare_texts(tmp_path / "a.jsonl", tmp_path / "c")
    before = os.stat(one.folder / "manifest.json").st_mtime_ns
    assert prepare_texts(tmp_path / "a.jsonl", tmp_path / "c").digest == one.digest
    assert os.stat(one.folder / "manifest.json").st_mtime_ns == before
    for other in ({"cleaning": "openai"}, {"splits": (0.5, 0.5, 0)}, {"shards": 3}):
        said = one_line(
            lambda other=other: prepare_texts(tmp_path / "a.jsonl", tmp_path / "c", **other)
        )
        assert "--overwrite" in said
    write_objects(tmp_path / "a.jsonl", some_texts(100))
    assert "--overwrite" in one_line(lambda: prepare_texts(tmp_path / "a.jsonl", tmp_path / "c"))
    made = prepare_texts(tmp_path / "a.jsonl", tmp_path / "c", overwrite=True)
    assert made.digest != one.digest
    assert sorted(os.listdir(tmp_path)) == ["a.jsonl", "c"]


def test_pieces_that_are_there_are_not_made_again_and_damaged_ones_are(tmp_path, monkeypatch):
    write_objects(tmp_path / "a.jsonl", some_texts())
    whole = prepare_texts(tmp_path / "a.jsonl", tmp_path / "whole", block_bytes=2000)
    made = []
    results = crew.results

    def some(tasks, processes):
        for number, result in enumerate(results(tasks, processes)):
            made.append(result)
            if number == 4:
                raise KeyboardInterrupt
            yield result

    monkeypatch.setattr(crew, "results", some)
    with pytest.raises(KeyboardInterrupt):
        prepare_texts(tmp_path / "a.jsonl", tmp_path / "c", block_bytes=2000)
    (staging,) = tmp_path.glob(".c.*.pieces")
    there = sorted(staging.glob("*.piece"))
    assert len(there) == 5
    there[1].write_bytes(there[1].read_bytes()[:-3])
    flipped = bytearray(there[2].read_bytes())
    flipped[-1] ^= 1
    there[2].write_bytes(flipped)
    made.clear()
    monkeypatch.setattr(
        crew, "results", lambda *given: (made.append(each) or each for each in results(*given))
    )
    again = prepare_texts(tmp_path / "a.jsonl", tmp_path / "c", block_bytes=2000)
    numbers = {each.number for each in made}
    assert {1, 2} <= numbers
    assert not {0, 3, 4} & numbers
    assert contents(again.folder) == contents(whole.folder)
    assert not staging.exists()


def shares(tmp_path, count, order, source):
    said = []
    for number in order:
        made = prepare_share(
            source, tmp_path / "shared", number, count, block_bytes=1500, cleaning="openai"
        )
        said.append(made)
    return said


@pytest.mark.parametrize("files", [1, 7])
def test_shares_in_any_order_make_the_corpus_of_one_job(tmp_path, files):
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(files):
        write_objects(folder / f"{number}.jsonl", some_texts(280 // files, number))
    source = folder if files > 1 else folder / "0.jsonl"
    whole = prepare_texts(source, tmp_path / "whole", cleaning="openai")
    waiting = shares(tmp_path, 3, [2, 0], source)
    assert waiting[0].missing == (0, 1)
    assert waiting[1].missing == (1,)
    assert "pieces are missing (1)" in str(waiting[1])
    assert not (tmp_path / "shared").exists()
    (made,) = shares(tmp_path, 3, [1], source)
    assert contents(made.folder) == contents(whole.folder)
    assert shares(tmp_path, 3, [2], source)[0].digest == made.digest  # late, and nothing to do
    assert not list(tmp_path.glob(".*"))


def test_a_share_that_there_is_not_is_refused(tmp_path):
    write_objects(tmp_path / "a.jsonl", ["a"] * 9)
    said = one_line(lambda: prepare_share(tmp_path / "a.jsonl", tmp_path / "c", 3, 3))
    assert "shares are 0 to 2" in said


def test_a_process_that_dies_is_told_and_leaves_what_is_finished(tmp_path, monkeypatch):
    write_objects(tmp_path / "a.jsonl", some_texts())
    monkeypatch.setattr(crew, "_PROGRAM", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    said = one_line(
        lambda: prepare_texts(tmp_path / "a.jsonl", tmp_path / "c", processes=2, block_bytes=999)
    )
    assert "signal 9" in said
    monkeypatch.undo()
    prepare_texts(tmp_path / "a.jsonl", tmp_path / "c", processes=2, block_bytes=999)


def test_pieces_of_an_output_with_a_longer_name_are_left_alone(tmp_path):
    write_objects(tmp_path / "a.jsonl", some_texts())
    prepare_share(tmp_path / "a.jsonl", tmp_path / "c.b", 0, 2, block_bytes=1500)
    old = tmp_path / f".c.{'0' * 16}.pieces"  # of settings that were given up
    old.mkdir()
    (old / "in use").touch()
    (waiting,) = tmp_path.glob(".c.b.*.pieces")
    prepare_texts(tmp_path / "a.jsonl", tmp_path / "c")
    assert list(waiting.glob("*.piece"))
    assert sorted(os.listdir(tmp_path)) == sorted(["a.jsonl", "c", waiting.name])


def broken_in_the_middle(tmp_path):
    write_objects(tmp_path / "a.jsonl", some_texts(200))
    lines = (tmp_path / "a.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "a.jsonl").write_bytes(b"".join([*lines[:120], b"broken\n", *lines[120:]]))
    return tmp_path / "a.jsonl"


def test_strict_holds_for_pieces_that_are_there(tmp_path):
    path = broken_in_the_middle(tmp_path)
    given = {"block_bytes": 1000}
    for _ in range(2):
        said = one_line(lambda: prepare_texts(path, tmp_path / "c", strict=True, **given))
        assert said.startswith(f"{path}:121: no JSON: ")
    assert not (tmp_path / "c").exists()
    prepare_texts(path, tmp_path / "c", **given)
    said = one_line(lambda: prepare_texts(path, tmp_path / "c", strict=True, **given))
    assert said.startswith(f"{path}:121: no JSON: ")


def test_strict_holds_for_pieces_of_other_shares(tmp_path):
    path = broken_in_the_middle(tmp_path)
    for number in range(2):
        prepare_share(path, tmp_path / "c", number, 3, block_bytes=1000)
    share = functools.partial(prepare_share, path, tmp_path / "c", 2, 3, block_bytes=1000)
    said = one_line(lambda: share(strict=True))
    assert said.startswith(f"{path}:121: no JSON: ")
    assert not (tmp_path / "c").exists()


def test_all_of_the_first_records_are_broken_the_second_time_too(tmp_path):
    write_objects(tmp_path / "a.jsonl", ["a text"] * 50)
    good = (tmp_path / "a.jsonl").read_bytes()
    (tmp_path / "a.jsonl").write_bytes(b"broken\n" * 600 + good)
    for _ in range(2):
        said = one_line(
            lambda: prepare_texts(tmp_path / "a.jsonl", tmp_path / "c", block_bytes=1000)
        )
        assert "all of the first" in said


def test_a_share_reads_only_its_own_pieces_and_a_damaged_one_of_others_is_found(
    tmp_path, monkeypatch
):
    write_objects(tmp_path / "a.jsonl", some_texts())
    whole = prepare_texts(tmp_path / "a.jsonl", tmp_path / "whole")
    given = {"block_bytes": 1500, "deduplicate_against": ["own"]}
    share = functools.partial(prepare_share, tmp_path / "a.jsonl", tmp_path / "c", **given)
    share(0, 3)
    (staging,) = tmp_path.glob(".c.*.pieces")
    first = staging / "00000-000000.piece"
    read, pieces_read = pieces.read, []
    monkeypatch.setattr(pieces, "read", lambda path: (pieces_read.append(path), read(path))[1])
    share(1, 3)
    assert first not in pieces_read
    first.write_bytes(first.read_bytes()[:-1])
    assert "was damaged since; run again" in one_line(lambda: share(2, 3))
    assert share(2, 3).missing == (0,)
    assert share(0, 3).split("test").documents == whole.split("test").documents


def test_the_slower_of_two_without_locks_takes_what_the_faster_made(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(95, "Operation not supported")

    write_objects(tmp_path / "a.jsonl", some_texts())
    prepare_one = functools.partial(prepare_texts, tmp_path / "a.jsonl", tmp_path / "c")
    monkeypatch.setattr(fcntl, "flock", no_locks)
    assemble = assembling.assemble

    def overtaken(*given, **named):
        monkeypatch.setattr(assembling, "assemble", assemble)
        prepare_one()
        return assemble(*given, **named)

    monkeypatch.setattr(assembling, "assemble", overtaken)
    prepare_one().verify()
    assert sorted(os.listdir(tmp_path)) == ["a.jsonl", "c"]


def test_a_row_that_the_vocabulary_lacks_is_told_by_its_line(tmp_path):
    (tmp_path / "a.csv").write_text('text,n\n"a\nb",1\n\nab,2\n"a\n\nc",3\nb,4\n')
    given = {"vocabulary": Table((None, b"a", b"b", b"\n"), name="ab"), "splits": (1, 0, 0)}
    corpus = prepare_texts(tmp_path / "a.csv", tmp_path / "c", **given)
    (bad,) = corpus.manifest["skipped"]["unreadable"]
    assert bad["error"].startswith(f"{tmp_path}/a.csv:6: b'c' at byte 3 is no symbol")


@pytest.mark.parametrize(("name", "line"), [("a.jsonl", 122), ("a.csv", 123)])
@pytest.mark.parametrize("processes", [1, 2])
def test_what_nobody_thought_of_ends_the_work_and_names_the_line(
    tmp_path, monkeypatch, name, line, processes
):
    texts = [f"text {n}" for n in range(300)]
    texts[121] = "a strange one"
    if name == "a.csv":
        (tmp_path / name).write_text("\n".join(["text", *texts]))
    else:
        write_objects(tmp_path / name, texts)
    program = (
        "from mlstm.corpus.preparing import making\n"
        "def cleaner(*_):\n"
        "    def clean(text):\n"
        "        assert b'strange' not in (text if isinstance(text, bytes) else text.encode())\n"
        "        return b'x'\n"
        "    return clean\n"
        "making._cleaner = cleaner\n"
    )
    cleaner = {}
    exec(program.replace("making._cleaner", "found"), cleaner)
    monkeypatch.setattr(making, "_cleaner", cleaner["found"])
    monkeypatch.setattr(crew, "_PROGRAM", program + crew._PROGRAM)
    given = {"block_bytes": 500, "processes": processes}
    said = one_line(lambda: prepare_texts(tmp_path / name, tmp_path / "c", **given))
    assert said == f"{tmp_path}/{name}:{line}: unexpected: AssertionError: "
    assert not (tmp_path / "c").exists()


def test_a_reader_that_fails_among_other_files_ends_the_work_too(tmp_path, monkeypatch):
    (tmp_path / "texts").mkdir()
    for name in ("a.csv", "b.csv"):
        (tmp_path / "texts" / name).write_text("text\none\ntwo\n")

    def table(*_, **__):
        yield texts_of.Record(b"one", [], 2)
        raise KeyError("strange")

    monkeypatch.setattr(texts_of, "_table", table)
    said = one_line(lambda: prepare_texts(tmp_path / "texts", tmp_path / "c"))
    assert said == f"{tmp_path}/texts/a.csv:3: unexpected: KeyError: 'strange'"
