"""Prune the neurons of a concept, retrain, and watch the concept come back, beside twins.

    python -m launch.plasticity --model=runs/quickstart --task=source_code --concept=string \
        --prune=32 --steps=500 --every=100
    python -m launch.plasticity --model=runs/reviews --task=part_of_speech --data=treebank/ \
        --concept=VERB --prune=0.1 --ranking=probe --output=studies/verbs
    python -m launch.plasticity --model=runs/quickstart --concept=string --neurons="0.c[3,17]"

Every arm (the concept's neurons pruned, and the twins: as many at random, as many that are like
them, none) is retrained for every seed from the parameters of the run, on its text, with the
optimizer anew, under a mask that holds pruned units at 0. It is measured right behind the pruning
and every --every steps. Each arm is a run in OUTPUT/runs; begun again, the same command does what
is not done yet. It ends with 42 when it was told to stop and has saved its state.

Prints the table; writes plasticity.json, csv files and figures/ (SVG and PNG; --nofigures leaves
them out) to the output folder.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from urllib.parse import quote

from absl import flags

from launch import program, tasks
from launch.progress import ProgressLine
from mlstm.errors import InputError

_MODEL = flags.DEFINE_string("model", None, "Workdir of a run of one model.", required=True)
tasks.define()
_CONCEPT = flags.DEFINE_string("concept", None, "Which class of the task.", required=True)
_PRUNE = flags.DEFINE_string("prune", None, "How many units, as 32, or which share, as 0.1.")
_RANKING = flags.DEFINE_string(
    "ranking", "auc", "auc, probeless, probeless_standardised, probe, gaussian or iou."
)
_NEURONS = flags.DEFINE_string("neurons", None, 'The units to prune, as "0.c[3,17-20] 0.m[5]".')
_SITES = flags.DEFINE_string(
    "sites", None, "Whose units are ranked and pruned, as 0.c,0.m (default: the primary site)."
)
_MEASURED = flags.DEFINE_string(
    "measured", None, "Sites of which saliency is told (default: h, c and m of every layer)."
)
_STEPS = flags.DEFINE_integer("steps", 500, "Steps of retraining.", 1)
_EVERY = flags.DEFINE_integer("every", 100, "Steps between measurements.", 1)
_RATE = flags.DEFINE_float(
    "learning_rate", None, "At the start, falling to 0 (default: a quarter of the run's)."
)
_WARMUP = flags.DEFINE_integer("warmup", None, "Steps to it (default: a twentieth).", 0)
_SEEDS = flags.DEFINE_integer("seeds", 3, "How often, from other places of the text.", 1)
_TWINS = flags.DEFINE_list(
    "twins", ["random", "matched", "untouched"], "What is compared; empty for nothing."
)
_ROWS = flags.DEFINE_integer("rows", 10_000, "Labelled positions that probes are fitted on.", 100)
_BYTES = flags.DEFINE_integer("bytes", 200_000, "Text of train and of test that is read.", 1000)
_VECTORS = flags.DEFINE_string(
    "vectors", None, "A text file of word vectors, for the similarity of top words."
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Folder of the study (default: MODEL/plasticity/TASK-CONCEPT)."
)
_FIGURES = flags.DEFINE_bool("figures", True, "Draw the result too; --nofigures does not.")


def main(_) -> int | None:
    _check_flags()
    from mlstm.corpus.files import user_path
    from mlstm.runs import is_run
    from mlstm.training.interrupts import SAVED_AND_STOPPED
    from probing import results
    from probing.plasticity.retraining import Interrupted
    from probing.plasticity.study import base_of, plasticity

    workdir = user_path(_MODEL.value)
    if not is_run(workdir):
        base_of(workdir)  # which says so, before a task asks for a text
    data = tasks.read(workdir)
    default = workdir / "plasticity" / f"{data.task}-{quote(_CONCEPT.value, safe=' ')}"
    output = user_path(_OUTPUT.value) if _OUTPUT.value else default
    try:
        with _compiled_once(), ProgressLine("measured", "points") as progress:
            report = plasticity(
                workdir,
                data,
                output,
                concept=_CONCEPT.value,
                prune=_PRUNE.value or "",
                ranking=_RANKING.value,
                units=_NEURONS.value,
                sites=_SITES.value or None,
                measured=_MEASURED.value or None,
                steps=_STEPS.value,
                every=_EVERY.value,
                learning_rate=_RATE.value or 0.0,
                warmup=_WARMUP.value,
                seeds=_SEEDS.value,
                twins=[twin for twin in _TWINS.value if twin],
                rows=_ROWS.value,
                size=_BYTES.value,
                vectors=str(user_path(_VECTORS.value)) if _VECTORS.value else "",
                tell=_tell,
                progress=progress,
            )
    except Interrupted as stopped:
        print(stopped)
        return SAVED_AND_STOPPED
    figures = results.write_plasticity(output, report, figures=_FIGURES.value)
    print(f"\n{report}\n\nresults  {output / 'plasticity.json'}")
    if figures:
        print(f"figures  {output / 'figures'}")
    return None


@contextlib.contextmanager
def _compiled_once() -> Iterator[None]:
    """All arms are the same program: the first one compiles it for all, unless JAX was told of
    another place for that."""
    import jax

    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
        yield


def _tell(line: str) -> None:
    print(line, flush=True)


def _check_flags() -> None:
    """InputError for a flag that says nothing beside another, or one that is missing."""
    if _NEURONS.value is None and _PRUNE.value is None:
        raise InputError("--prune is needed: how many units, as 32, or which share, as 0.1")
    if _NEURONS.value is not None:
        for flag in (_PRUNE, _RANKING, _SITES):
            if flag.present:
                raise InputError(f"--{flag.name} says nothing beside --neurons, which names them")
    if _RATE.value is not None and not 0 < _RATE.value < float("inf"):
        raise InputError(f"--learning_rate={_RATE.value:g}: it is a number above 0")
    if _EVERY.value > _STEPS.value:
        raise InputError(
            f"--every={_EVERY.value} is more than --steps={_STEPS.value}: nothing would be seen "
            "on the way"
        )
    if _WARMUP.value is not None and _WARMUP.value > _STEPS.value:
        raise InputError(f"--warmup={_WARMUP.value} is longer than --steps={_STEPS.value}")


def run() -> None:
    program.run(main)


if __name__ == "__main__":
    run()
