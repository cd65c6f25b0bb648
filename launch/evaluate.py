"""Bits per byte of a text under a trained model, beside bz2 and xz on the same bytes.

python -m launch.evaluate --model=runs/quickstart                       # the run's own test split
python -m launch.evaluate --model=runs/quickstart --data=book.txt       # a file, all of it
python -m launch.evaluate --model=runs/quickstart --data=data/reviews --split=validation

A text that is not prepared gets the model's vocabulary and cleaning. A model that others published
has no text of its own: name one with --data. Of a population every model is scored, or the one that
--model_seed chooses. --mesh=8x1 splits the text over eight devices; of several processes the first
one prints.

--dynamic lets the model go on learning from the text as it reads it (Krause et al. 2018, RMS with
decay), and shows its bits per byte beside those of the same model standing still, in place of the
compressors'. The rates are tuned on the validation split of --data, or on --dynamic_tune_on, which
may not be the text that is scored, and the text is then read once; one --dynamic_learning_rate and
one --dynamic_decay, where given, are taken as they are.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from absl import flags

from launch import naming, parallel, program
from launch.progress import ProgressLine, ProgressLines
from mlstm.errors import InputError

if TYPE_CHECKING:
    from mlstm.corpus.reading import Split
    from mlstm.dynamic_settings import Settings

_MODEL = flags.DEFINE_string("model", None, naming.MODEL, required=True)
_STEP = flags.DEFINE_integer("step", None, "Which checkpoint (default: the best, else the newest).")
_MODEL_SEED = flags.DEFINE_integer("model_seed", None, "Which model of a population, by its seed.")
_DATA = flags.DEFINE_string(
    "data", None, "A file or a folder of text, or a prepared corpus (default: the run's own)."
)
_SPLIT = flags.DEFINE_enum(
    "split", None, ["train", "validation", "test"], "Which part of a corpus (default: test)."
)
_RESET_EVERY = flags.DEFINE_integer(
    "reset_every",
    0,
    "Forget the state before each N bytes (or tokens of the model); 0 never.",
)
_JSON = flags.DEFINE_string("json", None, "Write the figures to this file as well.")
_DYNAMIC = flags.DEFINE_bool("dynamic", False, "Dynamic evaluation, beside the static one.")
_RULE = flags.DEFINE_enum(
    "dynamic_rule", "rms", ["rms", "sgd"], "RMS with decay, or plain SGD with decay."
)
_RATES = flags.DEFINE_list(
    "dynamic_learning_rate", None, "Of the updates; several are tuned over (default: a grid)."
)
_DECAYS = flags.DEFINE_list(
    "dynamic_decay", None, "Back to the trained parameters, 0 to 1; several are tuned over."
)
_EPSILON = flags.DEFINE_float("dynamic_epsilon", None, "Added to root mean square gradients.", 0.0)
_SEGMENT = flags.DEFINE_integer("dynamic_segment", None, "Symbols between updates (default 20).", 1)
_STREAMS = flags.DEFINE_integer(
    "dynamic_streams",
    None,
    "Pieces read side by side, each with parameters of its own (default 1).",
    1,
)
_BATCHES = flags.DEFINE_integer(
    "dynamic_batches", None, "Of training text, for the statistics of gradients (default: 200).", 1
)
_STATISTICS = flags.DEFINE_string(
    "dynamic_train",
    None,
    "The training text, for the statistics: a prepared corpus, whose train split is read, or a "
    "file (default: the run's own corpus).",
)
_TUNE_ON = flags.DEFINE_string(
    "dynamic_tune_on",
    None,
    "What rates are tuned on: a prepared corpus, whose validation split is read, or a file.",
)
_TUNE_BYTES = flags.DEFINE_integer(
    "dynamic_tune_bytes", None, "Symbols of it that are read at most (default: 100,000).", 1
)
_MOST = flags.DEFINE_integer(
    "dynamic_bytes", 0, "Symbols of the text that are read at most; 0 is all of them.", 0
)
flags.adopt_module_key_flags(parallel)


def main(_) -> None:
    _check()
    import mlstm
    from mlstm import evaluation, job
    from mlstm.corpus.cleaning import otherwise
    from mlstm.corpus.files import user_path
    from mlstm.output import check_folder, write_whole

    workdir = user_path(_MODEL.value)
    figures = user_path(_JSON.value) if _JSON.value else None
    if figures:
        check_folder(figures.parent)
    parallel.join()
    mesh = parallel.mesh()
    model = mlstm.load(workdir, _STEP.value, seed=_MODEL_SEED.value)
    one = model[0] if isinstance(model, list) else model
    split, text = evaluation.open_text(_DATA.value or mlstm.corpus_of(workdir), _SPLIT.value, one)
    if _DYNAMIC.value:
        result = _dynamic(model, split, text)
        print(result)
        if note := otherwise(split.corpus.cleaning, one.cleaning):
            print(note)
        if figures:
            write_whole(figures, result.to_json() + "\n")
        return
    with ProgressLine("scoring and compressing", "bytes") as progress:
        result = mlstm.compare(
            model,
            split,
            text=text,
            reset_every=_RESET_EVERY.value,
            mesh=mesh,
            progress=progress if job.is_first() else None,
        )
    if not job.is_first():
        return
    print(result)
    # A prepared text is scored as it is.
    if note := otherwise(split.corpus.cleaning, one.cleaning):
        print(note)
    if figures:
        write_whole(figures, result.to_json() + "\n")


def _check() -> None:
    """InputError for flags that do not go together."""
    if not _DYNAMIC.value:
        for name in flags.FLAGS:
            if name.startswith("dynamic_") and flags.FLAGS[name].present:
                raise InputError(f"--{name} says nothing without --dynamic")
        return
    for name in ("reset_every", "mesh", "coordinator", "num_processes"):
        if flags.FLAGS[name].present:
            raise InputError(
                f"--{name}: dynamic evaluation is of one stream, whose state is carried, on one "
                "device"
            )
    settings = _settings()
    unused = []
    if settings.rule != "rms":
        unused += [(name, "the rule sgd") for name in ("epsilon", "batches", "train")]
    if len(settings.grid) == 1:
        unused += [(name, "one rate and one decay") for name in ("tune_on", "tune_bytes")]
    for name, why in unused:
        if flags.FLAGS[f"dynamic_{name}"].present:
            raise InputError(f"--dynamic_{name} says nothing with {why}")


def _settings() -> Settings:
    from mlstm.dynamic_settings import Settings

    given = {
        "rule": _RULE.value,
        "learning_rates": _numbers(_RATES),
        "decays": _numbers(_DECAYS),
        "epsilon": _EPSILON.value,
        "segment": _SEGMENT.value,
        "streams": _STREAMS.value,
        "batches": _BATCHES.value,
        "tune_ids": _TUNE_BYTES.value,
    }
    given = {name: value for name, value in given.items() if value is not None}
    return Settings.of(**given).check()


def _dynamic(model: Any, split: Split, text: str) -> Any:
    from mlstm import dynamic_evaluation

    settings = _settings()
    one = model[0] if isinstance(model, list) else model
    validation, tuned_on = _validation(one, split) if len(settings.grid) > 1 else (None, "")
    train, statistics = _train(one) if settings.rule == "rms" else (None, "")
    with ProgressLines({}) as progress:
        return dynamic_evaluation.evaluate(
            model,
            split,
            settings,
            train=train,
            validation=validation,
            text=text,
            tuned_on=tuned_on,
            statistics=statistics,
            most=_MOST.value,
            progress=progress,
        )


def _numbers(flag: Any) -> tuple[float, ...] | None:
    if flag.value is None:
        return None
    try:
        found = tuple(float(each) for each in flag.value)
    except ValueError:
        raise InputError(
            f"--{flag.name}={','.join(flag.value)}: it is a number, or several with commas between"
        ) from None
    if not all(0 <= each < math.inf for each in found):
        raise InputError(
            f"--{flag.name}={','.join(flag.value)}: it has to be finite, and 0 or more"
        )
    return found


def _train(model: Any) -> tuple[Split, str]:
    from mlstm import corpus_of, evaluation

    if _STATISTICS.value:
        return _part(_STATISTICS.value, "train", model)
    try:
        return evaluation.open_text(corpus_of(_MODEL.value), "train", model)
    except InputError as error:
        raise InputError(
            f"--dynamic_train is needed, the text that the model was trained on or like it: {error}"
        ) from None


def _validation(model: Any, split: Split) -> tuple[Split, str]:
    if _TUNE_ON.value:
        return _part(_TUNE_ON.value, "validation", model)
    if _SPLIT.value in ("train", "validation") or split.name != "test":
        raise InputError(
            "what the rates are to be tuned on is not clear: name another text with "
            "--dynamic_tune_on, or give one --dynamic_learning_rate and one --dynamic_decay"
        )
    return split.corpus.split("validation"), "the validation split"


def _part(source: str, name: str, model: Any) -> tuple[Split, str]:
    """A split of a corpus, or all of a file, and its name."""
    from mlstm import evaluation

    return evaluation.open_text(source, name if evaluation.has_splits(source) else None, model)


def run() -> None:
    program.run(main)


if __name__ == "__main__":
    run()
