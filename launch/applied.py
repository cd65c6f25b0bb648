"""What classifies texts: a probe and the model that it reads, or a fine-tuned classifier."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlstm import classifier_files
from mlstm.classifier import SEVERAL
from mlstm.errors import InputError

if TYPE_CHECKING:
    from mlstm.classifier import Classifier
    from mlstm.trained import Model
    from probing.evidence.probes.classifying import TextClassifier


@dataclass(frozen=True)
class Probe:
    """A probe, whose model is read when it is needed."""

    probe: TextClassifier
    workdir: Path
    step: int | None
    model_seed: int | None

    @property
    def classes(self) -> list[str]:
        return self.probe.classes

    @property
    def unit(self) -> str:
        return self.probe.about.unit

    @property
    def shown(self) -> str:
        """The class that coloured texts show."""
        return self.probe.about.concept or self.classes[-1]

    @property
    def chance(self) -> float:
        """The probability of a class of which nothing is known: the middle of the colours."""
        return 1 / len(self.classes)

    def ready(self) -> Applied:
        from mlstm.loading import load_one

        model = load_one(self.workdir, self.step, self.model_seed)
        if note := self.probe.check(model):
            print(f"note: {note}")
        return Applied(self.probe, model)


@dataclass(frozen=True)
class Applied:
    """A probe with its model."""

    probe: TextClassifier
    model: Model

    def predict_proba(self, texts: list[bytes]) -> np.ndarray:
        return self.probe.predict_proba(self.model, texts)

    def told(self, probabilities: np.ndarray) -> list[str]:
        return [self.probe.classes[k] for k in probabilities.argmax(1)]

    def along(self, texts: list[bytes]) -> list[np.ndarray]:
        return self.probe.along(self.model, texts)


@dataclass(frozen=True)
class Finetuned:
    """A fine-tuned classifier, as `Probe` is."""

    classifier: Classifier

    @property
    def classes(self) -> list[str]:
        return self.classifier.classes

    @property
    def unit(self) -> str:
        return "document"

    @property
    def shown(self) -> str:
        return self.classes[-1]

    @property
    def chance(self) -> float:
        several = self.classifier.labelling.kind == SEVERAL
        return 0.5 if several else 1 / len(self.classes)  # of several each is a yes or no

    def ready(self) -> Classifier:
        return self.classifier


def read(
    folder: Path, workdir: Path | None, step: int | None, model_seed: int | None
) -> Probe | Finetuned:
    """What is in the folder. InputError where a model is missing, or one too many."""
    if classifier_files.is_one(folder):
        if workdir is not None or step is not None or model_seed is not None:
            raise InputError(
                f"{folder}: a fine-tuned classifier, which is a model itself: leave out --model"
            )
        return Finetuned(classifier_files.load_classifier(folder))
    if workdir is None:
        raise InputError(f"--model is needed: {folder} is no fine-tuned classifier")
    from probing.evidence.probes.classifying import load_classifier

    return Probe(load_classifier(folder), workdir, step, model_seed)
