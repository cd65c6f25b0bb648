"""The whole protocol on one neuron, or on the best of a site: controls, and one verdict.

    python -m launch.study --model=runs/quickstart --task=source_code --concept=string
    python -m launch.study --model=runs/reviews --task=sentiment --data=sst/ --neuron="0.c[2388]"
    python -m launch.study --model=runs/eight --task=source_code --concept=string   # every seed

Prints a card for each model, and of several what they say together; writes study-CONCEPT.json to
the output folder. Of a population every
model is studied, the neuron chosen anew in each, or the one that --model_seed names; with
--every_checkpoint so is every checkpoint of the run. --mesh=8x1 splits the text over eight devices;
of several processes the first one prints and writes.
"""

import contextlib

from absl import flags

from launch import parallel, program, tasks
from launch.progress import ProgressLine
from mlstm.errors import InputError

_MODEL = flags.DEFINE_string("model", None, "Workdir of a training run.", required=True)
_STEP = flags.DEFINE_integer("step", None, "Which checkpoint (default: the best, else the newest).")
_EVERY = flags.DEFINE_bool("every_checkpoint", False, "Study every checkpoint that is kept.")
_MODEL_SEED = flags.DEFINE_integer("model_seed", None, "Which model of a population, by its seed.")
tasks.define()
_NEURON = flags.DEFINE_string("neuron", None, 'The neuron, as "0.c[17]" (default: the best).')
_SITES = flags.DEFINE_string("sites", None, "Sites to choose from, as 0.c,0.h.")
_CONCEPT = flags.DEFINE_string("concept", None, "Which concept of the task.")
_DRAWS = flags.DEFINE_integer("draws", 199, "Permutations of the null.", 19)
_SEED = flags.DEFINE_integer("seed", 0, "Of the null, the random twin and the surface model.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for results (default: MODEL/study/TASK).")
flags.adopt_module_key_flags(parallel)


class _Progress(contextlib.ExitStack):
    """A progress line for each thing that is done, one after the other."""

    line: ProgressLine | None = None

    def __call__(self, what: str, done: int, every: int) -> None:
        if self.line is None or self.line.what != what:
            self.close()
            self.line = self.enter_context(ProgressLine(what, "bytes"))
        self.line(done, every)


def main(_) -> None:
    import mlstm
    import probing
    from mlstm import job, upkeep
    from mlstm.corpus.files import user_path
    from mlstm.corpus.reading import Corpus
    from mlstm.output import check_folder
    from probing.evidence.claim_sets import Claims, matched

    if _NEURON.value and _SITES.value:
        raise InputError("--neuron and --sites exclude each other: a neuron has its site")
    if _EVERY.value and _STEP.value is not None:
        raise InputError("--every_checkpoint and --step exclude each other")
    workdir = user_path(_MODEL.value)
    parallel.join()
    mesh = parallel.mesh()
    steps = [_STEP.value]
    if _EVERY.value:
        steps = [int(e.name) for e in upkeep.listing(workdir).entries if e.name.isdigit()]
    data = tasks.read(workdir)
    output = user_path(_OUTPUT.value) if _OUTPUT.value else workdir / "study" / data.task
    check_folder(output)
    try:
        corpus = Corpus.open(mlstm.corpus_of(workdir)).split("train")
    except InputError:
        corpus = None  # moved or changed since: the claim says that overlap was not measured
    claims, models = [], []
    for step in steps:
        loaded = mlstm.load(workdir, step, seed=_MODEL_SEED.value)
        models = loaded if isinstance(loaded, list) else [loaded]
        for model in models:
            with _Progress() as progress:
                claim = probing.verify(
                    model,
                    _NEURON.value or _SITES.value,
                    data,
                    _CONCEPT.value,
                    draws=_DRAWS.value,
                    seed=_SEED.value,
                    corpus=corpus,
                    mesh=mesh,
                    progress=progress if job.is_first() else None,
                )
            claims.append(claim)
            if job.is_first():
                print(claim, end="\n\n")
    if not job.is_first():
        return
    name = "".join(c if c.isalnum() else "-" for c in claims[0].concept)
    path = output / f"study-{name}.json"
    latest = claims[-len(models) :]  # of the last step: a population's models, one each
    together = Claims(tuple(claims), matched(models, latest, data))
    if len(together) > 1:
        print(together, end="\n\n")
    together.save(path)
    print(f"results  {path}")


def run() -> None:
    program.run(main)


if __name__ == "__main__":
    run()
