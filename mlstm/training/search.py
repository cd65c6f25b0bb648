"""The folder of a search: its trials, what became of each, and the choice among them.

WORKDIR/search.json          what was asked for, and the values of every trial
WORKDIR/trials/NAME          the run of one trial with one seed, as launch.train leaves it
WORKDIR/trials/NAME.log      what that training said
WORKDIR/trials/NAME.json     how it ended, and its best validation
WORKDIR/results.csv, .json   the table so far

A choice is made by the mean over seeds of the best validation of each run. No test split is read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlstm.errors import InputError
from mlstm.output import to_json, write_whole
from mlstm.runs import validation_curve
from mlstm.training import config as configs
from mlstm.training import search_space
from mlstm.training.config import Config
from mlstm.training.search_space import Values

FORMAT_VERSION = 1
_SHARED = ("data.batch", "data.window", "data.prefetch", "data.first_window")
ENDED = {0: "finished", 3: "not finite"}
"""Exit codes of launch.train after which there is nothing more to do."""


@dataclass(frozen=True)
class Search:
    """What is to be done."""

    folder: Path
    config: Config
    trials: tuple[Values, ...]
    seeds: int

    def name(self, trial: int, seed: int) -> str:
        return f"{trial + 1:03}-seed{seed}"

    def run(self, trial: int, seed: int) -> Path:
        return self.folder / "trials" / self.name(trial, seed)

    @property
    def plan(self) -> list[tuple[int, int]]:
        """(trial, seed) of every run: all trials with the first seed come first."""
        seeds = range(self.config.seed, self.config.seed + self.seeds)
        return [(trial, seed) for seed in seeds for trial in range(len(self.trials))]

    def flags(self, trial: int, seed: int) -> list[str]:
        """The flags of launch.train, behind a config of all defaults, that make this run."""
        values = self.trials[trial] | {"seed": seed}
        fields = configs.flat(configs.to_dict(search_space.changed(self.config, values)))
        if self._shares_text and not fields["data.folder"]:
            fields["data.folder"] = str(self.folder.absolute() / "corpus")
        defaults = configs.flat(configs.to_dict(Config()))
        changed = {name: v for name, v in fields.items() if v != defaults[name]}
        return [
            f"--workdir={self.run(trial, seed)}",
            *(f"--config.{name}={value}" for name, value in changed.items()),
        ]

    @property
    def _shares_text(self) -> bool:
        """Whether all trials read the same prepared text."""
        varied = {name for values in self.trials for name in values}
        return not any(name.startswith("data.") and name not in _SHARED for name in varied)

    def ended(self, trial: int, seed: int) -> Ended | None:
        """How a run ended for good; None of one that is still to be run, or run again."""
        try:
            found = json.loads(
                (self.folder / "trials" / f"{self.name(trial, seed)}.json").read_text()
            )
            return Ended(found["status"], found["bits_per_byte"], found.get("message", ""))
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def note(self, trial: int, seed: int, code: int, message: str = "") -> Ended:
        """How a training ended, by its exit code; what ended for good is written down."""
        curve = validation_curve(self.run(trial, seed))
        best = min((bits for _, bits in curve), default=None)
        found = Ended(ENDED.get(code, f"failed, code {code}"), best if code == 0 else None, message)
        if code in ENDED:
            record = {"status": found.status, "bits_per_byte": found.bits, "message": message}
            path = self.folder / "trials" / f"{self.name(trial, seed)}.json"
            write_whole(path, to_json(record) + "\n")
        return found


@dataclass(frozen=True)
class Ended:
    """How one run ended."""

    status: str
    bits: float | None
    """Bits per byte of its best validation."""
    message: str = ""

    @property
    def told(self) -> str:
        """For people, in one line."""
        return f"{self.status}: {self.message}" if self.message else self.status


def begin(
    folder: Path, config: Config, trials: Sequence[Values], seeds: int, asked: dict[str, Any]
) -> Search:
    """Make the folder of a search, or go on with the one that is there: it may have more trials or
    seeds than before, and has to be the same otherwise. InputError where it is not, and where the
    folder holds something else."""
    file = folder / "search.json"
    record = {
        "format_version": FORMAT_VERSION,
        "asked": asked,
        "seeds": seeds,
        "config": configs.to_dict(config),
        "trials": list(trials),
    }
    if file.exists():
        try:
            before = json.loads(file.read_text())
            if before["format_version"] != FORMAT_VERSION:
                raise ValueError(f"format_version {before['format_version']}")
            differing = configs.differences(before["config"], record["config"])
            known = before["trials"]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise InputError(f"{file}: cannot be read ({error}): give another --workdir") from None
        if differing:
            listed = "; ".join(f"{k} was {a!r} and is {b!r}" for k, (a, b) in differing.items())
            raise InputError(
                f"{folder} is a search with another config: {listed}. Give another --workdir"
            )
        if known[: len(trials)] != list(trials)[: len(known)]:
            raise InputError(
                f"{folder} is a search over other values ({before['asked']}): its first trials "
                "have to be the same; give another --workdir"
            )
        if len(trials) < len(known):  # those that were tried stay
            record["trials"] = known
        record["seeds"] = max(seeds, before["seeds"])
    elif folder.exists() and any(folder.iterdir()):
        raise InputError(
            f"--workdir={folder} is not empty and no search (no search.json in it): give a new "
            "folder"
        )
    write_whole(file, to_json(record, indent=1) + "\n")
    return Search(folder, config, tuple(record["trials"]), record["seeds"])
