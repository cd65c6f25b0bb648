"""What a run is made of before its first step: text, mesh, optimizer, compiled step."""

import dataclasses
import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from mlstm import devices, job
from mlstm.corpus import manifest, vectors
from mlstm.corpus.files import user_path
from mlstm.corpus.reading import Corpus, Split
from mlstm.corpus.shards import open_source
from mlstm.corpus.stream import Batch, Stream
from mlstm.corpus.symbols import Pieces
from mlstm.corpus.unknown import Spelled
from mlstm.errors import InputError
from mlstm.model import language_model
from mlstm.model.config import ModelConfig
from mlstm.training import optimizer as optimizers
from mlstm.training import state as states
from mlstm.training.config import Config
from mlstm.training.state import OF_MODELS, TrainState
from mlstm.training.step import make_train_step


@dataclass(frozen=True)
class Setup:
    """A config joined with its text and its devices. Nothing is compiled or allocated yet."""

    config: Config
    corpus: Corpus
    stream: Stream
    mesh: Mesh
    optimizer: optax.GradientTransformation
    steps: int
    resets_inside: bool
    """Whether state is reset inside windows. Where it is not, the step is compiled without."""
    train_step: Any
    """(state, batch on the devices) -> (state, metrics); donates the state. In a population each
    metric has the axis of seeds."""
    dtype: Any

    @functools.cached_property
    def _spelled(self) -> Spelled:
        return self.stream.split.spelled()

    @property
    def step_bytes(self) -> float:
        """Bytes of text that a step reads, about, where tokens are longer than one."""
        return self.stream.window_bytes * self._spelled.bytes / self._spelled.tokens

    def bits_per_byte(self, nats: Any) -> Any:
        """Of the mean nats of some targets: as if these were spelled like all of the text."""
        tokens, size, _, spelling = self._spelled
        return (nats + spelling / tokens) / (size / tokens) / math.log(2)

    def __str__(self) -> str:
        model, seeds = self.config.model, self.config.members
        several = f", for each of the seeds {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else ""
        return "\n".join(
            [
                str(self.corpus),
                f"model: {model.cell}, {model.layers} x {model.hidden} units, "
                f"{language_model.parameter_count(model):,} parameters{several}",
                f"training: {self.steps:,} steps of {self._of_step()} "
                f"({self.stream.windows:,} are one epoch), {self.config.optimizer.name}",
                self.devices(),
            ]
        )

    def _of_step(self) -> str:
        ids = self.stream.window_bytes
        if self.corpus.vocabulary.bytewise:
            return f"{ids:,} bytes"
        return f"{ids:,} tokens, about {self.step_bytes:,.0f} bytes,"

    def devices(self) -> str:
        """One line: the mesh, and what each of its devices has to do."""
        mesh, batch = self.config.mesh, self.config.data.batch
        processes = f" in {job.count()} processes" if job.count() > 1 else ""
        share = batch if len(self.config.members) > 1 else batch // mesh.data
        return (
            f"devices: mesh {mesh.data} x {mesh.model} of {jax.device_count()}{processes} "
            f"({jax.devices()[0].device_kind}), {share} of {batch} streams on each"
        )

    @property
    def rows(self) -> slice:
        """The streams that this process reads."""
        return devices.local_rows(self.mesh, self.config.data.batch)

    def create(self, parameters: Any = None, rows: Any = None) -> TrainState:
        """The state at step 0, on the mesh; `rows` as `word_vectors` reads them."""
        return states.create(self.config, self.optimizer, self.mesh, self.dtype, parameters, rows)

    def word_vectors(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Ids, and what their rows of the embedding begin as; None where the config names no word
        vectors. Raises InputError for a file that has others, or none of the vocabulary."""
        place, vocabulary = self.config.train.vectors, self.corpus.vocabulary
        if not place:
            return None
        if not isinstance(vocabulary, Pieces):
            raise InputError(
                f"config.train.vectors is {place!r}, and the vocabulary is {vocabulary}: vectors "
                "are of words (config.data.vocabulary)"
            )
        ids = {text: number for number, text in enumerate(vocabulary.texts)}
        found = vectors.read(place, ids, self.config.model.embedding)
        if not found:
            raise InputError(f"{place}: none of the {len(ids):,} words of the vocabulary is in it")
        return np.array([ids[word] for word in found], np.int32), np.stack([*found.values()])

    def abstract(self) -> TrainState:
        """Shapes, types and shardings of the state."""
        return states.abstract(self.config, self.optimizer, self.mesh, self.dtype)

    def compiled_step(self) -> Any:
        """`train_step`, compiled; nothing is allocated."""
        shape, place = (self.config.data.window, self.config.data.batch), self.mesh
        ids, targets, weights, resets = (
            jax.ShapeDtypeStruct(shape, dtype, sharding=devices.batch_sharding(place))
            for dtype in (jnp.int32, jnp.int32, jnp.float32, jnp.bool)
        )
        batch = Batch(ids, targets, weights, resets if self.resets_inside else None)  # pyright: ignore[reportArgumentType]
        return self.train_step.lower(self.abstract(), batch).compile()

    def place(self, batch: Batch) -> Batch:
        """A batch (T, those of `rows`) as one (T, B) on the devices of all processes, its resets
        None where the step does not read them."""
        streams = self.config.data.batch
        return place(batch, self.mesh, streams, self.rows, resets=self.resets_inside)


def place(batch: Batch, mesh: Mesh, streams: int, rows: slice, *, resets: bool) -> Batch:
    """A batch (T, those of `rows`) on the devices; without `resets`, these are None."""
    if not resets:
        batch = batch._replace(resets=None)  # pyright: ignore[reportArgumentType]
    return devices.place_batch(mesh, batch, streams, rows)


def resets_inside(split: Split) -> bool:
    """Whether state is reset anywhere but at the start of the split."""
    return bool((split.reset_points > 0).any())


def open_corpus(config: Config, workdir: Path | None, *, keep: bool = True) -> Corpus:
    """The run's text; a raw source is prepared first, in `workdir` unless the config says where.

    Without `keep` nothing is written that stays: what was not prepared before is prepared in a
    temporary folder. Raises InputError.
    """
    data = config.data
    folder = workdir / "corpus" if workdir else None
    if data.folder:
        folder = user_path(data.folder)
    if folder and not keep and not manifest.is_in(folder):
        folder = None
    return open_source(
        data.source,
        folder,
        splits=data.fractions(),
        reset=data.reset or None,
        vocabulary=data.fit(),
        cleaning=data.cleaning or None,
    )


def with_vocabulary(config: Config, corpus: Corpus) -> Config:
    """The config with as many symbols as the text has, where it says 0; also where it says 256, the
    default, and the text has characters or words. Raises InputError for any other number."""
    asked, needed = config.model.vocabulary, corpus.vocabulary.size
    if asked == 0 or (asked == ModelConfig.vocabulary and not corpus.vocabulary.bytewise):
        model = dataclasses.replace(config.model, vocabulary=needed)
        return dataclasses.replace(config, model=model)
    if needed != asked:
        raise InputError(
            f"config.model.vocabulary is {asked}; the text of {config.data.source} needs {needed}: "
            "0 takes what it needs (a text for a published model's vocabulary is prepared with "
            "launch.prepare --vocabulary_of=MODEL)"
        )
    return config


def make(
    config: Config, corpus: Corpus, dtype: Any = jnp.float32, *, together: bool | None = None
) -> Setup:
    """`together`: how the step takes the models of a population, as in `state.each_model`.

    Raises InputError for a text too short for its windows, a warm-up longer than the run, or a
    mesh that is not there."""
    config = with_vocabulary(config, corpus)
    split = corpus.split("train")
    stream = Stream(split, config.data.batch, config.data.window)
    mesh = devices.mesh(config.mesh.data, config.mesh.model, population=config.seeds > 1)
    steps = config.train.steps or math.ceil(config.train.epochs * stream.windows)
    config.check_warmup(steps)
    if config.data.first_window >= stream.windows:
        raise InputError(
            f"config.data.first_window={config.data.first_window}: an epoch of this text has "
            f"{stream.windows} windows, the first is 0"
        )
    optimizer = optimizers.make(config.optimizer, steps)
    return Setup(
        config=config,
        corpus=corpus,
        stream=stream,
        mesh=mesh,
        optimizer=optimizer,
        steps=steps,
        resets_inside=resets_inside(split),
        train_step=train_step(
            config,
            optimizer,
            mesh,
            dtype,
            steps=steps,
            windows=stream.windows,
            together=together,
        ),
        dtype=dtype,
    )


def train_step(
    config: Config,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    dtype: Any = jnp.float32,
    *,
    steps: int,
    windows: int,
    together: bool | None = None,
) -> Any:
    """`Setup.train_step`, jitted for the mesh: all of it that needs no text. The run has so many
    steps, an epoch so many windows."""
    places = states.shardings(config, optimizer, mesh, dtype)
    step = make_train_step(
        config.model,
        optimizer,
        optimizers.schedule(config.optimizer, steps),
        windows=windows,
        log_every=config.log.every,
        stop_on_nonfinite=config.train.on_nonfinite == "stop",
        accumulate=config.train.accumulate,
        frozen=("embedding",) if config.train.freeze_embedding else (),
        mesh=mesh,
    )
    return jax.jit(
        states.each_model(config, step, (OF_MODELS, None), (OF_MODELS, 0), together=together),
        in_shardings=(places, devices.batch_sharding(mesh)),
        out_shardings=(places, devices.by_model(mesh)),
        donate_argnums=0,
    )
