"""Prepare a corpus: text in, a folder of shards with a manifest out.

    python -m launch.prepare --output=data/stdlib
    python -m launch.prepare --input=shakespeare.txt --output=data/shakespeare --splits=0.9,0.1,0
    python -m launch.prepare --input=folder_of_texts/ --output=data/texts
    python -m launch.prepare --input=reviews.csv --lines --text_field=review --output=data/reviews
    python -m launch.prepare --input=reviews/ --output=data/r --vocabulary_of=published:openai
    python -m launch.prepare --input=book.txt --vocabulary=words --output=data/book
    python -m launch.prepare --list                             # the public corpora that have names
    python -m launch.prepare --input=enwik8 --output=data/enwik8
    python -m launch.prepare --verify --output=data/texts       # is it still what was prepared?

One file is cut by bytes into train, validation and test; of a folder each file is one document, of
a file with --lines each line, and the hash of its name says which split it belongs to. .gz, .bz2,
.xz and .zst are read through.
"""

import os
import sys
from typing import Any

from absl import flags

from launch import program
from launch.progress import ProgressLine
from mlstm.errors import InputError

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
_LINES = flags.DEFINE_bool(
    "lines",
    False,
    "Each line of a file is a document, with its line end where it is not cleaned; or the text of "
    "each row of a .csv, .tsv, .jsonl, as it is.",
)
_TEXT_FIELD = flags.DEFINE_string("text_field", "text", "--lines: the field of the text.")
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
_STRICT = flags.DEFINE_bool(
    "strict", False, "End at the first file that cannot be read, instead of leaving it out."
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
    if _TEXT_FIELD.present and not _LINES.value:
        raise InputError("--text_field says nothing without --lines")
    given: dict[str, Any] = {"vocabulary": _vocabulary()}
    if _VOCABULARY_OF.value:
        from mlstm.loading import text_of

        given = dict(zip(("vocabulary", "cleaning"), text_of(_VOCABULARY_OF.value), strict=True))
    if named.is_name(_INPUT.value):
        with ProgressLine(f"downloading {_INPUT.value}", "bytes") as progress:
            named.locate(_INPUT.value, progress)
    with ProgressLine("preparing", "bytes") as progress:
        if _LINES.value:
            given["field"] = _TEXT_FIELD.value
        prepared = (corpus.prepare_texts if _LINES.value else corpus.prepare_source)(
            _INPUT.value,
            _OUTPUT.value,
            splits=_fractions(_SPLITS.value),
            reset=_RESET.value,
            strict=_STRICT.value,
            overwrite=_OVERWRITE.value,
            progress=progress,
            **given,
        )
    skipped = prepared.manifest["skipped"]["unreadable"]
    for bad in skipped[:20]:
        print(f"warning: left out {bad['name']}: {bad['error']}", file=sys.stderr)
    if skipped[20:]:
        print(f"warning: and {len(skipped) - 20} more, see the manifest", file=sys.stderr)
    print(prepared)


def _vocabulary() -> Any:
    from mlstm.corpus import fitting

    chosen = [_UNSEEN.value or "", _WORD_PATTERN.value or "", _MINIMUM_COUNT.value or 0]
    if _VOCABULARY_OF.value and (_VOCABULARY.value or any([*chosen, _LARGEST.value])):
        raise InputError("--vocabulary_of says all of the vocabulary: leave the other flags out")
    return fitting.chosen(_VOCABULARY.value or "", *chosen, _LARGEST.value or 0)


def _fractions(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"--splits={text}: three numbers are wanted, as in --splits=0.9,0.05,0.05"
        ) from None


def run() -> None:
    program.run(main)


if __name__ == "__main__":
    run()
