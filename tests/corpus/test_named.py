"""A public corpus is had by its name: downloaded, checked, unpacked, and used as any source."""

import concurrent.futures
import hashlib
import http.server
import io
import zipfile

import pytest

from mlstm import corpus
from mlstm.corpus import named
from mlstm.corpus.named_corpora import CORPORA, Download, Named, Text
from mlstm.corpus.sources import documents
from mlstm.errors import InputError

TEXT = b"To be, or not to be: that is the question.\n" * 400


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


ZIP = zipped({"in/" + part: TEXT + part.encode() for part in ("train", "valid")})


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MLSTM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "corpora"


def known(monkeypatch, *texts: Text, **changes) -> None:
    made = Named("plays", "plays", "http://page", "MIT", "Someone 1600", texts, **changes)
    monkeypatch.setattr(named, "CORPORA", (made,))


def of_server(server, name: str, data: bytes, digest: str | None = "", kind: str = "x") -> Download:
    (server.folder / name).write_bytes(data)
    known = sha256(data) if digest == "" else digest
    return Download(name, (f"{server.address}/{kind}/{name}",), known, len(data))


def test_a_text_by_name_is_downloaded_once_and_cut_as_the_field_does(
    server, cache, monkeypatch, tmp_path
):
    known(monkeypatch, Text(of_server(server, "a.txt", TEXT)), splits=(0.9, 0.1, 0.0))
    for folder in ("one", "two"):
        prepared = corpus.prepare_source("plays", tmp_path / folder)
        assert len(prepared.split("train")) == int(len(TEXT) * 0.9)
        assert "test" not in prepared.splits
        assert prepared.manifest["source"]["kind"] == "corpus"
    assert len(server.asked) == 1
    other = corpus.prepare_source("plays", tmp_path / "three", splits=(0.5, 0.25, 0.25))
    assert len(other.split("train")) == len(TEXT) // 2
    opened = corpus.open_source("plays", tmp_path / "one")
    assert opened.manifest == corpus.Corpus.open(tmp_path / "one").manifest


def test_an_archive_s_own_files_are_its_splits(server, cache, monkeypatch, tmp_path):
    archive = of_server(server, "a.zip", ZIP)
    known(
        monkeypatch,
        Text(archive, "train", "in/train", 10**6),
        Text(archive, "validation", "in/valid", 10**6, sha256(TEXT + b"valid")),
    )
    prepared = corpus.prepare_source("plays", tmp_path / "corpus")
    assert prepared.split("validation").document(0) == TEXT + b"valid"
    assert prepared.split("train").document(0) == TEXT + b"train"
    assert len(server.asked) == 1
    assert sorted(path.name for path in cache.rglob("*") if path.name[0] != ".") == [
        "a.zip", "plays", "train", "valid",
    ]  # fmt: skip
    with pytest.raises(InputError, match="fixes its own split"):
        corpus.prepare_source("plays", tmp_path / "other", splits=(0.5, 0.5, 0))


def test_an_archive_that_was_cut_off_goes_on(server, cache, monkeypatch):
    archive = of_server(server, "a.zip", ZIP, kind="cut")
    known(monkeypatch, Text(archive, None, "in/train", 10**6))
    with pytest.raises(InputError, match="cut off after"):
        named.path("plays")
    assert named.path("plays").read_bytes() == TEXT + b"train"
    assert server.asked == [None, f"bytes={len(ZIP) // 2}-"]


def test_another_archive_than_was_published_is_not_unpacked(server, cache, monkeypatch):
    archive = of_server(server, "a.zip", ZIP, digest=sha256(b"another"))
    known(monkeypatch, Text(archive, None, "in/train", 10**6))
    with pytest.raises(InputError, match="its sha256 differs"):
        named.path("plays")
    assert not (cache / "plays" / "train").exists()


def test_a_bomb_is_not_unpacked(server, cache, monkeypatch):
    archive = of_server(server, "a.zip", zipped({"in/train": b"0" * 10**7}), digest=None)
    known(monkeypatch, Text(archive, None, "in/train", len(TEXT)))
    with pytest.raises(InputError, match="another archive"):
        named.path("plays")
    assert not (cache / "plays" / "train").exists()


def test_the_second_address_is_asked_where_the_first_does_not_give_it(server, cache, monkeypatch):
    (server.folder / "a.txt").write_bytes(TEXT)
    addresses = (f"{server.address}/x/none.txt", f"{server.address}/x/a.txt")
    known(monkeypatch, Text(Download("a.txt", addresses, sha256(TEXT))))
    assert named.path("plays").read_bytes() == TEXT


def test_without_a_network_one_line_says_what_to_put_where_and_it_is_used(cache, monkeypatch):
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as closed:
        port = closed.server_port
    archive = Download("a.zip", (f"http://127.0.0.1:{port}/a.zip",), sha256(ZIP))
    known(monkeypatch, Text(archive, None, "in/train", 10**6, sha256(TEXT + b"train")))
    with pytest.raises(InputError) as caught:
        list(documents("plays"))
    said = str(caught.value)
    assert "\n" not in said
    assert f"put a.zip of http://page, or train of it, into {cache / 'plays'}" in said
    (cache / "plays" / "a.zip").write_bytes(ZIP[:-1])
    with pytest.raises(InputError, match=r"a\.zip: is not the file that was published"):
        list(documents("plays"))
    (cache / "plays" / "a.zip").write_bytes(ZIP)
    assert [document.data for document in documents("plays")] == [TEXT + b"train"]


def test_what_a_person_unpacked_is_used_once_it_is_checked(cache, monkeypatch):
    archive = Download("a.zip", ("http://127.0.0.1:9/a.zip",), sha256(ZIP))
    known(monkeypatch, Text(archive, None, "in/train", 10**6, sha256(TEXT)))
    (cache / "plays").mkdir(parents=True)
    (cache / "plays" / "train").write_bytes(TEXT)
    assert named.path("plays").read_bytes() == TEXT
    (cache / "plays" / "train").write_bytes(TEXT[:-1])
    with pytest.raises(InputError, match="is not the file that was published"):
        named.path("plays")


def test_of_a_corpus_without_a_known_digest_the_first_is_kept(server, cache, monkeypatch):
    known(monkeypatch, Text(of_server(server, "a.txt", TEXT, digest=None)))
    place = named.path("plays")
    place.write_bytes(TEXT[:-1])
    with pytest.raises(InputError, match="that was here first"):
        named.path("plays")


def test_several_at_once_have_the_same_files(server, cache, monkeypatch):
    archive = of_server(server, "a.zip", ZIP)
    known(monkeypatch, Text(archive, None, "in/train", 10**6))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        places = [pool.submit(named.path, "plays") for _ in range(8)]
        assert {place.result().read_bytes() for place in places} == {TEXT + b"train"}
    assert len(server.asked) == 1


def test_a_file_here_is_meant_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert named.is_name("enwik8")
    (tmp_path / "enwik8").write_bytes(TEXT)
    assert not named.is_name("enwik8")
    assert [document.data for document in documents("enwik8")] == [TEXT]
    assert named.splits("enwik8") is None


def test_a_name_that_is_none_says_which_there_are():
    with pytest.raises(InputError, match="there are tiny_shakespeare, enwik8"):
        named.path("enwik9")


def test_the_table_is_complete_and_of_public_addresses():
    names = [each.name for each in CORPORA]
    assert len(set(names)) == len(names)
    table = named.table()
    for each in CORPORA:
        assert each.name in table
        assert each.citation in table
        for text in each.texts:
            assert all(address.startswith("http") for address in text.download.addresses)
            assert text.download.sha256 is None or len(text.download.sha256) == 64
            assert (text.member is None) == (text.largest is None)
            assert text.split in (None, "train", "validation", "test")
        assert each.splits is None or sum(each.splits) == 1
        assert len({text.name for text in each.texts}) == len(each.texts)
    assert set(names) >= {
        "tiny_shakespeare", "enwik8", "text8", "wikitext2", "wikitext103", "sst",
        "ud_english_ewt", "amazon_reviews",
    }  # fmt: skip


def test_digests_are_those_of_the_real_files(mlstm_data):
    here = {
        "tinyshakespeare.txt": "text", "train_binary_sent.csv": "sentiment",
        "dev_binary_sent.csv": "sentiment", "en_ewt-ud-train.conllu": "pos",
        "en_ewt-ud-dev.conllu": "pos",
    }  # fmt: skip
    files = {text.download.name: text.download for each in CORPORA for text in each.texts}
    for name, folder in here.items():
        data = (mlstm_data / folder / name).read_bytes()
        assert (sha256(data), len(data)) == (files[name].sha256, files[name].bytes)


def test_a_corpus_of_records_is_prepared_as_them_and_markup_is_refused(
    server, cache, monkeypatch, tmp_path
):
    data = b"label,sentence\n1,a fine film\n0,so bad\n"
    text = Text(of_server(server, "a.csv", data), "train")
    known(monkeypatch, text, records="csv", field="sentence")
    prepared = [
        corpus.prepare_source("plays", tmp_path / "one"),
        corpus.open_source("plays", tmp_path / "two"),
        corpus.prepare_texts("plays", tmp_path / "three"),
    ]
    for each in prepared:
        train = each.split("train")
        texts = [train.document(k) for k in range(train.documents)]
        assert sorted(texts) == [b"a fine film", b"so bad"]
    assert corpus.open_source("plays", tmp_path / "two").digest == prepared[1].digest
    known(monkeypatch, text, records="CoNLL-U")
    for prepare in (corpus.prepare_source, corpus.prepare_texts, corpus.open_source):
        with pytest.raises(InputError, match="plays is CoNLL-U, no text to prepare"):
            prepare("plays", tmp_path / "four")
    kept = corpus.prepare_texts("plays", tmp_path / "four", format="lines", cleaning="none")
    assert kept.split("train").documents == 3


def test_the_records_among_the_public_corpora_say_their_field():
    fields = {corpus.name: corpus.field for corpus in CORPORA if corpus.records}
    assert fields == {"sst": "sentence", "amazon_reviews": "reviewText", "ud_english_ewt": ""}
