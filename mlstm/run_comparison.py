"""Several training runs beside each other: what differs in their configs, what they cost, how they
went."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlstm.corpus.files import user_path
from mlstm.errors import InputError
from mlstm.output import to_json
from mlstm.run_record import Run, read_run
from mlstm.runs import is_run


@dataclass(frozen=True)
class RunComparison:
    """Runs in the order in which they were given."""

    runs: tuple[Run, ...]
    broken: tuple[str, ...]
    """Of each folder that could not be read, what is wrong."""

    @property
    def differing(self) -> dict[str, list[Any]]:
        """Fields of the config that are not the same in all runs: dotted name -> values."""
        names = dict.fromkeys(name for run in self.runs for name in run.config)
        values = {name: [run.config.get(name) for run in self.runs] for name in names}
        return {
            name: each for name, each in values.items() if any(value != each[0] for value in each)
        }

    @property
    def texts(self) -> int | None:
        """How many texts were validated on, whatever their vocabularies: bits per byte of different
        ones do not compare. None where it is not known: a corpus that is gone can be told by its
        digest alone, which is another for another vocabulary."""
        known = {run.digest: run.text for run in self.runs if run.text is not None}
        texts = {known.get(run.digest) for run in self.runs} - {None}
        gone = {run.digest for run in self.runs} - known.keys()
        alike = all(run.vocabulary == self.runs[0].vocabulary for run in self.runs)
        return (
            len(texts) + len(gone)
            if alike or len(texts) + len(gone) == 1
            else (None if gone else len(texts))
        )

    @property
    def warning(self) -> str:
        """Why bits per byte do not compare; "" where they do."""
        if self.texts is None:
            return (
                "whether these runs were validated on one text is not known: they have different "
                "vocabularies, and not every corpus is there"
            )
        if self.texts > 1:
            return (
                f"these runs were validated on {self.texts} different texts: their bits per byte "
                "do not compare"
            )
        return ""

    def to_json(self) -> str:
        return to_json(
            {
                "format_version": 1,
                "runs": [
                    {
                        **run.record(),
                        "differs": {k: v[n] for k, v in self.differing.items()},
                        "validation": {
                            **run.along(run.log.validated),
                            "bits_per_byte": run.log.bits,
                            "bits_per_byte_of_seeds": run.log.of_seeds,
                        },
                        "training": {
                            **run.along(run.log.trained),
                            "bits_per_byte": run.log.training_bits,
                        },
                    }
                    for n, run in enumerate(self.runs)
                ],
                "texts": self.texts,
                "broken": list(self.broken),
            },
            indent=1,
        )

    def rows(self) -> list[dict[str, Any]]:
        """One for each run: its figures, then the fields that differ."""
        return [
            {**run.record(), **{f"config.{k}": v[n] for k, v in self.differing.items()}}
            for n, run in enumerate(self.runs)
        ]

    def __str__(self) -> str:
        from mlstm.run_table import table

        return table(self)


def compare_runs(paths: Iterable[str | Path]) -> RunComparison:
    """Runs, and those in folders that hold some. One that cannot be read is told in the result;
    InputError where none can."""
    folders, broken = _found(paths)
    runs: list[Run] = []
    for folder in folders:
        try:
            runs.append(read_run(folder, folder.name))
        except InputError as error:
            broken.append(str(error))
    if not runs:
        raise InputError(broken[0] if broken else "no runs to compare: name some")
    names = [run.name for run in runs]
    named = [
        run if names.count(run.name) == 1 else dataclasses.replace(run, name=run.folder)
        for run in runs
    ]
    return RunComparison(tuple(named), tuple(broken))


def _found(paths: Iterable[str | Path]) -> tuple[list[Path], list[str]]:
    folders, broken = [], []
    for path in paths:
        try:
            folder = user_path(path)
            if is_run(folder) or not folder.is_dir() or (folder / "config.json").exists():
                folders.append(folder)
                continue
            inside = sorted(f for f in folder.iterdir() if (f / "config.json").exists())
            if not inside:
                broken.append(f"{folder}: no run, and no folder of runs (no config.json in it)")
            folders += inside
        except (InputError, OSError) as error:
            broken.append(str(error))
    return list(dict.fromkeys(folders)), broken


def write_csv(rows: list[dict[str, Any]]) -> bytes:
    """As a table with a header; lists as JSON."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in row.items()}
        )
    return file.getvalue().encode("utf-8", "surrogateescape")
