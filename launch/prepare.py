"""Prepare a corpus: text in, a folder of shards with a manifest out.

    python -m launch.prepare --output=data/stdlib
    python -m launch.prepare --input=shakespeare.txt --output=data/shakespeare --splits=0.9,0.1,0
    python -m launch.prepare --input=folder_of_texts/ --output=data/texts
    python -m launch.prepare --input=reviews.csv --lines --text_field=review --output=data/reviews
    python -m launch.prepare --input=reviews.json.gz --lines --cleaning=openai --shards=1000 \\
        --reset=shard --deduplicate_against=own --output=data/reviews
    python -m launch.prepare --input=wikitext-103-raw/ --format=wikitext --output=data/wikitext
    python -m launch.prepare --input=reviews/ --output=data/r --vocabulary_of=published:openai
    python -m launch.prepare --input=book.txt --vocabulary=words --output=data/book
    python -m launch.prepare --list                             # the public corpora that have names
    python -m launch.prepare --input=enwik8 --output=data/enwik8    # 90, 5 and 5 MB, as is usual
    python -m launch.prepare --input=log.txt --output=data/log --splits_bytes=900000,50000,50000
    python -m launch.prepare --verify --output=data/texts       # is it still what was prepared?

One file is cut by bytes into train, validation and test; of a folder each file is one document,
with --lines each line of the file or of all files, or each row or object of a .csv, .tsv, .jsonl,
.json, .parquet, and the hash of its name says which split it belongs to. .gz, .bz2, .xz and .zst
are read through. Records are prepared by several processes; a command that was killed, given again,
goes on from what was finished. --shard=I/N does the I-th of N shares of the work, in a cluster's
job array: the one that ends last joins them.
"""

import functools
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

from launch import program
from launch.naming import CLEANINGS
from launch.progress import ProgressLine
from mlstm.errors import InputError

FORMATS = ["auto", "lines", "json", "csv", "tsv", "parquet", "wikitext", "wikitext_lines"]
"""Those of mlstm.corpus.texts, which takes longer to import than a program to say them."""

_INPUT = flags.DEFINE_string(
    "input",
    "python_stdlib",
    "A file, a folder, a public corpus by name (--list), or python_stdlib, the embedded corpus.",
)
_OUTPUT = flags.DEFINE_string("output", None, "The folder of the corpus.")
_LIST = flags.DEFINE_bool("list", False, "Prepare nothing; list the public corpora.")
_CACHE = flags.DEFINE_string(
    "cache", None, "Where downloads are kept (default: MLSTM_CACHE, or the user's cache folder)."
)
_SPLITS = flags.DEFINE_string(
    "splits", None, "Fractions of train, validation and test (default: 0.9,0.05,0.05)."
)
_SPLITS_BYTES = flags.DEFINE_list(
    "splits_bytes", None, "Bytes of train, validation and test, of one file in this order."
)
_LINES = flags.DEFINE_bool(
    "lines",
    False,
    "Each line of a file is a document, with its line end where it is not cleaned; or the text of "
    "each row or object of a .csv, .tsv, .jsonl, .json, .parquet, as it is.",
)
_FORMAT = flags.DEFINE_enum(
    "format",
    "auto",
    FORMATS,
    "As --lines, where the name of a file does not tell what it is. wikitext: each article is a "
    "document; wikitext_lines: each line that is neither blank nor a heading.",
)
_HEADINGS = flags.DEFINE_bool(
    "headings", True, "--format=wikitext: articles keep their headings and blank lines."
)
_TEXT_FIELD = flags.DEFINE_string(
    "text_field", "text", "--lines: the field of the text (default: text, else reviewText)."
)
_CLEANING = flags.DEFINE_enum(
    "cleaning", None, CLEANINGS, "What is done to each document before it becomes bytes."
)
_VOCABULARY_OF = flags.DEFINE_string(
    "vocabulary_of",
    None,
    "A run or a published model: the text becomes ids of its vocabulary, each document cleaned as "
    "its texts were (default: bytes as they are).",
)
_VOCABULARY = flags.DEFINE_string(
    "vocabulary",
    None,
    "bytes, or what is made from the train split: characters, or words; or sentencepiece:FILE, a "
    "model (default: bytes).",
)
_UNSEEN = flags.DEFINE_enum(
    "unseen",
    None,
    ["unknown", "bytes", "refuse"],
    "--vocabulary: what becomes of what the train split has not: one symbol for all, with its "
    "spelling beside it; its bytes, which are symbols too; an error (default: unknown).",
)
_WORD_PATTERN = flags.DEFINE_string(
    "word_pattern",
    None,
    "--vocabulary=words: a regular expression, which sees one line at a time, or whitespace "
    r"(default: words, which is \w+|[^\w]).",
)
_MINIMUM_COUNT = flags.DEFINE_integer(
    "minimum_count",
    None,
    "--vocabulary: what the train split has less often is left out (default: 1; of words 2).",
    lower_bound=1,
)
_LARGEST = flags.DEFINE_integer(
    "largest", None, "--vocabulary=words: the most symbols (default: any number).", lower_bound=1
)
_RESET = flags.DEFINE_enum(
    "reset", "document", ["document", "shard"], "At whose start a model's state is reset."
)
_SHARDS = flags.DEFINE_integer(
    "shards",
    None,
    "--lines: documents in the order of the hashes of their names, cut into so many equal shards "
    "of train.",
    lower_bound=1,
)
_HELD_OUT_SHARDS = flags.DEFINE_list(
    "held_out_shards", ["1", "1"], "--shards: and so many of validation and of test."
)
_DEDUPLICATE_AGAINST = flags.DEFINE_list(
    "deduplicate_against",
    [],
    "--lines: leave out of train what is a copy of a held-out text: files, prepared corpora, or "
    "own (this corpus's validation and test).",
)
_DUPLICATE_SHARE = flags.DEFINE_float(
    "duplicate_share",
    0.5,
    "A copy has more than this share of its runs of eight words in held-out texts.",
)
_PROCESSES = flags.DEFINE_integer(
    "processes", None, "--lines: processes at work (default: one for each core).", lower_bound=1
)
_SHARD = flags.DEFINE_string(
    "shard", None, "--lines: I/N does the I-th of N shares of the work, from 0 (a job array)."
)
_STRICT = flags.DEFINE_bool(
    "strict",
    False,
    "End at the first file, line or row that cannot be read, instead of leaving it out.",
)
_VERIFY = flags.DEFINE_bool(
    "verify", False, "Prepare nothing; compare every byte of the corpus at --output."
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace a corpus that is there already.")


def main(_) -> None:
    from mlstm import corpus
    from mlstm.corpus import named

    if _CACHE.value:
        os.environ["MLSTM_CACHE"] = _CACHE.value
    _refuse_needless()
    if _LIST.value:
        print(named.table())
        return
    if not _OUTPUT.value:
        raise InputError("--output is needed: the folder of the corpus")
    if _VERIFY.value:
        prepared = corpus.Corpus.open(_OUTPUT.value)
        with ProgressLine("verifying", "bytes") as progress:
            prepared.verify(progress)
        print(f"{prepared}\n  every file is as it was prepared")
        return
    records = _of_lines()
    given: dict[str, Any] = {"vocabulary": _vocabulary()}
    if _VOCABULARY_OF.value:
        from mlstm.loading import text_of

        given = dict(zip(("vocabulary", "cleaning"), text_of(_VOCABULARY_OF.value), strict=True))
    if _CLEANING.value is not None:
        given["cleaning"] = _CLEANING.value
    given["splits"] = _numbers(_SPLITS, float)
    if _SPLITS_BYTES.value is not None:
        if records:
            raise InputError("--splits_bytes cuts one text by bytes; leave --lines out")
        given["splits_bytes"] = _numbers(_SPLITS_BYTES, int)
    if records:
        given |= _of_records()
    if named.is_name(_INPUT.value):
        with ProgressLine(f"downloading {_INPUT.value}", "bytes") as progress:
            named.locate(_INPUT.value, progress)
    with ProgressLine("preparing", "bytes") as progress:
        made_by = corpus.prepare_texts if records else corpus.prepare_source
        if _SHARD.value is not None:
            number, shares = _share(_SHARD.value)
            made_by = functools.partial(corpus.prepare_share, number=number, shares=shares)
        prepared = made_by(
            _INPUT.value,
            _OUTPUT.value,
            reset=_RESET.value,
            strict=_STRICT.value,
            overwrite=_OVERWRITE.value,
            progress=progress,
            **given,
        )
    if not isinstance(prepared, corpus.Corpus):
        print(prepared)
        return
    skipped = prepared.manifest["skipped"]
    bad = skipped["unreadable"]
    for each in bad[:20]:
        print(f"warning: left out {each['name']}: {each['error']}", file=sys.stderr)
    if more := skipped.get("broken", len(bad)) - len(bad[:20]):
        print(f"warning: and {more:,} more, see the manifest", file=sys.stderr)
    print(prepared)


def _of_lines() -> bool:
    from mlstm.corpus import named

    return _LINES.value or _FORMAT.value != "auto" or bool(named.field(_INPUT.value))


def _refuse_needless() -> None:
    """Raises InputError for a flag that the others make mean nothing."""
    for alone, needed in ((_LIST, "cache"), (_VERIFY, "output")):
        for flag in _ALL if alone.value else ():
            if flag.present and flag.name not in (alone.name, needed):
                raise InputError(
                    f"--{alone.name} prepares nothing, and --{flag.name} says nothing with it"
                )
    wanted: list[tuple[bool, str, Sequence[flags.FlagHolder]]] = [
        (_of_lines(), "lines", _OF_RECORDS),
        (_SHARDS.value is not None, "shards", [_HELD_OUT_SHARDS]),
        (bool(_DEDUPLICATE_AGAINST.value), "deduplicate_against", [_DUPLICATE_SHARE]),
        (_FORMAT.value == "wikitext", "format=wikitext", [_HEADINGS]),
    ]
    for there, name, of_it in wanted:
        for flag in of_it:
            if flag.present and not there:
                raise InputError(f"--{flag.name} says nothing without --{name}")


def _vocabulary() -> Any:
    from mlstm.corpus import fitting

    given = (_VOCABULARY, _UNSEEN, _WORD_PATTERN, _MINIMUM_COUNT, _LARGEST)
    if _VOCABULARY_OF.value and any(flag.value for flag in given):
        raise InputError("--vocabulary_of says all of the vocabulary: leave the other flags out")
    return fitting.chosen(
        _VOCABULARY.value or "",
        _UNSEEN.value or "",
        _WORD_PATTERN.value or "",
        _MINIMUM_COUNT.value or 0,
        _LARGEST.value or 0,
    )


def _of_records() -> dict[str, Any]:
    from mlstm.corpus.preparing.crew import cores

    return {
        "field": _TEXT_FIELD.value,
        "format": _FORMAT.value,
        "headings": _HEADINGS.value,
        "shards": _SHARDS.value,
        "held_out_shards": _numbers(_HELD_OUT_SHARDS, int),
        "deduplicate_against": _DEDUPLICATE_AGAINST.value,
        "duplicate_share": _DUPLICATE_SHARE.value,
        "processes": _PROCESSES.value or cores(),
    }


def _share(text: str) -> tuple[int, int]:
    try:
        number, shares = map(int, text.split("/"))
    except ValueError:
        raise InputError(f"--shard={text}: I/N is wanted, as in --shard=0/100") from None
    return number, shares


def _numbers(flag: flags.FlagHolder, kind: Callable[[str], Any]) -> list[Any] | None:
    """The value of a flag that is several numbers."""
    if flag.value is None:
        return None
    parts = flag.value.split(",") if isinstance(flag.value, str) else flag.value
    try:
        return [kind(part) for part in parts]
    except ValueError:
        raise InputError(
            f"--{flag.name}={','.join(parts)}: numbers are wanted, with commas between them, as in "
            f"--{flag.name}={_AS_IN[flag.name]}"
        ) from None


_OF_RECORDS = (
    _TEXT_FIELD,
    _HEADINGS,
    _SHARDS,
    _HELD_OUT_SHARDS,
    _DEDUPLICATE_AGAINST,
    _DUPLICATE_SHARE,
    _PROCESSES,
    _SHARD,
)
_ALL = (
    *(_INPUT, _OUTPUT, _LIST, _CACHE, _SPLITS, _SPLITS_BYTES, _LINES, _FORMAT, _CLEANING),
    *(_VOCABULARY_OF, _VOCABULARY, _UNSEEN, _WORD_PATTERN, _MINIMUM_COUNT, _LARGEST, _RESET),
    *(_STRICT, _VERIFY, _OVERWRITE, *_OF_RECORDS),
)
_AS_IN = {
    "splits": "0.9,0.05,0.05",
    "splits_bytes": "90000000,5000000,5000000",
    "held_out_shards": "1,1",
}


def run() -> None:
    program.run(main)


if __name__ == "__main__":
    run()
