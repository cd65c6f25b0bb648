"""What a probing leaves on disk: the figures as JSON and csv, and the report to look at."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from mlstm import job
from mlstm.loading import Model, seeds_at
from mlstm.output import write_whole
from probing.evidence.scores import NeuronTable
from probing.examples import Example, examples
from probing.tasks.labelled import LabelledData
from probing.views import protocol_tables, report, tables


@dataclass(frozen=True)
class Results:
    """Where the files are, and the passages that the report shows."""

    json: Path
    report: Path
    examples: list[Example]


def folder_of(workdir: Path, task: str, model: Model) -> Path:
    """Where the results of a run's model belong: WORKDIR/probe/TASK; in it seedN, where the run is
    a population and the model that of seed N."""
    folder = workdir / "probe" / task
    return folder / f"seed{model.seed}" if len(seeds_at(workdir)) > 1 else folder


def write(
    folder: str | os.PathLike,
    model: Model,
    data: LabelledData,
    table: NeuronTable,
    *,
    facts: Mapping[str, str] | None = None,
    curve: Sequence[tuple[int, float]] = (),
    mesh: Mesh | None = None,
) -> Results:
    """Write results.json and report.html; facts and curve as in `views.report.write`.

    Also neurons.csv, the best neuron of each concept, and neurons_concepts.csv, every neuron for
    every concept.
    mesh: of `mlstm.devices.mesh`. All processes of a job call this, and the first one writes.

    InputError where the folder cannot be written.
    """
    folder = Path(folder)
    shown = examples(model, data, table, mesh)
    results = Results(folder / "results.json", folder / "report.html", shown)
    if not job.is_first():
        return results
    table.save(results.json)
    write_whole(folder / "neurons.csv", tables.best_csv(table))
    write_whole(folder / "neurons_concepts.csv", tables.every_csv(table))
    report.write(
        results.report,
        table,
        results.examples,
        facts=facts,
        curve=curve,
        meaning=dict(data.meaning),
    )
    return results


def write_published(folder: str | os.PathLike, protocol: str, found: Any) -> Path:
    """Write the report of a protocol as PROTOCOL.json, which is returned, and as csv. InputError
    where the folder cannot be written."""
    path = Path(folder) / f"{protocol}.json"
    found.save(path)
    for name, text in protocol_tables.of(found).items():
        write_whole(path.with_name(f"{name}.csv"), text)
    return path
