"""What a run is asked to do: frozen dataclasses, read from a config file and checked by field.

The defaults stand here once; a config file says what differs from them. Beside a field stands what
it may hold, and, where a resumed run may come with another value, why that does no harm.
"""

import dataclasses
import difflib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlstm.corpus import fitting
from mlstm.corpus.cleaning import check_recipe
from mlstm.corpus.fitting import Fit
from mlstm.corpus.vocabulary import Bytes
from mlstm.errors import InputError
from mlstm.model.config import ModelConfig
from mlstm.training import pruning


def setting(
    default: Any,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] | None = None,
    resume: str | None = None,
) -> Any:
    """A field with its limits; `resume` is the reason why a resumed run may change it."""
    limits = {"low": low, "above": above, "high": high, "below": below, "choices": choices}
    return dataclasses.field(default=default, metadata={**limits, "resume": resume})


_SAME_TEXT = "the text may move: its digest says whether it is the same"
_LAST_SEED = 2**31 - 1
_ROUNDING = "another order of sums: equal but for rounding, and, in parts, the masks of dropout"
_PARTS = "the same sum in another order; with dropout other masks of the same kind"


@dataclass(frozen=True)
class DataConfig:
    """Which text, and how it is cut into windows."""

    # a prepared corpus, a file, a folder, or "python_stdlib"
    source: str = setting("", resume=_SAME_TEXT)
    # where a raw source is prepared; "" is WORKDIR/corpus
    folder: str = setting("", resume=_SAME_TEXT)
    batch: int = setting(32, low=1)  # streams of text read side by side
    window: int = setting(64, low=1)  # steps of truncated back-propagation through time
    splits: str = setting("")  # a raw source's shares, "0.9,0.1,0" of train, validation and test
    reset: str = setting("", choices=("", "document", "shard"))  # where state starts from zero
    # what makes ids of a raw source: "bytes", "characters", "words" or "sentencepiece:FILE"; "" is
    # bytes, and of a prepared corpus its own, whatever it is
    vocabulary: str = setting("")
    # what is not in it: "unknown" (one symbol), "bytes" (spelled in 256 more), "refuse"
    unseen: str = setting("", choices=("", "unknown", "bytes", "refuse"))
    # words: a regular expression, or "words" (the default) or "whitespace"
    word_pattern: str = setting("")
    # what is seen less often is not in it; 0 is 1 for characters, 2 for words
    minimum_count: int = setting(0, low=0)
    largest: int = setting(0, low=0)  # words: the most symbols; 0 is any number
    cleaning: str = setting("")  # a raw source's recipe; "" is none
    first_window: int = setting(0, low=0)  # of its first epoch, where a run begins to read
    prefetch: int = setting(4, low=1, resume="batches read ahead are the same batches")

    def fractions(self) -> tuple[float, ...] | None:
        """`splits` as numbers; None where it is empty. Raises InputError."""
        if not self.splits:
            return None
        try:
            return tuple(float(part) for part in self.splits.split(","))
        except ValueError:
            raise InputError(
                f'config.data.splits is {self.splits!r}: write three shares, as in "0.9,0.1,0"'
            ) from None

    def fit(self) -> Bytes | Fit | None:
        """The vocabulary that is asked for, or is to be made; None where none is. InputError."""
        try:
            return fitting.chosen(
                self.vocabulary, self.unseen, self.word_pattern, self.minimum_count, self.largest
            )
        except InputError as error:
            raise InputError(f"config.data.vocabulary: {error}") from None


@dataclass(frozen=True)
class OptimizerConfig:
    """How parameters move. A zero turns off what can be turned off."""

    name: str = setting(
        "adamw",
        choices=(
            "adamw", "muon", "sgd", "adam", "nadam", "nadamw", "adafactor", "adagrad", "lamb",
            "lion", "rmsprop",
        ),
    )  # fmt: skip
    learning_rate: float = setting(1e-3, above=0)
    adam_learning_rate: float = setting(0.0, low=0)  # muon: for what is no matrix; 0 is the same
    schedule: str = setting("linear", choices=("constant", "linear", "cosine"))
    warmup: int = setting(0, low=0)  # steps from 0 to the learning rate
    final_fraction: float = setting(0.0, low=0, high=1)  # of the learning rate, where it ends
    decay_steps: int = setting(0, low=0)  # after the warm-up, until it ends; 0 is the whole run
    momentum: float = setting(0.95, low=0, below=1)  # muon, sgd and rmsprop
    b1: float = setting(0.9, low=0, below=1)
    b2: float = setting(0.999, low=0, below=1)
    epsilon: float = setting(1e-8, above=0)
    weight_decay: float = setting(0.0, low=0)  # never of vectors; muon: of its matrices alone
    clip_norm: float = setting(0.0, low=0)  # largest norm of the whole gradient
    clip_value: float = setting(0.0, low=0)  # largest size of one element of it


@dataclass(frozen=True)
class TrainConfig:
    """How long, and when to look. Steps and epochs: one of the two is given."""

    steps: int = setting(0, low=0, resume="more steps are what a second run is for")
    epochs: float = setting(0.0, low=0, resume="more epochs are what a second run is for")
    # parts of a batch that are computed one after another, for one update: memory for one of them
    accumulate: int = setting(1, low=1, resume=_PARTS)
    validate_every: int = setting(0, low=0)  # steps; 0 is after the last one alone
    validation_batch: int = setting(0, low=0)  # streams of held-out text; 0 is data.batch
    validation_window: int = setting(256, low=1)
    # units that have no weights, as "0.c[3,17-20] 0.m[5]"; of a population for all of its models,
    # or a list for each with ";" between
    prune: str = setting("")
    # a file of word vectors (GloVe, word2vec): the rows of the embedding that begin as these
    # (freeze_embedding: of a tied readout too, whose weight it is)
    vectors: str = setting("")
    freeze_embedding: bool = setting(False)  # it stays as it begins
    patience: int = setting(0, low=0, resume="looks only at validations still to come")
    # seconds without a step after which the process shows where it stands and ends; 0 is never
    stall: int = setting(1800, low=0, resume="ends only what stands still")
    on_nonfinite: str = setting(
        "stop", choices=("stop", "skip"), resume="the way on after a stop is to skip"
    )


@dataclass(frozen=True)
class CheckpointConfig:
    """When the whole state is saved, and which are kept."""

    every: int = setting(1000, low=1, resume="a checkpoint changes nothing that is trained")
    newest: int = setting(3, low=1, resume="concerns only what is deleted")
    best: int = setting(1, low=0, resume="concerns only what is deleted")
    log_spaced: bool = setting(True, resume="concerns only what is saved")  # steps 1, 2, 4, 8 ...
    timeout: int = setting(600, low=1, resume="concerns only what fails")  # seconds of one save


@dataclass(frozen=True)
class LogConfig:
    """What is written down on the way."""

    every: int = setting(50, low=1)  # steps over which the training loss is averaged
    gate_saturation: bool = setting(True, resume="looks, and changes nothing that is trained")
    samples: int = setting(1, low=0, resume="samples change nothing that is trained")
    sample_bytes: int = setting(400, low=1, resume="samples change nothing that is trained")
    temperature: float = setting(0.7, low=0, resume="samples change nothing that is trained")


@dataclass(frozen=True)
class MeshConfig:
    """Devices: `data` groups share the batch, `model` devices of a group share the hidden units.

    Of a population the groups share the seeds, and the batch is whole on each.
    """

    data: int = setting(1, low=1, resume=_ROUNDING)
    model: int = setting(1, low=1, resume=_ROUNDING)


@dataclass(frozen=True)
class Config:
    """One experiment."""

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    checkpoint: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
    log: LogConfig = dataclasses.field(default_factory=LogConfig)
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
    seed: int = setting(0, low=0, high=_LAST_SEED)
    seeds: int = setting(1, low=1)  # models trained at once: seed, seed + 1, ...

    @property
    def members(self) -> range:
        """The seeds of the models that are trained: more than one are a population."""
        return range(self.seed, self.seed + self.seeds)

    def check(self) -> None:
        """Raises InputError for what only several fields together can have wrong."""
        # Of 0 symbols until the text is there: see `setup.with_vocabulary`.
        dataclasses.replace(self.model, vocabulary=self.model.vocabulary or 1).check()
        if self.model.readout == "none":
            raise InputError(
                'config.model.readout is "none"; what is trained says what comes next: '
                '"linear" or "tied"'
            )
        if not self.data.source:
            raise InputError(
                "config.data.source is empty: give a prepared corpus, a file, a folder or "
                '"python_stdlib" with --config.data.source'
            )
        if (self.train.steps > 0) == (self.train.epochs > 0):
            raise InputError(
                "config.train: give steps or epochs, one of them more than 0 (they are "
                f"steps={self.train.steps}, epochs={self.train.epochs:g})"
            )
        self.data.fractions()
        self.data.fit()
        if (self.train.vectors or self.train.freeze_embedding) and not self.model.embedding:
            raise InputError(
                "config.train.vectors and config.train.freeze_embedding need an embedding, and "
                "config.model.embedding is 0"
            )
        if self.data.cleaning:
            check_recipe(self.data.cleaning)
        if self.members[-1] > _LAST_SEED:
            raise InputError(
                f"config.seed={self.seed} with config.seeds={self.seeds} goes up to seed "
                f"{self.members[-1]}: {_LAST_SEED} is the last, so seed may be at most "
                f"{_LAST_SEED - self.seeds + 1}"
            )
        split, count = ("seeds", self.seeds) if self.seeds > 1 else ("data.batch", self.data.batch)
        if count % self.mesh.data:
            raise InputError(
                f"config.mesh.data={self.mesh.data} does not divide config.{split}={count}: "
                f"{_divisors(count)} do"
            )
        self._check_accumulate()
        self._check_prune()
        if self.model.hidden % self.mesh.model:
            raise InputError(
                f"config.mesh.model={self.mesh.model} does not divide config.model.hidden="
                f"{self.model.hidden}: {_divisors(self.model.hidden)} do"
            )
        if self.train.patience and not self.train.validate_every:
            raise InputError(
                "config.train.patience counts validations, and config.train.validate_every is 0: "
                "give both or neither"
            )
        if 0 < self.train.stall <= self.checkpoint.timeout:
            raise InputError(
                f"config.train.stall={self.train.stall} is no longer than config.checkpoint.timeout"
                f"={self.checkpoint.timeout}: a save that is waited for would end the run"
            )
        if self.train.steps:
            self.check_warmup(self.train.steps)

    def _check_accumulate(self) -> None:
        batch, parts = self.data.batch, self.train.accumulate
        groups = self.mesh.data if self.seeds == 1 else 1
        if batch % (parts * groups):
            shared = f" x config.mesh.data={groups}" if groups > 1 else ""
            raise InputError(
                f"config.train.accumulate={parts}{shared} does not divide config.data.batch="
                f"{batch}: with accumulate {_divisors(batch // groups)} it does"
            )

    def _check_prune(self) -> None:
        if pruning.units_of(self.model, self.train.prune, self.seeds) and (
            self.optimizer.name == "adafactor"
        ):
            raise InputError(
                "config.train.prune with config.optimizer.name=adafactor: its second moments are "
                "of rows and columns, and never 0 for a unit; any other optimizer prunes"
            )

    def check_warmup(self, steps: int) -> None:
        """Raises InputError where the warm-up is longer than a run of so many steps."""
        if self.optimizer.warmup > steps:
            raise InputError(
                f"config.optimizer.warmup={self.optimizer.warmup} is longer than the run of "
                f"{steps} steps: make it shorter, or 0"
            )


def from_config_dict(given: Mapping[str, Any]) -> Config:
    """A checked Config from what a config file returned (an ml_collections.ConfigDict or a dict).

    Raises InputError that names the field, what it holds and what it may hold.
    """
    config = _read(Config, given, "config")
    config.check()
    return config


def to_dict(config: Config) -> dict[str, Any]:
    """The same as nested dicts: what a config file starts from, and what config.json holds."""
    return dataclasses.asdict(config)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted field name -> (old value, new value), for each field whose values differ. A field that
    `old` lacks came after it, and had the value that is now its default."""
    flat_old, flat_new = flat(to_dict(Config())) | flat(old), flat(new)
    names = [*flat_new, *(name for name in flat_old if name not in flat_new)]
    return {
        name: (flat_old.get(name), flat_new.get(name))
        for name in names
        if flat_old.get(name) != flat_new.get(name)
    }


def may_change(name: str) -> bool:
    """Whether a resumed run may come with another value of the field with this dotted name."""
    section: Any = Config
    for part in name.split("."):
        fields = {f.name: f for f in dataclasses.fields(section)}
        if part not in fields:
            return False
        field = fields[part]
        section = typing.get_type_hints(section)[part]
    return bool(field.metadata.get("resume"))


def _read(kind: Any, given: Any, where: str) -> Any:
    if not isinstance(given, Mapping) and not hasattr(given, "items"):
        raise InputError(f"{where} is {given!r}: it has to be a section with fields")
    types = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    values = {}
    for name, value in given.items():
        if name not in fields:
            close = difflib.get_close_matches(name, fields, 1, 0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"fields: {', '.join(fields)}"
            raise InputError(f"{where} has no field {name!r}; {hint}")
        if dataclasses.is_dataclass(types[name]):
            values[name] = _read(types[name], value, f"{where}.{name}")
        else:
            values[name] = _value(types[name], fields[name].metadata, value, f"{where}.{name}")
    return kind(**values)


def _value(kind: type, limits: Mapping[str, Any], value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        article = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}
        raise InputError(f"{where} is {value!r}: it has to be {article[kind]}")
    if value == "None":
        raise InputError(f'{where} is the text "None": leave it empty ("") instead')
    choices = limits.get("choices")
    if choices and value not in choices:
        close = difflib.get_close_matches(str(value), choices, 1, 0.6)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise InputError(f"{where} is {value!r}; {hint}It may be {', '.join(map(repr, choices))}")
    low, above, high, below = (limits.get(name) for name in ("low", "above", "high", "below"))
    if isinstance(value, int | float):
        # Written so that nan fails each.
        if low is not None and not value >= low:
            raise InputError(f"{where} is {value!r}: it has to be at least {low}")
        if above is not None and not value > above:
            raise InputError(f"{where} is {value!r}: it has to be more than {above}")
        if high is not None and not value <= high:
            raise InputError(f"{where} is {value!r}: it has to be at most {high}")
        if below is not None and not value < below:
            raise InputError(f"{where} is {value!r}: it has to be less than {below}")
        if value in (float("inf"), float("-inf")):
            raise InputError(f"{where} is {value!r}: it has to be finite")
    return value


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested dicts by their dotted names."""
    values = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            values |= flat(value, f"{prefix}{name}.")
        else:
            values[prefix + name] = value
    return values


def _divisors(number: int) -> str:
    return ", ".join(str(n) for n in range(1, number + 1) if number % n == 0)
