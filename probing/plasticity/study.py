"""Prune the neurons of a concept, retrain, and watch where it comes back; beside twins.

    OUTPUT/study.json     what is studied, and which units each arm prunes: fixed at the start
    OUTPUT/runs/ARM-N/    the run of an arm with seed N, as launch.train leaves one
    OUTPUT/measured/      a file for each measurement

A study that is begun again does what is not done yet.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mlstm
from mlstm.checkpoint_files import steps as steps_there
from mlstm.errors import InputError
from mlstm.loading import load_one
from mlstm.model import language_model, pruning
from mlstm.model.pruning import Units
from mlstm.output import check_folder
from mlstm.runs import is_run
from mlstm.trained import Model
from mlstm.training.config import Config
from probing.plasticity import retraining, sets
from probing.plasticity.measurement import Measurement
from probing.plasticity.measuring import Ruler
from probing.plasticity.passages import WordVectors
from probing.plasticity.question import Question, ask, check, write
from probing.plasticity.report import Arm, PlasticityReport
from probing.plasticity.retraining import Schedule
from probing.plasticity.rows import bounded
from probing.tasks.cleaned import for_model
from probing.tasks.labelled import LabelledData

PRUNED = 0
"""The step of the measurement right behind the pruning."""
Tell = Callable[[str], None]


def plasticity(
    run: str | Path,
    data: LabelledData,
    output: str | Path,
    *,
    concept: str,
    prune: str,
    ranking: str = "auc",
    units: str | None = None,
    sites: str | Sequence[str] | None = None,
    measured: str | Sequence[str] | None = None,
    steps: int = 500,
    every: int = 100,
    learning_rate: float = 0.0,
    warmup: int | None = None,
    seeds: int = 3,
    twins: Sequence[str] = sets.TWINS,
    rows: int = 10_000,
    size: int = 200_000,
    vectors: str = "",
    tell: Tell = print,
    progress: Callable[[int, int], None] | None = None,
) -> PlasticityReport:
    """The whole study of a class of the data in the best model of a run of one model.

    prune: how many of the units of `sites` (the primary one if None), "32", or which share, "0.1",
        by `ranking`; or `units` names them, as "0.c[3,17]", and nothing is ranked.
    measured: sites of which saliency is told; h and c (and m) of every layer if None.
    steps, every: how long every model is retrained, and how often it is measured.
    learning_rate: at the start, falling to 0; a quarter of the base run's if 0. warmup: a
        twentieth of the steps if None.
    seeds: how often. All arms of a seed read the same windows; seeds begin at other places of the
        text and draw other random units.
    rows: labelled positions that rankings and probes are fitted on. size: bytes of each split.
    vectors: a text file of word vectors, for the similarity of words.
    tell: is given lines; progress: is called with the measurements that are done, and all.

    Raises InputError for what cannot be asked, or another study in `output`, and
    `retraining.Interrupted` where it was told to stop.
    """
    run, output = Path(run), Path(output)
    base = base_of(run)
    data = for_model(base, data)
    question = ask(
        base,
        data,
        concept=concept,
        prune=prune,
        ranking=ranking,
        units=units,
        wanted=sites,
        measured=measured,
        seeds=seeds,
        twins=tuple(twins),
        schedule=Schedule(steps, every, learning_rate, steps // 20 if warmup is None else warmup),
        rows=rows,
        bytes=size,
        vectors=vectors,
    )
    config = retraining.config_of(run, question.schedule)
    windows = retraining.first_windows(config, seeds)
    held_out, bits = retraining.held_out_bits(config)
    known = WordVectors(vectors) if vectors else None
    check_folder(output)
    check(output, question, base, data)
    # Dev is read by the greedy Gaussian alone.
    part = bounded(data, size, size if question.ranking == "gaussian" else 0)
    for note in data.token_notes:
        tell(f"note: {note}")
    tell(f"measuring the base model, {base.origin}, on {part.bytes:,} bytes of {part.origin}")
    ruler = Ruler(
        base, part, concept, question.sites, question.measured, bits, rows=rows, vectors=known
    )
    arms, balances = _arms(base, question, ruler)
    write(output, question, base, data, arms)
    named = list(arms.items())
    tell(_cost(config, len(named)))
    points = [PRUNED, *question.schedule.measured()]
    done, all_points = 0, len(named) * len(points)
    found: list[Arm] = []
    for nth, ((arm, seed), pruned) in enumerate(named):
        # The untouched twin is asked for the roles of the concept's units, which it still has.
        old = pruned or arms["concept", seed]
        tell(f"arm {nth + 1} of {len(named)}: {arm}, seed {seed}: {_counted(pruned)}")
        curve = {}
        for step, measurement in _measured(
            run, output, config, (arm, seed), pruned, old, windows[seed], ruler, points, tell
        ):
            curve[step] = measurement
            done += 1
            if progress:
                progress(done, all_points)
        found.append(Arm(arm, seed, pruned, balances.get((arm, seed)), curve))
    return PlasticityReport(
        model=base.origin,
        task=data.task,
        data=data.origin,
        data_digest=data.digest,
        question=dataclasses.asdict(question),
        held_out=held_out,
        learning_rate=config.optimizer.learning_rate,
        bytes=part.bytes,
        classes=data.classes,
        base=ruler.base,
        arms=found,
    )


def base_of(run: str | Path) -> Model:
    """The model of a run of one model; InputError for what is no run, with what can be done."""
    base = load_one(run)
    if not is_run(run):
        raise InputError(
            f"{run} is no training run, on whose text it would be retrained: fine-tune it first "
            f"(launch.train --init_from={run}), and give that run"
        )
    return base


def _arms(base: Model, question: Question, ruler: Ruler) -> tuple[dict, dict]:
    """Which units each arm of each seed prunes, and how the sets compare."""
    config, ranked = base.config, question.sites
    if question.ranking == "given":
        concept = pruning.parse_units(config, question.prune)
    else:
        count = sets.parse_count(question.prune, len(ranked) * config.hidden)
        order = sets.ranked(ruler.kept, question.ranking, ruler.concept, count)
        concept = pruning.check_units(config, sets.units_at(ranked, order[:count], config.hidden))
    sets.check_twins(config, ranked, concept, question.twins)
    known = sets.known_units(base, ranked, ruler.kept.x("train"))
    arms: dict[tuple[str, int], Units] = {}
    for seed in range(question.seeds):
        arms["concept", seed] = concept
        if "random" in question.twins:
            arms["random", seed] = sets.random_units(config, concept, seed)
        if "matched" in question.twins:
            arms["matched", seed] = sets.matched_units(concept, known, seed)
        if "untouched" in question.twins:
            arms["untouched", seed] = {}
    balances = {key: sets.balance(known, concept, units) for key, units in arms.items() if units}
    return arms, balances


def _measured(run, output, config, arm, pruned, old, window, ruler, points, tell):
    """(step, Measurement) of an arm, in order; what is on the disk is read, the rest is done."""
    name = f"{arm[0]}-{arm[1]}"
    files = {step: output / "measured" / f"{name}-{step}.json" for step in points}
    folder, last = output / "runs" / name, points[-1]
    if not all(file.exists() for file in files.values()):
        if not files[PRUNED].exists():
            ruler.measure_pruned(pruned, old).save(files[PRUNED])
        yield PRUNED, Measurement.load(files[PRUNED])
        retraining.retrain(config, run, folder, pruned, window)
        there = steps_there(folder / "checkpoints")
        for step in points[1:]:
            if not files[step].exists():
                if step not in there:
                    raise InputError(
                        f"{folder}: the checkpoint of step {step} is gone, and it was not measured "
                        "yet; delete this folder, and it is trained again"
                    )
                model: Any = mlstm.load(folder, step)
                ruler.measure(model, pruned, old).save(files[step])
            yield step, Measurement.load(files[step])
        retraining.last_alone(folder, last)
        return
    tell(f"  {name} is measured already")
    for step, file in files.items():
        yield step, Measurement.load(file)


def _cost(config: Config, arms: int) -> str:
    points = config.checkpoint.newest
    size = 3 * 4 * language_model.parameter_count(config.model) * points / 1e6
    return (
        f"{arms} runs of {config.train.steps:,} steps; of one at a time {points} checkpoints are "
        f"kept, about {size:,.0f} MB, of the others the last"
    )


def _counted(units: Units) -> str:
    if not units:
        return "nothing pruned"
    return "pruned " + ", ".join(f"{len(of)} of {site}" for site, of in units.items())
