"""What a probing leaves on disk: the figures as JSON and csv, and the report to look at."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from mlstm import job
from mlstm.output import write_whole
from mlstm.runs import seeds_at
from mlstm.trained import Model
from probing.evidence.scores import NeuronTable
from probing.examples import Example, examples
from probing.plasticity.report import PlasticityReport
from probing.tasks.labelled import LabelledData
from probing.views import (
    plasticity_tables,
    protocol_report,
    protocol_tables,
    report,
    tables,
)


@dataclass(frozen=True)
class Results:
    """Where the files are, and the passages that the report shows."""

    json: Path
    report: Path
    examples: list[Example]


@dataclass(frozen=True)
class Published:
    """Where the report of a protocol is, for programs and to look at, and its figures' names."""

    json: Path
    report: Path
    figures: tuple[str, ...]


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


def write_published(
    folder: str | os.PathLike, protocol: str, found: Any, *, figures: bool = True
) -> Published:
    """Write the report of a protocol: PROTOCOL.json, as csv, as PROTOCOL.html, and its figures.

    InputError where the folder cannot be written.
    """
    folder = Path(folder)
    found.save(folder / f"{protocol}.json")
    for name, text in protocol_tables.of(found).items():
        write_whole(folder / f"{name}.csv", text)
    drawn = draw(folder, found) if figures else {}
    page = folder / f"{protocol}.html"
    write_whole(page, protocol_report.page(protocol, found, drawn))
    return Published(folder / f"{protocol}.json", page, tuple(drawn))


def write_plasticity(
    folder: str | os.PathLike, found: PlasticityReport, *, figures: bool = True
) -> tuple[str, ...]:
    """Write plasticity.json, the csv files and, if asked for, the figures: their names.
    InputError where the folder cannot be written."""
    folder = Path(folder)
    found.save(folder / "plasticity.json")
    for name, text in plasticity_tables.of(found).items():
        write_whole(folder / f"{name}.csv", text)
    return tuple(draw(folder, found)) if figures else ()


def draw(folder: str | os.PathLike, found: Any) -> dict[str, str]:
    """Save the figures of a table or of a protocol's report as FOLDER/figures/NAME.svg and .png;
    their SVG by name. InputError where they cannot be written."""
    from probing.views import figures  # matplotlib takes a while, and only this needs it

    return figures.write(found, Path(folder) / "figures")
