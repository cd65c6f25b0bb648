"""The whole protocol on a neuron, the best of a site, or a direction: controls, and one verdict.

    python -m launch.study --model=runs/quickstart --task=source_code --concept=string
    python -m launch.study --model=runs/reviews --task=sentiment --data=sst/ --neuron="0.c[2388]"
    python -m launch.study --model=runs/eight --task=source_code --concept=string   # every seed

Prints a card for each model, and of several what they say together; writes study-CONCEPT.json,
whose name has what else was asked for, to the output folder. Of a population every model is
studied, the neuron chosen anew in each, or the one that --model_seed names; with
--every_checkpoint so is every checkpoint of the run. The first seed's neuron is looked for in the
other seeds, and the last checkpoint's in those before.

Where the verdict hangs on what the neuron does, it is ablated in test text, and set to doses while
the model writes; --causal=never leaves that out.

--direction=FILE.npy judges the score states @ vector of one site in place of a neuron: a vector of
as many numbers as the model has units, for raw states, as `coef_` of a probe is; of a population a
row for each model. It must not have been fitted on the test documents.

--mesh=8x1 splits the text over eight devices; of several processes the first one prints and writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from absl import flags

from launch import naming, parallel, program, tasks
from launch.progress import ProgressLines
from mlstm.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlstm.trained import Model
    from probing.evidence.claim_sets import Match
    from probing.evidence.claims import Claim
    from probing.tasks import LabelledData

_MODEL = flags.DEFINE_string("model", None, naming.MODEL, required=True)
_STEP = flags.DEFINE_integer("step", None, "Which checkpoint (default: the best, else the newest).")
_EVERY = flags.DEFINE_bool("every_checkpoint", False, "Study every checkpoint that is kept.")
_MODEL_SEED = flags.DEFINE_integer("model_seed", None, "Which model of a population, by its seed.")
tasks.define()
_NEURON = flags.DEFINE_string("neuron", None, 'The neuron, as "0.c[17]" (default: the best).')
_DIRECTION = flags.DEFINE_string("direction", None, "A .npy file: a direction of raw states.")
_SITES = flags.DEFINE_string("sites", None, "Sites to choose from, as 0.c,0.h.")
_CONCEPT = flags.DEFINE_string("concept", None, "Which concept of the task.")
_DRAWS = flags.DEFINE_integer("draws", 199, "Permutations of the null.", 20)
_CAUSAL = flags.DEFINE_enum(
    "causal",
    "needed",
    ["needed", "always", "never"],
    "When necessity and sufficiency are tested: needed is where the verdict hangs on them.",
)
_SEED = flags.DEFINE_integer("seed", 0, "Of all that is drawn: null, twin, controls, samples.", 0)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for results (default: MODEL/study/TASK).")
flags.adopt_module_key_flags(parallel)

UNITS = {
    "fitting the surface model": "fits",
    "fitting probes beside it": "parts",
    "preparing the judge": "judges",
    "writing": "tokens",
    "judging": "edits",
    "scoring fluency": "texts",
}  # else bytes


def main(_) -> None:
    import mlstm
    import probing
    from mlstm import job
    from mlstm.corpus.files import user_path
    from mlstm.corpus.reading import Corpus
    from mlstm.output import check_folder
    from probing.evidence.claim_sets import Claims

    _check_flags()
    workdir = user_path(_MODEL.value)
    parallel.join()
    mesh = parallel.mesh()
    steps = _steps(workdir)
    data = tasks.read(workdir)
    output = naming.output_folder(_OUTPUT.value, workdir, "study", data.task)
    check_folder(output)
    try:
        corpus = Corpus.open(mlstm.corpus_of(workdir)).split("train")
    except InputError:
        corpus = None  # moved or changed since: the claim says that overlap was not measured
    claims: list[list[Claim]] = []  # of each step, of each model
    for step in steps:
        models = _load(workdir, step)
        claims.append([])
        for model, vector in zip(models, _directions(models), strict=True):
            with ProgressLines(UNITS) as progress:
                claim: Any = probing.verify(
                    model,
                    _NEURON.value or _SITES.value,
                    data,
                    _CONCEPT.value,
                    direction=vector,
                    draws=_DRAWS.value,
                    causal={"needed": None, "always": True, "never": False}[_CAUSAL.value],
                    seed=_SEED.value,
                    corpus=corpus,
                    mesh=mesh,
                    progress=progress if job.is_first() else None,
                )
            claims[-1].append(claim)
            if job.is_first():
                print(claim, end="\n\n", flush=True)
    if not job.is_first():
        return
    every = tuple(claim for of_step in claims for claim in of_step)
    path = output / f"{_name(every[0].concept)}.json"
    together = Claims(every, _matches(workdir, claims, data))
    if len(together) > 1:
        print(together, end="\n\n")
    together.save(path)
    print(f"results  {path}")


def _name(concept: str) -> str:
    """Of the file: a study of another thing has another name."""
    seed = _SEED.value or None
    named = {"": _NEURON.value, "step": _STEP.value, "model": _MODEL_SEED.value, "seed": seed}
    parts = [concept, *(f"{what}{value}" for what, value in named.items() if value is not None)]
    if _DIRECTION.value:
        parts.append(_DIRECTION.value.rpartition("/")[2].removesuffix(".npy"))
    return "-".join(["study", *(quote(part, safe=" []") for part in parts)])


def _check_flags() -> None:
    """InputError for two flags of which one has nothing to say beside the other."""
    given = {f"--{flag.name}": flag.value for flag in (_NEURON, _DIRECTION, _SITES, _STEP)}
    given["--every_checkpoint"] = _EVERY.value or None
    for one, other, why in (
        ("--neuron", "--sites", "a neuron has its site"),
        ("--neuron", "--direction", "a claim is of one of the two"),
        ("--every_checkpoint", "--step", "it is all of them or one"),
        ("--every_checkpoint", "--direction", "a direction is of one checkpoint's states"),
    ):
        if given[one] is not None and given[other] is not None:
            raise InputError(f"{one} and {other} exclude each other: {why}")


def _steps(workdir: Path) -> Sequence[int | None]:
    """Ascending; None is the best, else the newest."""
    from mlstm import upkeep
    from mlstm.runs import is_run

    if not _EVERY.value:
        return [_STEP.value]
    if not is_run(workdir):
        raise InputError(f"--model={workdir} is no training run: it has no checkpoints")
    kept = [int(e.name) for e in upkeep.listing(workdir).entries if e.name.isdigit()]
    return sorted(kept) or [None]


def _load(workdir: Path, step: int | None) -> list[Model]:
    import mlstm

    loaded = mlstm.load(workdir, step, seed=_MODEL_SEED.value)
    return loaded if isinstance(loaded, list) else [loaded]


def _directions(models: list[Model]) -> list:
    """A vector for each model, or None for each."""
    from mlstm.corpus.files import user_path
    from probing.evidence.subjects import check_direction, read_vectors
    from probing.states.activations import check_sites

    if not _DIRECTION.value:
        return [None] * len(models)
    path = user_path(_DIRECTION.value)
    found = read_vectors(path)
    vectors = [found] if len(models) == 1 else list(found) if found.ndim == 2 else []
    if len(vectors) != len(models):
        raise InputError(
            f"{path}: an array of shape {found.shape}; {len(models)} models need one vector each, "
            f"({len(models)}, {models[0].config.hidden}) by rising seed, or --model_seed"
        )
    for model, vector in zip(models, vectors, strict=True):
        try:
            check_direction(model, check_sites(model, _SITES.value)[0], vector)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    return vectors


def _matches(workdir: Path, claims: list[list[Claim]], data: LabelledData) -> tuple[Match, ...]:
    """The first seed's neuron in the others at the last step, and each one's in its own earlier
    checkpoints, of which one step at a time is read again. claims: of each step, of each model."""
    from probing.evidence.claim_sets import matched

    if len(claims) == len(claims[-1]) == 1:
        return ()
    latest = _load(workdir, claims[-1][0].step)
    found = list(matched(latest, claims[-1], data))
    for of_step in claims[:-1]:
        for final, own, model, claim in zip(
            latest, claims[-1], _load(workdir, of_step[0].step), of_step, strict=True
        ):
            found += matched([final, model], [own, claim], data)
    return tuple(found)


def run() -> None:
    program.run(main)


if __name__ == "__main__":
    run()
