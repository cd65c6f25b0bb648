"""Fine-tune a language model as a classifier of labelled documents, and measure it on test ones.

    python -m launch.finetune --model=RUN --task=sentiment --data=reviews.jsonl --output=DIR
    python -m launch.finetune --model=RUN --data=a.csv --label_field=happy,angry --output=DIR
    python -m launch.finetune --model=RUN --data=sst/ --poolings=last,mean,max --sizes=64 \
        --dropout=0.3 --language_model_loss=0.1 --model_rate=0.3 --output=DIR

Prints a line for each epoch, and a table: the fine-tuned classifier beside a linear probe of the
frozen model, character n-grams and the most frequent class, with accuracy, F1 and Matthews'
correlation on the test documents. Epoch and thresholds are chosen on the dev documents alone.
Stopped at any time, the same command goes on after the last epoch that it ended.

The output is a model as any other (--model=DIR of every program), and a classifier of texts:

    python -m launch.classify --probe=DIR --input=reviews.csv --output=labels.csv
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from absl import flags

from launch import naming, program, tasks
from launch.progress import ProgressLine, ProgressLines
from mlstm.errors import InputError

if TYPE_CHECKING:
    from probing.evidence.documents import WholeDocuments

_MODEL = flags.DEFINE_string("model", None, naming.MODEL, required=True)
_STEP = flags.DEFINE_integer("step", None, "Which checkpoint (default: the best, else the newest).")
_MODEL_SEED = flags.DEFINE_integer("model_seed", None, "Which model of a population, by its seed.")
tasks.define()
flags.FLAGS.set_default("task", "sentiment")
flags.FLAGS[
    "label_field"
].help = (
    "sentiment: the field of the label; several with commas between are as many yes-or-no labels."
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder of the classifier.", required=True)
_COMPARE = flags.DEFINE_bool(
    "compare", True, "Measure probe, n-grams and most frequent class too; --nocompare does not."
)
flags.DEFINE_list("sites", None, "States that are read, as 0.c,0.h (default: the primary).")
flags.DEFINE_list("poolings", None, "How states are pooled, one after another: last,mean,max,min.")
flags.DEFINE_list("sizes", None, "Units of the head's hidden layers (default: a linear head).")
flags.DEFINE_enum("activation", None, ["relu", "tanh"], "Between the layers of the head.")
flags.DEFINE_float("dropout", None, "Share of what each layer of the head reads that is dropped.")
flags.DEFINE_integer("epochs", None, "Times that each train document is read.")
flags.DEFINE_integer("batch", None, "Documents of a step.")
flags.DEFINE_integer("freeze", None, "Steps of the head alone, before the first epoch.")
flags.DEFINE_float("learning_rate", None, "Of the head.")
flags.DEFINE_float("model_rate", None, "The language model's, as a share of it; 0 freezes it.")
flags.DEFINE_enum(
    "optimizer", None, ["adamw", "adam", "sgd", "rmsprop", "lamb", "lion"], "The optimizer."
)
flags.DEFINE_enum("schedule", None, ["constant", "linear", "cosine"], "How rates fall.")
flags.DEFINE_float("warmup", None, "Share of the steps in which rates rise.")
flags.DEFINE_float("weight_decay", None, "Of weights, never of biases and gains.")
flags.DEFINE_float("clip", None, "Largest norm of the gradient; 0 is none.")
flags.DEFINE_float("language_model_loss", None, "Weight of the language model's nats for a byte.")
flags.DEFINE_enum("class_weights", None, ["none", "balanced"], "Weights of the classes.")
flags.DEFINE_enum(
    "thresholds", None, ["accuracy", "f1", "none"], "What thresholds are best at on dev."
)
flags.DEFINE_integer("limit", None, "The last bytes or tokens that are read; 0 is all.")
flags.DEFINE_integer("truncate", None, "The last ones that a gradient goes through; 0 is all.")
flags.DEFINE_integer("buckets", None, "Lengths of batches, each compiled once.")
flags.DEFINE_integer("seed", None, "Of the head's parameters, the order and what is dropped.")


def main(_) -> None:
    from mlstm.corpus.files import user_path
    from mlstm.loading import load_one
    from mlstm.output import check_folder
    from mlstm.runs import is_run
    from mlstm.training.finetuning import Examples, finetune, measured
    from mlstm.training.finetuning.report import Report

    config = _config()
    workdir, output = user_path(_MODEL.value), user_path(_OUTPUT.value)
    if is_run(output):
        raise InputError(f"--output={output} is a training run; give a folder of its own")
    documents = _documents(workdir)
    check_folder(output)
    model = load_one(workdir, _STEP.value, _MODEL_SEED.value)
    train, dev = (Examples(documents.texts(s), documents.labels(s)) for s in ("train", "dev"))
    print(
        f"{', '.join(documents.labelling.classes)}, of {documents.origin}: "
        f"{len(train.texts):,} train, {len(dev.texts):,} dev and "
        f"{len(documents.texts('test')):,} test documents",
        flush=True,
    )
    with ProgressLines({}) as progress:
        made = finetune(
            model, train, dev, documents.labelling, config, output, progress=progress, tell=_tell
        )
    if made.resumed is not None:
        print(f"went on after epoch {made.resumed}")
    labels = documents.labels("test")
    told = {"fine-tuned": _told(made.classifier, documents)}
    if _COMPARE.value:
        told |= _others(model, made.classifier, documents, config.thresholds)
    report = Report(
        made, {name: measured(documents.labelling, labels, rows) for name, rows in told.items()}
    )
    print(f"\n{report}")
    print(f"\nresults     {report.save(output)}\nclassifier  {output}")


def _config():
    from mlstm.training.finetuning import FinetuneConfig

    given = {}
    for field in dataclasses.fields(FinetuneConfig):
        value = flags.FLAGS[field.name].value
        if value is not None:
            given[field.name] = tuple(value) if isinstance(value, list) else value
    try:
        given |= {"sizes": tuple(int(size) for size in given.get("sizes", ()))}
    except ValueError:
        raise InputError(
            f"--sizes={','.join(given['sizes'])}: whole numbers with commas between"
        ) from None
    return FinetuneConfig(**given).check()


def _documents(workdir) -> WholeDocuments:
    from probing.evidence.documents import several_labels, whole_documents

    fields = (flags.FLAGS.label_field or "").split(",")
    if len(fields) == 1:
        return whole_documents(tasks.read(workdir))
    if not all(fields) or len(set(fields)) < len(fields):
        raise InputError(f"--label_field={','.join(fields)}: each label has a field of its own")
    found = {}
    for name in fields:
        flags.FLAGS["label_field"].value = name
        found[name] = tasks.read(workdir)
    return several_labels(found)


def _unit(model) -> str:
    return "bytes" if model.vocabulary.bytewise else "tokens"


def _told(classifier, documents: WholeDocuments):
    with ProgressLine("test", _unit(classifier.model)) as progress:
        probabilities = classifier.predict_proba(documents.texts("test"), progress)
    return classifier.labelling.decide(probabilities, classifier.thresholds)


def _others(model, classifier, documents: WholeDocuments, measure: str) -> dict:
    from probing.evidence.documents import told_by_majority, told_by_ngrams, told_by_probe

    with ProgressLine("the frozen model", _unit(model)) as progress:
        probed = told_by_probe(
            model, documents, classifier.what, classifier.limit, measure, progress
        )
    return {
        "probe, model frozen": probed,
        "character n-grams": told_by_ngrams(
            documents, model.cleaning, classifier.limit, measure, model.vocabulary
        ),
        "most frequent class": told_by_majority(documents),
    }


def _tell(line: str) -> None:
    print(line, flush=True)


def run() -> None:
    program.run(main)


if __name__ == "__main__":
    run()
