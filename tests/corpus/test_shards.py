import errno
import gzip
import json
import os
import resource
import shutil
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlstm.corpus.reading import Corpus
from mlstm.corpus.shards import open_source, prepare, prepare_source
from mlstm.corpus.sources import Document, TextFile
from mlstm.corpus.writing import SplitWriter
from mlstm.errors import InputError

HALVES = {"splits": (0.5, 0.25, 0.25), "shard_bytes": 1000}


def message(call) -> str:
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def some_documents(count=60):
    rng = np.random.default_rng(0)
    return [Document(f"d{n}", rng.bytes(int(rng.integers(1, 90)))) for n in range(count)]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def corpus(tmp_path):
    return prepare(some_documents(), tmp_path / "corpus", shard_bytes=500)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=12), st.integers(1, 50))
def test_any_documents_come_back_whole_from_shards_of_any_size(tmp_path_factory, texts, limit):
    texts = [*texts, b"the last"]
    folder = tmp_path_factory.mktemp("any") / "corpus"
    documents = [Document(f"d{n}", text, "train") for n, text in enumerate(texts)]
    split = prepare(documents, folder, shard_bytes=limit).split("train")
    kept = [(document.name, document.data) for document in documents if document.data]
    assert [(split.names[n], split.document(n)) for n in range(split.documents)] == kept


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_range_reads_alike_from_one_shard_and_from_several(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("ranges")
    text = np.random.default_rng(1).bytes(200)
    limit = data.draw(st.integers(1, 210))
    split = prepare([Document("d", text, "train")], folder / "c", shard_bytes=limit).split("train")
    start = data.draw(st.integers(0, 200))
    stop = data.draw(st.integers(start, 200))
    assert split.read(start, stop).tobytes() == text[start:stop]


def test_reading_outside_the_split_is_an_index_error(corpus):
    split = corpus.split("train")
    with pytest.raises(IndexError):
        split.read(0, split.length + 1)


def test_every_document_is_in_one_split_and_none_is_lost(corpus):
    found = [
        (name, corpus.split(split).document(n))
        for split in corpus.splits
        for n, name in enumerate(corpus.split(split).names)
    ]
    assert sorted(found) == sorted((d.name, d.data) for d in some_documents())


def test_state_is_reset_at_each_document_or_at_each_shard(tmp_path):
    documents = [Document("a", b"x" * 30, "train"), Document("b", b"y" * 50, "train")]
    by_document = prepare(documents, tmp_path / "d", shard_bytes=35)
    by_shard = prepare(documents, tmp_path / "s", shard_bytes=35, reset="shard")
    assert by_document.split("train").reset_points.tolist() == [0, 30]
    assert by_shard.split("train").reset_points.tolist() == [0, 35, 70]


def test_the_same_documents_give_the_same_files_bit_by_bit(tmp_path):
    one = prepare(some_documents(), tmp_path / "one")
    two = prepare(some_documents(), tmp_path / "two")
    assert contents(one.folder) == contents(two.folder)


def test_the_digest_sees_where_documents_start(tmp_path):
    one = prepare([Document("a", b"xx", "train"), Document("b", b"y", "train")], tmp_path / "1")
    two = prepare([Document("a", b"x", "train"), Document("b", b"xy", "train")], tmp_path / "2")
    assert one.digest != two.digest


@pytest.mark.parametrize("limit", [7, 1 << 20])
def test_a_file_is_cut_where_a_character_ends(tmp_path, monkeypatch, limit):
    monkeypatch.setattr("mlstm.corpus.files.CHUNK", limit)
    text = ("é" * 49 + "\U0001f600" * 25).encode() + b"\xff\xc3"
    (tmp_path / "a.txt").write_bytes(text)
    corpus = prepare_source(tmp_path / "a.txt", tmp_path / "c", splits=(0.455, 0.345, 0.2))
    parts = [corpus.split(name).document(0) for name in corpus.splits]
    assert b"".join(parts) == text
    assert [len(part) for part in parts] == [90, 68, 42]


def test_one_file_is_cut_by_bytes_into_contiguous_splits(tmp_path):
    text = np.random.default_rng(0).integers(32, 127, 1000, np.uint8).tobytes()
    (tmp_path / "a.txt").write_bytes(text)
    corpus = prepare_source(tmp_path / "a.txt", tmp_path / "c", splits=(0.9, 0.1, 0))
    assert corpus.splits == ("train", "validation")
    assert corpus.split("train").read(0, 900).tobytes() == text[:900]
    assert corpus.split("validation").document(0) == text[900:]


@pytest.mark.parametrize("splits", [(0.6, 0.3, 0.1), (0.7, 0.2, 0.1), (0.3, 0.7, 0), (1, 0, 0)])
def test_the_cut_is_exact_whatever_the_fractions_round_to(tmp_path, splits):
    corpus = prepare([Document("a", bytes(1000))], tmp_path / "c", splits=splits)
    ids = [part["ids"] for part in corpus.manifest["splits"].values()]
    assert ids == [round(1000 * part) for part in splits]


def test_a_compressed_file_gives_the_corpus_of_the_plain_one(tmp_path):
    text = np.random.default_rng(0).bytes(1000)
    (tmp_path / "a.txt").write_bytes(text)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(text))
    plain = prepare_source(tmp_path / "a.txt", tmp_path / "plain")
    packed = prepare_source(tmp_path / "a.txt.gz", tmp_path / "packed")
    assert plain.digest == packed.digest


def damaged_folder(tmp_path):
    """Thirty files of text; one is a .gz that breaks off after much of it was good."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for n in range(30):
        (folder / f"{n:02d}.txt").write_bytes(b"%d " % n * 50)
    packed = gzip.compress(np.random.default_rng(0).bytes(3_000_000))
    (folder / "11-bad.txt.gz").write_bytes(packed[:-100])
    return folder


def test_a_damaged_file_among_others_is_named_and_leaves_nothing_behind(tmp_path):
    folder = damaged_folder(tmp_path)
    corpus = prepare_source(folder, tmp_path / "with", **HALVES)
    (bad,) = corpus.manifest["skipped"]["unreadable"]
    assert bad["name"] == "11-bad.txt"
    (folder / "11-bad.txt.gz").unlink()
    clean = prepare_source(folder, tmp_path / "without", **HALVES)
    assert corpus.digest == clean.digest
    assert sorted(contents(corpus.folder)) == sorted(contents(clean.folder)), "shards left over"
    corpus.verify()


def test_a_damaged_last_file_leaves_no_bytes_behind(tmp_path):
    folder = damaged_folder(tmp_path)
    packed = gzip.compress(b"to be taken back " * 3)
    (folder / "zz.gz").write_bytes(packed[:-8])
    prepare_source(folder, tmp_path / "c", splits=(1, 0, 0)).verify()


def test_strict_ends_at_the_damaged_file(tmp_path):
    folder = damaged_folder(tmp_path)
    assert "11-bad" in message(lambda: prepare_source(folder, tmp_path / "c", strict=True))
    assert os.listdir(tmp_path) == ["texts"]


@pytest.mark.parametrize("part", ["train-00001.bin", "train-00001.starts.npy", "test-00000.bin"])
def test_verify_names_the_file_in_which_one_byte_was_changed(corpus, part):
    corpus.verify()
    path = corpus.folder / part
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert part in message(Corpus.open(corpus.folder).verify)


def test_verifying_says_how_far_it_is(corpus):
    calls = []
    corpus.verify(lambda done, total: calls.append((done, total)))
    size = sum(path.stat().st_size for path in corpus.folder.iterdir())
    total = size - (corpus.folder / "manifest.json").stat().st_size
    assert calls[-1] == (total, total)
    assert calls == sorted(calls)


@pytest.mark.parametrize("wrong", [[1, 0], [0, 0], [0, 10**9], [-1, 0]])
def test_starts_that_do_not_ascend_inside_the_shard_are_refused(tmp_path, wrong):
    documents = [Document("a", b"text", "train"), Document("b", b"more", "train")]
    corpus = prepare(documents, tmp_path / "c")
    np.save(corpus.folder / "train-00000.starts.npy", np.array(wrong, np.int64))
    assert "train-00000.starts.npy" in message(lambda: Corpus.open(corpus.folder).split("train"))


@pytest.mark.parametrize("part", ["train-00001.bin", "train-00000.names.txt"])
def test_a_corpus_with_a_truncated_file_does_not_open(corpus, part):
    os.truncate(corpus.folder / part, 3)
    assert part in message(lambda: Corpus.open(corpus.folder))


def test_a_corpus_with_a_missing_file_does_not_open(corpus):
    (corpus.folder / "train-00001.bin").unlink()
    assert "train-00001.bin" in message(lambda: Corpus.open(corpus.folder))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"format": "other"}', '{"format": "mlstm corpus"}', "\ud800"]
)
def test_a_manifest_that_is_none_is_one_line(corpus, text):
    (corpus.folder / "manifest.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert "manifest.json" in message(lambda: Corpus.open(corpus.folder))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_change_of_a_manifest_field_is_refused_or_harmless(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("m") / "c"
    corpus = prepare(some_documents(), folder, shard_bytes=1500)
    manifest = json.loads((folder / "manifest.json").read_text())
    node, parents = manifest, []
    while isinstance(node, dict | list) and node:
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else [0]))
        parents.append((node, key))
        node = node[key]
    parent, key = data.draw(st.sampled_from(parents))
    junk = st.one_of(st.none(), st.integers(-3, 9), st.text(max_size=3), st.just([]), st.just({}))
    parent[key] = data.draw(junk)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    try:
        opened = Corpus.open(folder)
        opened.verify()
    except InputError:
        return
    assert opened.split("train").document(0) == corpus.split("train").document(0)


def test_a_manifest_edited_by_hand_does_not_open(corpus):
    path = corpus.folder / "manifest.json"
    path.write_text(path.read_text().replace('"reset": "document"', '"reset": "shard"'))
    assert "was changed" in message(lambda: Corpus.open(corpus.folder))


def test_a_version_that_cannot_be_read_is_named_with_the_one_that_can(corpus):
    path = corpus.folder / "manifest.json"
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 7'))
    assert "format_version 7 cannot be read; this version reads 1" in message(
        lambda: Corpus.open(corpus.folder)
    )


def test_a_folder_that_is_no_corpus_is_one_line(tmp_path):
    assert "not a prepared corpus" in message(lambda: Corpus.open(tmp_path))
    assert "no such folder" in message(lambda: Corpus.open(tmp_path / "x"))


def test_a_split_that_is_not_there_is_named_with_those_that_are(tmp_path):
    corpus = prepare([Document("a", b"x", "train")], tmp_path / "c")
    assert "'dev'; it has train" in message(lambda: corpus.split("dev"))


def test_an_existing_corpus_with_the_same_contents_is_left_as_it_is(corpus):
    before = (corpus.folder / "manifest.json").stat()
    prepare(some_documents(), corpus.folder, shard_bytes=500)
    assert (corpus.folder / "manifest.json").stat() == before


def test_an_existing_corpus_with_other_contents_is_kept_unless_told_otherwise(corpus):
    before = contents(corpus.folder)
    others = some_documents(61)
    assert "--overwrite" in message(lambda: prepare(others, corpus.folder))
    assert contents(corpus.folder) == before
    replaced = prepare(others, corpus.folder, overwrite=True)
    assert sum(part["documents"] for part in replaced.manifest["splits"].values()) == 61
    assert os.listdir(corpus.folder.parent) == ["corpus"]


def never():
    raise AssertionError("work was done")
    yield


@pytest.mark.parametrize(
    "settings",
    [
        {"reset": "shard"},
        {"splits": (0.5, 0.5, 0)},
        {"source": {"kind": "file", "name": "other.txt", "size": 9, "sha256": "0"}},
    ],
)
def test_a_corpus_of_another_source_or_other_settings_is_refused_before_any_work(corpus, settings):
    assert "--overwrite" in message(lambda: prepare(never(), corpus.folder, **settings))


def test_what_this_run_left_out_is_told_though_the_corpus_was_there_already(tmp_path):
    folder = damaged_folder(tmp_path)
    packed = folder / "11-bad.txt.gz"
    packed.rename(tmp_path / "aside")
    prepare_source(folder, tmp_path / "c", **HALVES)
    (tmp_path / "aside").rename(packed)
    again = prepare_source(folder, tmp_path / "c", **HALVES)
    (bad,) = again.manifest["skipped"]["unreadable"]
    assert bad["name"] == "11-bad.txt"
    assert open_source(folder, tmp_path / "c", splits=HALVES["splits"]).digest == again.digest


def test_a_damaged_corpus_is_not_taken_for_the_same_as_the_text_prepared_again(corpus):
    path = corpus.folder / "train-00000.bin"
    path.write_bytes(bytes(path.stat().st_size))
    assert "--overwrite" in message(
        lambda: prepare(some_documents(), corpus.folder, shard_bytes=500)
    )


def test_overwriting_never_destroys_what_is_no_corpus(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter1").write_text("all of it")
    for overwrite in (False, True):
        assert "no prepared corpus" in message(
            lambda: prepare(some_documents(), tmp_path / "thesis", overwrite=overwrite)  # noqa: B023
        )
    assert (tmp_path / "thesis/chapter1").read_text() == "all of it"


def test_overwriting_a_corpus_spares_a_foreign_file_in_it(corpus):
    (corpus.folder / "notes.txt").write_text("mine")
    assert "notes.txt" in message(
        lambda: prepare(some_documents(61), corpus.folder, overwrite=True)
    )
    assert (corpus.folder / "notes.txt").read_text() == "mine"


def test_an_open_split_outlives_the_overwriting_of_its_corpus(corpus):
    split = corpus.split("train")
    before = split.read(0, split.length).tobytes()
    prepare(some_documents(61), corpus.folder, overwrite=True)
    assert split.read(0, split.length).tobytes() == before


def test_an_error_half_way_leaves_no_trace(tmp_path):
    def documents():
        yield from some_documents(20)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        prepare(documents(), tmp_path / "c")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "splits", [(0.5, 0.4, 0.2), (0.9, 0.1), (1.1, -0.1, 0), (0, 0.5, 0.5), (float("nan"), 1, 0)]
)
def test_fractions_that_make_no_split_are_one_line(tmp_path, splits):
    assert "sum to 1" in message(lambda: prepare(some_documents(), tmp_path / "c", splits=splits))


def test_a_split_that_comes_out_empty_says_what_to_do(tmp_path):
    few = some_documents(2)
    assert "--splits=1,0,0" in message(lambda: prepare(few, tmp_path / "c"))
    assert prepare(few, tmp_path / "c", splits=(1, 0, 0)).splits == ("train",)


def test_documents_without_any_text_are_one_line(tmp_path):
    empty = [Document("a", b""), Document("b", b"")]
    assert "no text" in message(lambda: prepare(empty, tmp_path / "c"))
    assert "no documents" in message(lambda: prepare([], tmp_path / "c"))


def test_an_output_inside_the_text_is_refused(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"text")
    assert "inside" in message(lambda: prepare_source(tmp_path, tmp_path / "corpus"))


def test_an_output_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    assert "file" in message(lambda: prepare(some_documents(), tmp_path / "file" / "c"))


@pytest.mark.parametrize("documents_before", [0, 30])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, documents_before):
    direct, calls = SplitWriter.write, []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) == documents_before + 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        direct(*arguments)

    monkeypatch.setattr(SplitWriter, "write", full)
    assert "No space left" in message(lambda: prepare(some_documents(), tmp_path / "c"))
    assert os.listdir(tmp_path) == []


def test_a_file_larger_than_may_be_is_one_line_and_leaves_nothing(tmp_path):
    """Here closing the file fails as well: what is in its buffer still cannot be written."""
    texts = [Document(str(number), bytes(3000), "train") for number in range(60)]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        assert "File too large" in message(lambda: prepare(texts, tmp_path / "c"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == []


def broken(*_):
    raise BrokenPipeError(errno.EPIPE, "the reader went away")


def broken_documents():
    yield from some_documents(20)
    broken()


@pytest.mark.parametrize(
    ("documents", "progress"), [(broken_documents, None), (some_documents, broken)]
)
def test_an_error_of_the_callers_own_is_not_said_to_be_of_the_output(tmp_path, documents, progress):
    with pytest.raises(BrokenPipeError):
        prepare(documents(), tmp_path / "c", progress=progress)
    assert os.listdir(tmp_path) == []


def test_a_disk_that_fills_up_at_the_very_end_of_the_writing_is_one_line(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left" in message(lambda: prepare(some_documents(), tmp_path / "c"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("folder", ["~nobody-of-this-name/c", "x" * 300])
def test_an_output_that_no_folder_can_have_for_a_name_is_one_line(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    assert folder in message(lambda: prepare(some_documents(), folder))
    assert folder in message(lambda: open_source("python_stdlib", folder))
    assert os.listdir(tmp_path) == []


def test_a_file_that_shrank_while_it_was_read_is_no_silent_loss(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 50)
    lying = TextFile("a", tmp_path / "a", 100)
    assert "while it was read" in message(lambda: prepare([lying], tmp_path / "c"))


def test_a_prepared_folder_is_opened_as_a_source(corpus):
    assert open_source(corpus.folder).digest == corpus.digest


def test_settings_that_a_prepared_corpus_does_not_have_are_refused(corpus):
    assert "reset" in message(lambda: open_source(corpus.folder, reset="shard"))
    assert "splits" in message(lambda: open_source(corpus.folder, splits=(1, 0, 0)))


def test_a_raw_file_is_prepared_once_into_the_cache(tmp_path):
    (tmp_path / "a.txt").write_bytes(bytes(1000))
    first = open_source(tmp_path / "a.txt", tmp_path / "cache")
    before = (first.folder / "manifest.json").stat()
    again = open_source(tmp_path / "a.txt", tmp_path / "cache")
    assert (again.folder / "manifest.json").stat() == before


def test_a_text_edited_without_changing_its_size_is_not_trained_from_the_old_cache(tmp_path):
    (tmp_path / "a.txt").write_bytes(bytes(1000))
    open_source(tmp_path / "a.txt", tmp_path / "cache")
    (tmp_path / "a.txt").write_bytes(b"x" + bytes(999))
    assert "changed since" in message(lambda: open_source(tmp_path / "a.txt", tmp_path / "cache"))


def test_a_cache_outlives_a_copy_of_its_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(bytes(1000))
    first = open_source(tmp_path / "a.txt", tmp_path / "cache")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "a.txt").rename(tmp_path / "elsewhere/a.txt")
    os.utime(tmp_path / "elsewhere/a.txt", (1, 1))
    again = open_source(tmp_path / "elsewhere/a.txt", tmp_path / "cache")
    assert again.digest == first.digest


def test_a_cache_of_another_text_is_never_used_for_this_one(tmp_path):
    (tmp_path / "a.txt").write_bytes(bytes(1000))
    (tmp_path / "b.txt").write_bytes(bytes(1001))
    open_source(tmp_path / "a.txt", tmp_path / "cache")
    assert "a.txt" in message(lambda: open_source(tmp_path / "b.txt", tmp_path / "cache"))


def test_a_temporary_corpus_lasts_as_long_as_its_splits(tmp_path):
    (tmp_path / "a.txt").write_bytes(bytes(1000))
    split = open_source(tmp_path / "a.txt").split("train")
    folder = split.corpus.folder
    assert split.names == ["a.txt"]
    del split
    assert not folder.parent.exists()


def test_several_preparers_at_once_end_with_one_whole_corpus(tmp_path):
    (tmp_path / "a.txt").write_bytes(np.random.default_rng(0).bytes(300_000))
    together, digests = threading.Barrier(6), []

    def work():
        together.wait(10)
        digests.append(open_source(tmp_path / "a.txt", tmp_path / "cache").digest)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(digests) == 6
    assert len(set(digests)) == 1
    Corpus.open(tmp_path / "cache").verify()
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "cache"]


def test_a_corpus_moved_elsewhere_still_opens(corpus, tmp_path):
    shutil.move(corpus.folder, tmp_path / "elsewhere")
    Corpus.open(tmp_path / "elsewhere").verify()


def test_a_corpus_prints_its_counts_and_digest(corpus):
    train = corpus.manifest["splits"]["train"]
    assert f"{train['ids']:,} bytes" in str(corpus)
    assert corpus.digest in str(corpus)
