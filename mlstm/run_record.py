"""A training run as a row of a table and as curves: its config, what it cost, how it went."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlstm import validated_text
from mlstm.corpus.files import user_path
from mlstm.corpus.reading import Corpus
from mlstm.corpus.vocabulary import Bytes, Table
from mlstm.errors import InputError
from mlstm.model import language_model
from mlstm.run_log import Log, read_log
from mlstm.runs import corpus_of, model_config, read_config, seeds_at

GOING = 600  # seconds since the log was written, in which a run that has not ended is going on
_OF_TEXT = ("data.digest", "data.corpus", "data.status")
_APART = ("format_version", "vocabulary", "cleaning", "init_from", "imported")


@dataclass(frozen=True)
class Run:
    """One run, as its folder tells it. Of a population figures are means over its models, and
    FLOPs are of all of them."""

    name: str
    folder: str
    config: dict[str, Any]
    """By dotted name, defaults filled in."""
    digest: str
    """Of its corpus: of its ids and vocabulary."""
    text: str | None
    """Digest of the text that is validated on; None where its corpus is not there to say."""
    vocabulary: Any
    """As its config tells it."""
    models: int
    parameters: int
    """Of one model."""
    step_bytes: float
    step_flops: float
    """Six for each weight and symbol, as papers count."""
    steps: int | None
    """That it is to have; None where the config says epochs."""
    log: Log
    status: str
    """ "finished", "going", "stopped", or "begun" where nothing is logged."""

    @property
    def step(self) -> int:
        return self.log.last

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and bits per byte of the best validation."""
        finite = [(s, b) for s, b in zip(self.log.validated, self.log.bits, strict=True)]
        return min(finite, key=lambda each: each[1], default=None)

    @property
    def last(self) -> tuple[int, float] | None:
        return (self.log.validated[-1], self.log.bits[-1]) if self.log.validated else None

    @property
    def spread(self) -> float | None:
        """Of the models' last validations the standard deviation, divided by N - 1."""
        each = self.log.of_seeds[-1] if self.log.of_seeds else []
        return float(np.std(each, ddof=1)) if len(each) > 1 else None

    def along(self, steps: Sequence[float]) -> dict[str, list[float]]:
        """What so many steps are in bytes, FLOPs and seconds."""
        return {
            "steps": [float(step) for step in steps],
            "bytes": [step * self.step_bytes for step in steps],
            "flops": [step * self.step_flops for step in steps],
            "seconds": self.log.seconds_at(steps),
        }

    def record(self) -> dict[str, Any]:
        """The figures of a table's row."""
        (seconds,) = self.log.seconds_at([self.step])
        best, last = self.best, self.last
        return {
            "run": self.name,
            "folder": self.folder,
            "status": self.status,
            "step": self.step,
            "steps": self.steps,
            "models": self.models,
            "parameters": self.parameters,
            "bytes": self.step * self.step_bytes,
            "flops": self.step * self.step_flops,
            "seconds": seconds,
            "bytes_per_second": self.step * self.step_bytes / seconds if seconds else None,
            "best_bits_per_byte": best and best[1],
            "best_step": best and best[0],
            "last_bits_per_byte": last and last[1],
            "standard_deviation": self.spread,
            "digest": self.digest,
            "validation_text": self.text,
        }


def read_run(path: str | Path, name: str = "") -> Run:
    """A run's folder. InputError where it is none."""
    folder = user_path(path)
    description = read_config(folder)
    model = model_config(description, folder / "config.json")
    models = len(seeds_at(folder))
    config = _config(description)
    count = config["data.batch"] * config["data.window"]
    log = read_log(folder)
    steps = config["train.steps"] or None
    data = description.get("data")
    step_bytes = count * _symbol_bytes(folder, description)
    return Run(
        name or folder.name,
        str(folder),
        config,
        str(data.get("digest", "")) if isinstance(data, dict) else "",
        validated_text.of_run(folder),
        description.get("vocabulary"),
        models,
        language_model.parameter_count(model),
        step_bytes,
        float(models * count * language_model.flops_per_byte(model)),
        steps,
        log.at_rate_of(step_bytes),
        _status(folder, log, steps),
    )


def _config(description: dict[str, Any]) -> dict[str, Any]:
    from mlstm.training import config as configs

    found = {k: v for k, v in description.items() if k not in _APART}
    whole = configs.flat(configs.to_dict(configs.Config())) | configs.flat(found)
    return {name: value for name, value in whole.items() if name not in _OF_TEXT}


def _symbol_bytes(folder: Path, description: dict[str, Any]) -> float:
    """Bytes of a symbol of the text, on average: more than 1 where the vocabulary is of longer
    ones, and nan where its corpus is not there to say."""
    vocabulary = description.get("vocabulary")
    if isinstance(vocabulary, dict) and vocabulary.get("kind") in (Bytes.kind, Table.kind):
        return 1.0
    try:
        spelled = Corpus.open(corpus_of(folder)).split("train").spelled()
        return spelled.bytes / spelled.tokens
    except InputError:
        return math.nan


def _status(folder: Path, log: Log, steps: int | None) -> str:
    if not log.last:
        return "begun"
    if steps is not None and log.last >= steps:
        return "finished"
    try:
        age = time.time() - (folder / "metrics.jsonl").stat().st_mtime
    except OSError:
        age = math.inf
    return "going" if age < GOING else "stopped"
