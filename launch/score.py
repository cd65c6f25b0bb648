"""Bits of each text of a file under a trained model; of pairs, how often the first is cheaper.

    python -m launch.score --model=runs/quickstart --input=lines.txt --output=bits.tsv
    python -m launch.score --model=runs/reviews --input=reviews.csv --text_field=review \
        --edit="0.c[17]=1.0" --output=bits.jsonl --tokens
    python -m launch.score --model=runs/wiki --input=blimp.jsonl \
        --pair=sentence_good,sentence_bad --by=UID

A .csv or .tsv has a header, a .jsonl has objects, and one field of each is the text; any other file
has a text on each line. Each comes out in its place with its fields: "bits" of all its bytes,
"bytes", and "bits_per_byte"; as .csv, .tsv or .jsonl by the name of the output. Every text is read
from the zero state, behind a line end or --context, neither of which is charged; with --first=free
there is no line end, and the first token of a text is not charged either. --tokens adds the bits of
each token, and "ends", the byte behind each.

--pair compares two fields of each row, as minimal pairs do: the share in which the first costs less
(a tie counts half), and beside it what the bits per byte, the shorter text, the letters alone (a
byte unigram code of the file's own texts) and the untrained twin of the model would say, all of the
bytes that the model is charged for. Pairs with an empty text have no bits per byte.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from absl import flags

from launch import edits, naming, parallel, program
from launch.progress import ProgressLine
from mlstm.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from launch.rows import Texts
    from mlstm.pairs import PairScores
    from mlstm.text_scores import TextScores
    from mlstm.trained import Model

    Score = Callable[[Model, list[bytes]], TextScores]

_MODEL = flags.DEFINE_string("model", None, naming.MODEL, required=True)
_STEP = flags.DEFINE_integer("step", None, "Which checkpoint (default: the best, else the newest).")
_MODEL_SEED = flags.DEFINE_integer("model_seed", None, "Which model of a population, by its seed.")
_INPUT = flags.DEFINE_string(
    "input", None, "Texts: .csv, .tsv, .jsonl, or one a line.", required=True
)
_TEXT_FIELD = flags.DEFINE_string(
    "text_field", None, "Which field of a .csv, .tsv or .jsonl it is (default: text)."
)
_PAIR = flags.DEFINE_list("pair", None, "FIRST,SECOND: fields whose texts are compared.")
_BY = flags.DEFINE_string("by", None, "--pair: the field that says which group a pair is of.")
_BASELINES = flags.DEFINE_bool("baselines", True, "--pair: what else would choose, beside it.")
_CONTEXT = flags.DEFINE_string("context", "", "Read before each text, and not charged.")
_FIRST = flags.DEFINE_enum(
    "first", "charged", ["charged", "free"], "Whether the first token is charged."
)
_CLEANING = flags.DEFINE_enum(
    "cleaning", None, naming.CLEANINGS, "What is done to a text first (default: the model's own)."
)
_TOKENS = flags.DEFINE_bool("tokens", False, "The bits of each token too, in a .jsonl.")
_OUTPUT = flags.DEFINE_string("output", None, "Write to this .csv, .tsv or .jsonl file.")
_JSON = flags.DEFINE_string("json", None, "Write the figures of all texts to this file.")
flags.adopt_module_key_flags(edits)
flags.adopt_module_key_flags(parallel)


def main(_) -> None:
    from launch.rows import Texts
    from mlstm import job
    from mlstm.corpus.files import user_path
    from mlstm.loading import load_one
    from mlstm.output import check_folder, write_whole

    _check()
    output, figures = (user_path(f.value) if f.value else None for f in (_OUTPUT, _JSON))
    if output and output.suffix not in (
        (".jsonl",) if _TOKENS.value else (".csv", ".tsv", ".jsonl")
    ):
        raise InputError(
            f"{output}: bits are written as .csv, .tsv or .jsonl, with --tokens as .jsonl"
        )
    _check_apart(user_path(_INPUT.value), output, figures)
    for path in (output, figures):
        if path:
            check_folder(path.parent)
    changes = edits.read()
    parallel.join()
    mesh = parallel.mesh()
    model = load_one(user_path(_MODEL.value), _STEP.value, _MODEL_SEED.value)
    field = _PAIR.value[0] if _PAIR.value else _TEXT_FIELD.value or "text"
    texts = Texts(_INPUT.value, field, _added(model) if output else [])
    several = texts.count * (2 if _PAIR.value else 1)
    streams = min(64, 1 << max(0, several - 1).bit_length())  # one shape for all pieces

    def score(model: Model, some: list[bytes]) -> TextScores:
        return model.score(
            some,
            context=_CONTEXT.value,
            cleaning=_CLEANING.value,
            first=_FIRST.value,
            tokens=_TOKENS.value,
            edits=changes,
            streams=streams,
            mesh=mesh,
        )

    work = _pairs if _PAIR.value else _texts
    with ProgressLine("scoring", "bytes") as progress:
        result = work(model, texts, score, output, progress if job.is_first() else None)
    if not job.is_first():
        return
    print(result)
    if output:
        print(f"\n{output}: {texts.count:,} {'pairs' if _PAIR.value else 'texts'}")
    if figures:
        write_whole(figures, result.to_json() + "\n")


def _check() -> None:
    """InputError for flags that do not go together."""
    from mlstm.corpus.texts import are_lines

    if _PAIR.value is None:
        for name in ("by", "baselines"):
            if flags.FLAGS[name].present:
                raise InputError(f"--{name} says nothing without --pair")
    else:
        if len(_PAIR.value) != 2 or len(set(_PAIR.value)) != 2 or not all(_PAIR.value):
            raise InputError(f"--pair={','.join(_PAIR.value)}: it is two fields, as in good,bad")
        for name in ("text_field", "tokens"):
            if flags.FLAGS[name].present:
                raise InputError(f"--{name} says nothing with --pair")
        if are_lines(_INPUT.value):
            raise InputError(
                f"--pair: {_INPUT.value} has lines and no fields; give a .csv, .tsv or .jsonl"
            )
    if _TOKENS.value and not _OUTPUT.value:
        raise InputError("--tokens is written to a file: name a .jsonl with --output")


def _check_apart(source: Path, output: Path | None, figures: Path | None) -> None:
    """InputError where one file would be written over another."""
    for name, path, others in (
        ("output", output, {"input": source}),
        ("json", figures, {"input": source, "output": output}),
    ):
        for other, file in others.items():
            if path and file and path.resolve() == file.resolve():
                raise InputError(f"--{name}={path} is the file of --{other}: name another")


def _charged(model: Model, text: bytes) -> bytes:
    """What the model is charged for of a text."""
    from mlstm.corpus.cleaning import clean_whole

    data = clean_whole(text, _CLEANING.value or model.cleaning)
    if _FIRST.value == "charged":
        return data
    ends = model.vocabulary.tokens(data).ends
    return data[int(ends[0]) :] if len(ends) else data


def _added(model: Model) -> list[str]:
    """The names of the fields that a row gets."""
    if _PAIR.value:
        from launch.score_pairs import added

        return added(_PAIR.value)
    names = ["bits", "bytes", "bits_per_byte"]
    if not model.vocabulary.bytewise:
        names.append("unknown")
    return [*names, "tokens", "ends"] if _TOKENS.value else names


def _texts(
    model: Model, texts: Texts, score: Score, output: Path | None, progress: Any
) -> TextScores:
    from launch.rows import told_by_line, written
    from mlstm import text_scores

    parts, read = [], 0
    with written(output, texts) as write:
        for piece in texts.pieces():
            with told_by_line(texts.file, piece):
                found = score(model, [record.text for record in piece])
            for k, record in enumerate(piece):
                write(record, _row(model, found, k))
            parts.append(found)
            read += sum(len(record.text) for record in piece)
            if progress:
                progress(read, texts.bytes)
    return text_scores.joined(parts)


def _row(model: Model, found: TextScores, k: int) -> dict[str, Any]:
    per_byte = float(found.per_byte[k])
    row: dict[str, Any] = {
        "bits": float(found.bits[k]),
        "bytes": int(found.bytes[k]),
        "bits_per_byte": None if math.isnan(per_byte) else per_byte,
    }
    if not model.vocabulary.bytewise:
        row["unknown"] = int(found.unknown[k])
    if found.tokens is not None and found.ends is not None:
        bits = found.tokens[k].round(6).tolist()
        row["tokens"] = [None if math.isnan(each) else each for each in bits]
        row["ends"] = found.ends[k].tolist()
    return row


def _pairs(
    model: Model, texts: Texts, score: Score, output: Path | None, progress: Any
) -> PairScores:
    from launch.score_pairs import score_pairs
    from probing.evidence.controls import untrained_twin

    return score_pairs(
        model,
        untrained_twin(model) if _BASELINES.value else None,
        texts,
        list(_PAIR.value or ()),
        _BY.value,
        score,
        partial(_charged, model),
        output,
        progress,
    )


def run() -> None:
    program.run(main)


if __name__ == "__main__":
    run()
