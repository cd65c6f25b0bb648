"""Parquet, WikiText, tables with broken rows, and a file that is cut by bytes."""

import builtins
import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlstm.corpus import prepare_source, prepare_texts, wikitext
from mlstm.corpus.preparing import blocks
from mlstm.corpus.texts import read_records, read_texts
from mlstm.errors import InputError

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

ARTICLES = [
    b" \n = Valkyria Chronicles III = \n \n Senj\xc3\xb5 no Valkyria . \n"
    b" \n = = Gameplay = = \n \n As a \n",
    b" = Tower = \n \n Tall = high . \n",
]
BODIES = [b" Senj\xc3\xb5 no Valkyria . \n As a \n", b" Tall = high . \n"]


def found(corpus):
    return [
        (name, split.document(number))
        for name, split in ((name, corpus.split(name)) for name in corpus.splits)
        for number in range(split.documents)
    ]


def test_articles_of_wikitext_with_and_without_headings(tmp_path):
    (tmp_path / "wiki.txt").write_bytes(b"".join(ARTICLES))
    cut = {"format": "wikitext", "splits": (1, 0, 0)}
    corpus = prepare_texts(tmp_path / "wiki.txt", tmp_path / "c", **cut)
    first = ARTICLES[0].removeprefix(b" \n")
    assert [text for _, text in found(corpus)] == [first, ARTICLES[1]]
    corpus = prepare_texts(tmp_path / "wiki.txt", tmp_path / "d", headings=False, **cut)
    assert [text for _, text in found(corpus)] == BODIES
    lines = prepare_texts(
        tmp_path / "wiki.txt",
        tmp_path / "e",
        format="wikitext_lines",
        splits=(1, 0, 0),
        cleaning="concept_neurons",
    )
    expected = [b"\n Senj\xc3\xb5 no Valkyria .\n", b"\n As a\n", b"\n Tall = high .\n"]
    assert [text for _, text in found(lines)] == expected


def test_the_files_of_wikitext_say_which_split_they_are(tmp_path):
    folder = tmp_path / "wikitext"
    folder.mkdir()
    for part in ("train", "valid", "test"):
        (folder / f"wiki.{part}.tokens").write_text(f" = {part} = \n text of {part} \n")
    corpus = prepare_texts(folder, tmp_path / "c", format="wikitext", headings=False)
    assert found(corpus) == [
        ("train", b" text of train \n"),
        ("validation", b" text of valid \n"),
        ("test", b" text of test \n"),
    ]
    for asked in ({"splits": (1, 0, 0)}, {"shards": 1}):
        with pytest.raises(InputError, match="fixes its own split"):
            prepare_texts(folder, tmp_path / "d", format="wikitext", **asked)


@given(st.lists(st.sampled_from([" = T = \n", " = = S = = \n", " \n", "\n", " text = x \n", "x"])))
def test_articles_are_all_lines_in_order_but_blanks_before_the_first(lines):
    data = [line.encode() for line in lines]
    joined = b"".join(text for _, text in wikitext.articles(data))
    assert b"".join(data).endswith(joined)
    assert not b"".join(data).removesuffix(joined).strip()
    for number, text in wikitext.articles(data):
        assert text.startswith(data[number - 1])
    titles = sum(map(wikitext.is_title, data))
    assert titles <= len(list(wikitext.articles(data))) <= titles + 1
    bodies = b"".join(text for _, text in wikitext.articles(data, headings=False))
    kept = [line for line in data if line.strip() and not wikitext.is_heading(line)]
    assert bodies == b"".join(kept)


def write_parquet(path, **columns):
    parquet.write_table(pyarrow.table(columns), path, row_group_size=7)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=20))
def test_what_is_in_a_parquet_file_is_read(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("parquet")
    write_parquet(
        folder / "a.parquet", n=list(range(len(texts))), text=pyarrow.array(texts, "string")
    )
    records = list(read_records(folder / "a.parquet"))
    assert [record.text for record in records] == [text.encode() for text in texts]
    assert [dict(record.fields)["n"] for record in records] == list(range(len(texts)))


def test_rows_of_parquet_without_text_are_left_out_and_named(tmp_path):
    rows = [f"text {n}" for n in range(30)]
    rows[12] = None
    write_parquet(tmp_path / "a.parquet", reviewText=rows)
    given = {"splits": (1, 0, 0), "block_bytes": 300}
    corpus = prepare_texts(tmp_path / "a.parquet", tmp_path / "c", processes=2, **given)
    assert [text.decode() for _, text in found(corpus)] == [row for row in rows if row]
    (bad,) = corpus.manifest["skipped"]["unreadable"]
    assert bad["name"] == "a.parquet:13"
    assert bad["error"] == f'{tmp_path}/a.parquet: record 13: field "reviewText" is null, no text'
    with pytest.raises(InputError, match=r'a.parquet:.* no field "body" \(fields: reviewText\)'):
        prepare_texts(tmp_path / "a.parquet", tmp_path / "d", field="body")


def test_without_pyarrow_it_is_said_how_to_install_it(tmp_path, monkeypatch):
    write_parquet(tmp_path / "a.parquet", text=["a"])
    load = builtins.__import__

    def without(name, *rest):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'mlstm\[parquet\]'"):
        read_texts(tmp_path / "a.parquet")


def test_broken_rows_of_a_table_are_left_out_and_named(tmp_path):
    rows = b"".join(b"%d,row %d\n" % (n, n) for n in range(40))
    (tmp_path / "a.csv").write_bytes(b"n,text\n" + rows + b'1,2,3\n4,"x"y\n5,last\n')
    corpus = prepare_texts(tmp_path / "a.csv", tmp_path / "c", splits=(1, 0, 0), block_bytes=500)
    assert [text for _, text in found(corpus)] == [
        *(b"row %d" % n for n in range(40)),
        b"last",
    ]
    first, second = corpus.manifest["skipped"]["unreadable"]
    assert first["error"] == f"{tmp_path}/a.csv:42: 3 fields; the header names 2"
    assert second["error"].startswith(f"{tmp_path}/a.csv:43: no CSV: ")
    with pytest.raises(InputError, match=r"a\.csv:42: 3 fields"):
        prepare_texts(tmp_path / "a.csv", tmp_path / "d", strict=True)


def test_a_json_file_has_an_object_on_each_line_and_is_never_raw_text(tmp_path):
    line = json.dumps({"reviewText": "a review"})
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(f"\n{line}\n".encode()))
    assert read_texts(tmp_path / "a.json.gz") == [b"a review"]
    for name, text in {"array": f"[{line}]\n", "lines": f"[\n{line},\n{line}\n]\n"}.items():
        (tmp_path / f"{name}.json").write_text(text)
        with pytest.raises(InputError, match=f"{name}.json:1: no (object|JSON)"):
            read_texts(tmp_path / f"{name}.json")
        with pytest.raises(InputError, match=f"{name}.json(:1: no object| is a JSON array)"):
            prepare_texts(tmp_path / f"{name}.json", tmp_path / "none")
    (tmp_path / "comment.json").write_text(f"// mine\n{line}\n{line}\n")
    made = prepare_texts(tmp_path / "comment.json", tmp_path / "one", splits=(1, 0, 0))
    assert [text for _, text in found(made)] == [b"a review"] * 2
    assert "comment.json:1: no JSON" in made.manifest["skipped"]["unreadable"][0]["error"]
    made = prepare_texts(
        tmp_path / "comment.json", tmp_path / "raw", splits=(1, 0, 0), format="lines"
    )
    assert next(text for _, text in found(made)) == b"// mine\n"


SIZES = st.lists(st.integers(1, 50), min_size=3, max_size=3)


@settings(deadline=None, max_examples=40)
@given(SIZES, st.booleans(), st.booleans())
def test_a_file_is_cut_by_bytes(tmp_path_factory, sizes, packed, cleaned):
    folder = tmp_path_factory.mktemp("cut")
    text = bytes(n % 251 for n in range(sum(sizes)))
    path = folder / ("a.gz" if packed else "a")
    path.write_bytes(gzip.compress(text) if packed else text)
    cleaning = {"cleaning": "openai_reproduction"} if cleaned else {}
    corpus = prepare_source(path, folder / "c", splits_bytes=sizes, **cleaning)
    end = b"\n" if cleaned else b""
    a, b = sizes[0], sizes[0] + sizes[1]
    parts = [text[:a] + end, text[a:b] + end, text[b:] + end]
    assert found(corpus) == list(zip(("train", "validation", "test"), parts, strict=True))
    assert corpus.manifest["source"]["splits_bytes"] == sizes


@pytest.mark.parametrize("name", ["a", "a.gz"])
@pytest.mark.parametrize(
    "sizes", [(60, 20, 19), (60, 20, 21), (100, 100, 0), (0, 50, 50), (50, 50)]
)
def test_bytes_that_are_not_the_whole_file_are_refused(tmp_path, name, sizes):
    text = bytes(100)
    (tmp_path / name).write_bytes(gzip.compress(text) if name == "a.gz" else text)
    with pytest.raises(InputError, match=r"have to be all of it|three numbers") as caught:
        prepare_source(tmp_path / name, tmp_path / "c", splits_bytes=sizes)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no single file"):
        prepare_source("python_stdlib", tmp_path / "c", splits_bytes=(1, 2, 3))


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz"])
def test_a_line_of_a_table_that_is_too_long_is_one_broken_record(tmp_path, monkeypatch, name):
    monkeypatch.setattr(blocks, "LONGEST", 1000)
    mark = "\t" if "tsv" in name else ","
    rows = [f"{k}{mark}text {k}\n" for k in range(40)]
    rows[7] = f"7{mark}{'x' * 3000}\n"
    data = f"n{mark}text\n{''.join(rows)}".encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    corpus = prepare_texts(path, tmp_path / "c", splits=(1, 0, 0))
    assert [text for _, text in found(corpus)] == [b"text %d" % k for k in range(40) if k != 7]
    (bad,) = corpus.manifest["skipped"]["unreadable"]
    assert bad["error"] == f"{path}:9: 3,002 bytes, longer than the 1,000 that a record may have"
    with pytest.raises(InputError, match=r"a\.\w+.*:9: 3,002 bytes, longer"):
        prepare_texts(path, tmp_path / "d", splits=(1, 0, 0), strict=True)


def test_an_article_that_is_too_long_is_cut_and_never_held(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "LONGEST", 100)
    lines = [b"line %d\n" % k for k in range(50)]
    (tmp_path / "wiki.txt").write_bytes(b"".join(lines) + b" = T = \n" + b"y" * 200 + b"\nend\n")
    corpus = prepare_texts(
        tmp_path / "wiki.txt", tmp_path / "c", format="wikitext", splits=(1, 0, 0)
    )
    texts = [text for _, text in found(corpus)]
    assert b"".join(texts) == b"".join(lines) + b" = T = \nend\n"
    assert max(map(len, texts)) <= 100
    assert texts[-1] == b" = T = \nend\n"
    assert "200 bytes, longer" in corpus.manifest["skipped"]["unreadable"][0]["error"]
