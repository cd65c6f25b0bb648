"""Classify texts by what a trained model's states say: sentiment, or any task with labels.

First a probe is fitted on labelled data and kept in a folder, then it is applied to any texts:

    python -m launch.classify --model=RUN --fit --task=sentiment --data=sst/ --probe=probes/sst
    python -m launch.classify --model=RUN --probe=probes/sst --input=reviews.csv \
        --text_field=review --output=labels.csv
    python -m launch.classify --model=RUN --probe=probes/sst --input=reviews.txt --along \
        --output=along.jsonl
    python -m launch.classify --probe=FINETUNED --input=reviews.csv --output=labels.csv

--fit prints the accuracy on train, dev and test beside that of the most frequent class, and writes
the folder anew. A .csv or .tsv of texts has a header, a .jsonl has objects, and one field of each
is the text; any other file has a text on each line. Each comes out in its place with its fields,
the class as "predicted" and the probability of each class as "probability_CLASS", as .csv or
.jsonl by the name of the output. What launch.finetune made needs no --model; of its several labels
"predicted" has those above their thresholds, with commas between.

--along adds "along", for each class the probabilities after each byte of the text (as UTF-8; those
of a character are the ones after its last byte), and prints the first texts coloured by them. A
probe of tokens or bytes is applied that way only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from absl import flags

from launch import naming, program, tasks
from launch.progress import ProgressLine
from mlstm.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from launch.applied import Applied, Finetuned, Probe
    from launch.rows import Texts
    from mlstm.classifier import Classifier
    from mlstm.corpus.texts import Record

SHOWN, SHOWN_BYTES = 3, 800  # of the texts, in colour

_MODEL = flags.DEFINE_string("model", None, f"{naming.MODEL} A fine-tuned classifier needs none.")
_STEP = flags.DEFINE_integer("step", None, "Which checkpoint (default: the best, else the newest).")
_MODEL_SEED = flags.DEFINE_integer("model_seed", None, "Which model of a population, by its seed.")
_PROBE = flags.DEFINE_string(
    "probe", None, "Folder of the probe, or of a fine-tuned classifier.", required=True
)
_FIT = flags.DEFINE_bool("fit", False, "Fit the probe on --task and --data, and keep it.")
tasks.define()
flags.FLAGS["text_field"].help = "The field of the text in csv, tsv, jsonl (input's default: text)."
_CONCEPT = flags.DEFINE_string(
    "concept", None, "--fit: the class to tell from its absence, where classes overlap."
)
_SITE = flags.DEFINE_string("site", None, "--fit: the state to read (default: the primary).")
_POOLING = flags.DEFINE_enum(
    "pooling", None, ["last", "mean", "max", "min"], "--fit: of the states of a document."
)
_CLEANING = flags.DEFINE_enum(
    "cleaning", None, naming.CLEANINGS, "--fit: what is done to a text (default: the model's)."
)
_ROWS = flags.DEFINE_integer(
    "probe_rows", 20_000, "--fit on tokens or bytes: about how many of each split are read.", 100
)
_INPUT = flags.DEFINE_string("input", None, "Texts: .csv, .tsv, .jsonl, or one a line.")
_OUTPUT = flags.DEFINE_string("output", None, "Write to this .csv or .jsonl file.")
_ALONG = flags.DEFINE_bool("along", False, "The probabilities after each byte of the texts too.")
_SHOW = flags.DEFINE_string("show", None, "--along: the class that the coloured texts show.")
_COLOUR = flags.DEFINE_enum(
    "colour", "auto", ["auto", "24bit", "256", "none"], "How texts are coloured."
)
_OF_FIT = (
    *("task", "data", "label_field", "fine", "tags", "grouping", "position", "pattern", "list"),
    *("language", "concept", "site", "pooling", "cleaning", "probe_rows"),
)
_OF_INPUT = ("input", "output", "along", "show", "colour")


def main(_) -> None:
    from mlstm.corpus.files import user_path
    from mlstm.loading import load_one

    _check_mode()
    folder = user_path(_PROBE.value)
    workdir = user_path(_MODEL.value) if _MODEL.value else None
    if _FIT.value:
        if workdir is None:
            raise InputError("--model is needed")
        _fit(load_one(workdir, _STEP.value, _MODEL_SEED.value), workdir, folder)
        return
    from launch import applied
    from launch.rows import Texts
    from mlstm.output import check_folder

    output = user_path(str(_OUTPUT.value))
    if output.suffix not in ((".jsonl",) if _ALONG.value else (".csv", ".jsonl")):
        raise InputError(f"{output}: classes are written as .csv or .jsonl, with --along as .jsonl")
    classifier = applied.read(folder, workdir, _STEP.value, _MODEL_SEED.value)
    if _SHOW.value and _SHOW.value not in classifier.classes:
        raise InputError(f"--show={_SHOW.value}: the classes are {', '.join(classifier.classes)}")
    if not _ALONG.value and classifier.unit != "document":
        raise InputError(
            f"{folder}: a probe of {classifier.unit}s is applied along the text: add --along"
        )
    field = flags.FLAGS.text_field or "text"
    texts = Texts(str(_INPUT.value), field, _added(classifier))
    check_folder(output.parent)
    _classify(classifier, texts, output)


def _check_mode() -> None:
    """InputError for flags that say nothing to what is done."""
    others = _OF_INPUT if _FIT.value else _OF_FIT
    for name in others:
        if flags.FLAGS[name].present:
            what = "--fit" if _FIT.value else "the texts of --input; add --fit"
            raise InputError(f"--{name} says nothing to {what}")
    for name in ("show", "colour"):
        if flags.FLAGS[name].present and not _ALONG.value:
            raise InputError(f"--{name} says nothing without --along")
    if not _FIT.value and not (_INPUT.value and _OUTPUT.value):
        raise InputError("--input and --output are needed, or --fit with a task")


def _fit(model, workdir: Path, folder: Path) -> None:
    from probing.evidence.probes.classifying import fit_classifier

    data = tasks.read(workdir)
    with ProgressLine("fitting", "parts") as progress:
        classifier = fit_classifier(
            model,
            data,
            folder,
            site=_SITE.value,
            concept=_CONCEPT.value,
            pooling=_POOLING.value,
            cleaning=_CLEANING.value,
            rows=_ROWS.value,
            progress=progress,
        )
    print(f"{', '.join(classifier.classes)}, from {classifier.probe.site} of {model.origin}")
    print(classifier.about)
    print(f"\nprobe    {folder}")


def _added(classifier: Probe | Finetuned) -> list[str]:
    """The names of the fields that a text gets."""
    if classifier.unit != "document":
        return ["along"]
    names = ["predicted", *(f"probability_{name}" for name in classifier.classes)]
    return [*names, "along"] if _ALONG.value else names


def _classify(classifier: Probe | Finetuned, texts: Texts, output: Path) -> None:
    from launch.rows import Rows
    from mlstm.output import writing

    rows = Rows(output, texts.names)
    read = 0
    ready = classifier.ready()
    shown: list[str] = []
    with ProgressLine("classifying", "bytes") as progress, writing(output) as file:
        if texts.count:
            file.write(rows.header())
        for piece in texts.pieces():
            for record, new in zip(piece, _found(classifier, ready, piece), strict=True):
                file.write(rows.line(dict(record.fields) | new))
                if "along" in new and len(shown) < SHOWN:
                    shown.append(_coloured(classifier, record.text, new["along"]))
            read += sum(len(record.text) for record in piece)
            progress(read, texts.bytes)
    print("\n\n".join([*shown, f"{output}: {texts.count:,} texts"]))


def _found(
    classifier: Probe | Finetuned, ready: Applied | Classifier, piece: list[Record]
) -> Iterator[dict[str, Any]]:
    """What is added to each text."""
    texts = [record.text for record in piece]
    added = [{} for _ in texts]
    if classifier.unit == "document":
        found = ready.predict_proba(texts)
        for new, told, row in zip(added, ready.told(found), found, strict=True):
            new["predicted"] = told
            for name, value in zip(classifier.classes, row.tolist(), strict=True):
                new[f"probability_{name}"] = value
    if _ALONG.value:
        for new, values in zip(added, ready.along(texts), strict=True):
            columns = values.round(6).T.tolist()
            new["along"] = dict(zip(classifier.classes, columns, strict=True))
    yield from added


def _coloured(classifier: Probe | Finetuned, text: bytes, along: dict[str, list[float]]) -> str:
    """The beginning of a text, coloured by the probability of a class."""
    import numpy as np

    from probing.views import terminal
    from probing.views.scale import Scale

    name = _SHOW.value or classifier.shown
    colours = terminal.depth(_COLOUR.value)
    values = np.array(along[name][:SHOWN_BYTES])
    scale = Scale(classifier.chance, 1 - classifier.chance)
    painted = terminal.coloured(text[:SHOWN_BYTES], values, scale, colours=colours)
    return f"probability of {name}\n{painted}"


def run() -> None:
    program.run(main)


if __name__ == "__main__":
    run()
