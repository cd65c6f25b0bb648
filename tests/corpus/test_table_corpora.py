import numpy as np
import pytest

from mlstm.corpus import Corpus, Document, open_source, prepare, prepare_texts
from mlstm.corpus.vocabulary import Bytes, Table, amino_acids, offset_bytes, untold
from mlstm.errors import InputError

AB = Table((None, b"a", b"b"), name="ab")


def documents(*texts: bytes) -> list[Document]:
    return [Document(f"d{k}", text, "train") for k, text in enumerate(texts)]


def test_a_corpus_has_the_ids_of_its_vocabulary_and_gives_back_the_text(tmp_path):
    corpus = prepare(documents(b"abba", b"b"), tmp_path / "c", vocabulary=AB, shard_bytes=3)
    assert corpus.vocabulary == AB
    train = Corpus.open(tmp_path / "c").split("train")
    assert train.read(0, 5).tolist() == [1, 2, 2, 1, 2]
    assert [train.document(k) for k in range(2)] == [b"abba", b"b"]
    assert "'ab' (3 symbols, 1 without text)" in str(corpus)


def test_ids_beyond_a_byte_take_two(tmp_path):
    text = bytes(range(256))
    corpus = prepare(documents(text), tmp_path / "c", vocabulary=offset_bytes(), shard_bytes=100)
    train = corpus.split("train")
    np.testing.assert_array_equal(train.read(0, 256), np.arange(1, 257))
    assert train.document(0) == text
    corpus.verify()


def test_a_document_with_a_byte_that_is_no_symbol_is_left_out_and_named(tmp_path):
    corpus = prepare(documents(b"ab", b"abc"), tmp_path / "c", vocabulary=AB)
    (bad,) = corpus.manifest["skipped"]["unreadable"]
    assert bad["error"].startswith("d1: b'c' at byte 2 is no symbol of the vocabulary 'ab'")
    assert corpus.split("train").length == 2
    with pytest.raises(InputError, match="d1: b'c' at byte 2"):
        prepare(documents(b"ab", b"abc"), tmp_path / "strict", vocabulary=AB, strict=True)
    with pytest.raises(InputError, match="cannot encode text"):
        prepare(documents(b"ab"), tmp_path / "untold", vocabulary=untold(3))


def test_each_document_is_cleaned_by_itself(tmp_path):
    corpus = prepare(documents(b"a &amp;\nb ", b"", b"c"), tmp_path / "c", cleaning="openai")
    assert Corpus.open(tmp_path / "c").cleaning == "openai"
    train = corpus.split("train")
    assert [train.document(k) for k in range(2)] == [b"\n a & b ", b"\n c "]
    assert corpus.manifest["skipped"]["empty"] == 1
    plain = prepare(documents(b"a &amp;\nb ", b"", b"c"), tmp_path / "plain")
    assert plain.digest != corpus.digest


def test_one_document_is_cut_by_the_bytes_of_what_cleaning_makes_of_it(tmp_path):
    (tmp_path / "one.txt").write_bytes(b"x" * 50 + b"&lt;" * 50)
    corpus = open_source(tmp_path / "one.txt", cleaning="openai", splits=(0.5, 0.5, 0))
    text = b"\n " + b"x" * 50 + b"<" * 50 + b" "
    pieces = [corpus.split(name) for name in ("train", "validation")]
    assert b"".join(piece.document(0) for piece in pieces) == text
    assert pieces[0].length == 51


def test_a_prepared_corpus_is_refused_where_another_vocabulary_or_cleaning_is_asked_for(tmp_path):
    (tmp_path / "one.txt").write_bytes(b"ab" * 50)
    cache = tmp_path / "cache"
    made = open_source(tmp_path / "one.txt", cache, vocabulary=AB)
    assert open_source(tmp_path / "one.txt", cache).digest == made.digest
    assert open_source(cache, vocabulary=AB, cleaning="none").digest == made.digest
    with pytest.raises(InputError, match="prepared with the vocabulary 'ab'"):
        open_source(cache, vocabulary=Bytes())
    with pytest.raises(InputError, match="prepared with the vocabulary 'ab'"):
        open_source(tmp_path / "one.txt", cache, vocabulary=amino_acids())
    with pytest.raises(InputError, match="prepared with the cleaning 'none'"):
        open_source(cache, cleaning="openai")
    with pytest.raises(InputError, match="other contents or settings"):
        prepare(documents(b"ab"), cache)


def test_each_line_or_row_is_a_document_cleaned_by_itself(tmp_path):
    (tmp_path / "lines.txt").write_bytes(b"mkv l\n\nMA*\n" + b"MM\n" * 60)
    corpus = prepare_texts(
        tmp_path / "lines.txt", tmp_path / "a", vocabulary=amino_acids(), cleaning="unirep"
    )
    found = [corpus.split(name) for name in corpus.splits]
    texts = {name: part.document(k) for part in found for k, name in enumerate(part.names)}
    assert texts["lines.txt:1"] == b"\nMKVL"
    assert texts["lines.txt:3"] == b"\nMA*"
    assert len(texts) == 62
    assert corpus.manifest["skipped"]["empty"] == 1
    rows = "id,review\n" + "".join(f'{k},"a ""{k}"", b"\n' for k in range(60))
    (tmp_path / "rows.csv").write_text(rows)
    corpus = prepare_texts(tmp_path / "rows.csv", tmp_path / "b", field="review", splits=(1, 0, 0))
    train = corpus.split("train")
    number = int(train.names[0].removeprefix("rows.csv:")) - 1
    assert train.document(0) == f'a "{number}", b'.encode()
    with pytest.raises(InputError, match='no field "text"'):
        prepare_texts(tmp_path / "rows.csv", tmp_path / "c")


def test_a_recipe_that_there_is_not_is_named(tmp_path):
    with pytest.raises(InputError, match='no cleaning "scrub"'):
        prepare(documents(b"ab"), tmp_path / "c", cleaning="scrub")
