"""A probe as a classifier of new texts: fitted on a task, kept in a folder with all it depends on.

The folder has the coefficients (`probe.safetensors`, of `save_probe`) and `classifier.json`: which
state is read, after which bytes, of which model, and what is done to a text first.
"""

# N texts, K classes, H units

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import jax
import numpy as np

from mlstm.corpus.cleaning import check_recipe, clean
from mlstm.errors import InputError, check_one
from mlstm.features import WINDOW, check_pooling
from mlstm.model import encoding, sites
from mlstm.output import to_json, write_whole
from mlstm.trained import Model
from probing.evidence.probes.linear import probabilities
from probing.evidence.probes.logistic import LogisticProbe, choose_C
from probing.evidence.probes.saved import SavedProbe, load_probe, save_probe
from probing.states.arrays import arrays
from probing.tasks.labelled import SPLITS, LabelledData
from probing.tasks.one_variable import NO_CLASS

FORMAT_VERSION = 1
PROBE, ABOUT = "probe.safetensors", "classifier.json"
UNITS = ("document", "token", "byte")
POSITION = "position"  # in place of a pooling: the state after the byte that has the label


@dataclass(frozen=True)
class About:
    """All that a probe of texts depends on but its numbers."""

    task: str
    data: str  # where the labels came from
    unit: str  # what has a label: document, token or byte
    concept: str | None  # told from its absence; None where the classes exclude each other
    pooling: str  # of the states of a document; "position" of tokens and bytes
    cleaning: str  # what is done to a text first
    run: str  # the run of the model, and of a population its seed
    step: int | None
    C: float  # inverse strength of the penalty, chosen on dev
    documents: dict[str, int]  # of each split
    rows: dict[str, int]  # labelled positions of each split
    accuracy: dict[str, float]  # on each split
    majority: dict[str, float]  # of the most frequent train class

    def __str__(self) -> str:
        lines = [f"{'':22}{'train':>9}{'dev':>9}{'test':>9}"]
        for name, figures in (("accuracy", self.accuracy), ("most frequent class", self.majority)):
            lines.append(f"{name:22}" + "".join(f"{figures[split]:9.4f}" for split in SPLITS))
        lines.append(f"{self.unit + 's':22}" + "".join(f"{self.rows[s]:9,}" for s in SPLITS))
        return "\n".join([*lines, f"C = {self.C:g}, the best on dev"])


@dataclass(frozen=True)
class TextClassifier:
    """A saved probe and what it is of."""

    folder: Path
    probe: SavedProbe
    about: About

    @property
    def classes(self) -> list[str]:
        """In the order of the probabilities."""
        return self.probe.classes.tolist()

    def check(self, model: Model) -> str:
        """InputError for a model that it was not fitted on. Of another checkpoint of the same run
        a note that says so; else an empty one."""
        check_one(model)
        about, hidden = self.about, self.probe.coef.shape[1]
        fitted_on = f"{self.folder}: fitted on {about.run}, step {about.step}"
        if self.probe.site not in sites.sites(model.config):
            raise InputError(
                f"{fitted_on}, site {self.probe.site}; {model.origin} has the sites "
                f"{', '.join(sites.sites(model.config))}"
            )
        if model.config.hidden != hidden:
            raise InputError(
                f"{fitted_on}, of {hidden} units; {model.origin} has {model.config.hidden}. Fit a "
                "probe for this model"
            )
        if model_digest(model) == self.probe.model_digest:
            return ""
        if about.step is None or _run(model) != about.run:
            raise InputError(
                f"{fitted_on}, and {model.origin} has other parameters. Fit a probe for this model"
            )
        return f"{fitted_on}; step {model.step} is read, whose states differ"

    def predict_proba(
        self,
        model: Model,
        texts: Sequence[str | bytes],
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """(N, K) in the order of `classes`. InputError for a probe of tokens or bytes."""
        if self.about.unit != "document":
            raise InputError(
                f"{self.folder}: a probe of {self.about.unit}s, which has no class for a whole "
                "text; it is applied along the text"
            )
        about = self.about
        return self.probe.predict_proba(
            model.encode(texts, self.probe.site, about.pooling, about.cleaning, progress=progress)
        )

    def along(self, model: Model, texts: Sequence[str | bytes]) -> list[np.ndarray]:
        """(bytes, K) for each text: the probabilities after each byte of it as it is given (a str
        as UTF-8); where cleaning removes a byte, those after the last one that it keeps, and of a
        byte inside a token those after the token.

        InputError for a probe of pooled states.
        """
        if self.about.pooling not in ("last", POSITION):
            raise InputError(
                f"{self.folder}: fitted on the {self.about.pooling} of the states of a text, which "
                'there is not after each byte; fit one with pooling "last"'
            )
        cleaned = [clean(text, self.about.cleaning) for text in texts]
        tokens = [model.vocabulary.tokens(each.data) for each in cleaned]
        ids = [each.ids for each in tokens]
        # Place 0 is the zero state, before any byte.
        rows = self.probe.coef.shape[0]
        scores = [np.tile(self.probe.intercept, (len(each) + 1, 1)) for each in ids]
        site = self.probe.site
        for window in encoding.stream_states(
            model.config,
            model.parameters,
            ids,
            (site,),
            streams=encoding.choose_streams([len(each) for each in ids], WINDOW),
            window=WINDOW,
        ):
            found = np.asarray(window.states[site]) @ self.probe.coef.T + self.probe.intercept
            for text in np.unique(window.text[window.text >= 0]):
                here = window.text == text
                scores[text][window.position[here] + 1] = found[here]
        out = []
        for each, read, score in zip(cleaned, tokens, scores, strict=True):
            after = score[read.read_with(each.offsets[1:])]
            out.append(probabilities(after[:, 0] if rows == 1 else after))
        return out


def fit_classifier(
    model: Model,
    data: LabelledData,
    folder: str | os.PathLike,
    *,
    site: str | None = None,
    concept: str | None = None,
    pooling: str | None = None,
    cleaning: str | None = None,
    rows: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TextClassifier:
    """Fit a LogisticProbe on the train documents, with the C of the best accuracy on dev, and keep
    it in `folder`.

    site: the primary one if None. concept: the class that is told from its absence; None where
    classes exclude each other. pooling, cleaning: of documents, as `Model.encode` takes them
    ("last" and the model's own if None); tokens and bytes have the state at their position in the
    text as the model's own cleaning has it. rows: of tokens and bytes, about how many of each
    split are read; all if None.

    InputError for what the task does not have, and where the train documents are of one class.
    """
    check_one(model)
    site = str(sites.check_site(model.config, site or sites.primary(model.config)))
    if concept in data.numbers:
        raise InputError(f"{concept} is a number; a classifier is of classes")
    whole = data.unit == "document"
    if whole:
        pooling = check_pooling(pooling or "last")
        cleaning = check_recipe(cleaning or model.cleaning)
    elif pooling or cleaning not in (None, "none"):
        raise InputError(
            f"task {data.task} labels {data.unit}s: they have the state at their position in the "
            "text as the model reads it, so that pooling and cleaning say nothing to them"
        )
    else:
        cleaning = model.cleaning
    X, y = {}, {}
    for done, split in enumerate(SPLITS):
        if whole:
            X[split], y[split] = _documents(model, data, split, site, concept, pooling, cleaning)
        else:
            X[split], y[split], _ = arrays(model, data, site, split, concept, rows=rows)
        y[split] = _named(y[split], concept)
        if progress:
            progress(done + 1, len(SPLITS))
    chosen = choose_C(LogisticProbe(), (X["train"], y["train"]), (X["dev"], y["dev"]))
    kinds, counts = np.unique(y["train"], return_counts=True)
    about = About(
        task=data.task,
        data=data.origin,
        unit=data.unit,
        concept=concept,
        pooling=pooling or POSITION,
        cleaning=cleaning or "none",
        run=_run(model),
        step=model.step,
        C=chosen.C,
        documents={split: len(data.indices(split)) for split in SPLITS},
        rows={split: len(y[split]) for split in SPLITS},
        accuracy={split: float(chosen.probe.score(X[split], y[split])) for split in SPLITS},
        majority={split: float((y[split] == kinds[counts.argmax()]).mean()) for split in SPLITS},
    )
    folder = Path(folder)
    save_probe(chosen.probe, folder / PROBE, site=site, model_digest=model_digest(model))
    described = asdict(about) | {"format_version": FORMAT_VERSION, "probe": _sha256(folder / PROBE)}
    write_whole(folder / ABOUT, to_json(described, indent=2) + "\n")
    return load_classifier(folder)


def load_classifier(folder: str | os.PathLike) -> TextClassifier:
    """What `fit_classifier` kept. InputError, naming the file, for anything else."""
    folder = Path(folder)
    file = folder / ABOUT
    try:
        described = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{file}: cannot be read: {error.strerror}; a classifier is fitted first"
        ) from None
    except (ValueError, RecursionError):
        raise InputError(f"{file}: not JSON; it is damaged") from None
    names = {*About.__dataclass_fields__, "format_version", "probe"}
    if not isinstance(described, dict) or described.get("format_version") != FORMAT_VERSION:
        raise InputError(f"{file}: not a classifier of format_version {FORMAT_VERSION}")
    if set(described) != names or described["unit"] not in UNITS:
        raise InputError(f"{file}: its fields are not those of a classifier: it is damaged")
    probe = load_probe(folder / PROBE)
    if _sha256(folder / PROBE) != described["probe"]:
        raise InputError(f"{folder}: {PROBE} is not the one that {ABOUT} describes; fit it again")
    about = About(**{name: described[name] for name in About.__dataclass_fields__})
    return TextClassifier(folder, probe, about)


def model_digest(model: Model) -> str:
    """sha256 over the names, shapes and bits of the parameters."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(model.parameters)[0]:
        array = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape};".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _documents(
    model, data: LabelledData, split: str, site, concept, pooling, cleaning
) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, H) and classes (N,) of the labelled documents of a split."""
    texts, y = [], []
    for i in data.indices(split).tolist():
        labels = data.labels(i)
        if len(labels.positions):
            texts.append(data.documents[i].data)
            y.append(data.target(labels, concept)[-1])
    if not texts:
        raise InputError(f"{data.origin}: no labelled document in the {split} split")
    return model.encode(texts, site, pooling, cleaning), np.array(y)


def _named(y: np.ndarray, concept: str | None) -> np.ndarray:
    """Classes as text, none of them empty."""
    if concept is not None:
        return np.where(y, concept, f"not {concept}")
    return np.where(y == "", NO_CLASS, y)


def _run(model: Model) -> str:
    """The run of a model whatever its step."""
    return os.path.abspath(model.origin.replace(f", step {model.step}", "", 1))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
