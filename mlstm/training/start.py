"""What happens before the first step: the folder, the text, and the state to begin or go on with.

In a job of several processes the first one owns the folder: it takes the lock, prepares the text
and writes config.json. What it finds wrong ends all of them, with the same line.
"""

import contextlib
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp

from mlstm import checkpoint, devices, job
from mlstm.checkpoint import Checkpoints
from mlstm.checkpoint_errors import say
from mlstm.corpus.reading import Corpus
from mlstm.errors import InputError, NotNow
from mlstm.runs import read_config
from mlstm.training import beginning, profiling, restream
from mlstm.training import setup as setups
from mlstm.training import workdir as workdirs
from mlstm.training.config import Config
from mlstm.training.profiling import Steps
from mlstm.training.setup import Setup
from mlstm.training.state import TrainState
from mlstm.training.validation import Validation

_DAY = 24 * 3600.0
_SEEN_WITHIN = 90.0
"""Seconds after which a shared folder shows everywhere what one host has written in it."""


@dataclass
class Progress:
    """What is known of the validations so far; saved with every checkpoint. Scores are finite."""

    best: float | None = None
    since_best: int = 0
    last: float | None = None
    last_step: int = -1


@dataclass(frozen=True)
class Begun:
    """A run that is ready for its next step."""

    home: Path
    setup: Setup
    state: TrainState
    progress: Progress
    validation: Validation | None
    checkpoints: Checkpoints
    lost: str | None
    """What of its streams it could not keep, for the log."""


@dataclass(frozen=True)
class Wishes:
    """What a start of a run is asked for beside its config; see `loop.run`."""

    init_from: str | None = None
    profile_steps: Steps | None = None
    new_streams: bool = False


@contextlib.contextmanager
def begin(config: Config, workdir: str | Path, wishes: Wishes) -> Iterator[Begun]:
    """Hold the lock of `workdir`, and what a run in it needs. See `loop.run`."""
    with _locked(workdir) as home:
        resumed = job.from_first(lambda: checkpoint.begun(home / "checkpoints"), "checkpoints")
        corpus = _open_corpus(config, home)
        asked = config
        config = job.together(lambda: setups.with_vocabulary(asked, corpus), "the vocabulary")

        def check() -> str | None:
            if not resumed:
                return wishes.init_from
            workdirs.check_resumable(
                home, config, corpus.digest, wishes.init_from, new_streams=wishes.new_streams
            )
            return read_config(home).get("init_from")

        init_from = job.from_first(check, "the config of the run")
        imported = resumed and job.from_first(
            lambda: read_config(home).get("imported", False), "the config of the run"
        )
        status = _check_contents(corpus, home)
        setup = job.together(lambda: setups.make(config, corpus), "the set-up")
        profiling.check(wishes.profile_steps, setup.steps)
        streams = job.from_first(lambda: _saved_streams(home, config, wishes), "its streams")
        validation = None
        if "validation" in corpus.splits:
            validation = Validation(config, corpus.split("validation"), setup.mesh)
        start = None
        if init_from and not resumed:
            start, imported = job.together(
                lambda: beginning.start_of(init_from, config, corpus), "--init_from"
            )
        rows = None
        if not resumed:
            if init_from and config.train.vectors:
                raise InputError(
                    "config.train.vectors is for an embedding that begins anew, and --init_from "
                    "brings one: leave one of them out"
                )
            rows = job.together(setup.word_vectors, "config.train.vectors", seconds=_DAY)
            if rows and job.is_first():
                say(
                    f"{len(rows[0]):,} of {config.model.vocabulary:,} symbols begin with the "
                    f"vectors of {config.train.vectors}"
                )
        kept = config.checkpoint
        checkpoints = Checkpoints(
            home / "checkpoints",
            newest=kept.newest,
            best=kept.best,
            log_spaced=kept.log_spaced,
            timeout=kept.timeout,
        )
        try:
            abstract, lost = setup.abstract(), None
            if streams:
                abstract = restream.with_streams(abstract, streams[0], setup.mesh)
            restored = checkpoints.restore(abstract.saved())
            if restored is None:
                state, progress = setup.create(start, rows), Progress()
            else:
                state = _ready(TrainState(**restored.state), config)
                progress = Progress(**restored.metadata["progress"])
                if streams:
                    lost = restream.loss(state, streams, setup)
                    state = restream.begun_anew(state, setup)

            # Not before the state is there: a run that cannot go on keeps the config it had.
            def write() -> None:
                try:
                    workdirs.write(
                        home,
                        config,
                        vocabulary=corpus.vocabulary.to_json(),
                        digest=corpus.digest,
                        corpus=Path(corpus.folder).absolute(),
                        status=status,
                        cleaning=corpus.cleaning,
                        init_from=init_from,
                        imported=imported,
                    )
                except InputError as error:
                    if not resumed:
                        raise
                    say(f"{error}; the run goes on with the one it had")  # a full disk, perhaps

            job.from_first(write, "config.json")
            yield Begun(home, setup, state, progress, validation, checkpoints, lost)
        finally:
            checkpoints.close()


@contextlib.contextmanager
def _locked(workdir: str | Path) -> Iterator[Path]:
    """The folder, absolute; the first process has its lock, and all are shown to see it."""
    with contextlib.ExitStack() as held:
        mark = secrets.token_hex(8)

        def take() -> list[str]:
            home = held.enter_context(workdirs.locked(workdir, mark))
            return [str(home), mark]

        folder, mark = job.from_first(take, f"the lock of --workdir={workdir}")
        home = Path(folder)
        if job.count() > 1:
            job.together(lambda: _check_shared(home, mark), "--workdir")
        yield home


def _check_shared(home: Path, mark: str) -> None:
    """Raises InputError where this process does not see the folder of the first one."""
    until = time.monotonic() + _SEEN_WITHIN
    while not workdirs.is_marked(home, mark):
        if time.monotonic() > until:
            raise NotNow(
                f"--workdir={home} of process 0 is not seen here: all hosts of a job need the "
                "same folder, on a shared file system"
            )
        time.sleep(0.2)


def _open_corpus(config: Config, home: Path) -> Corpus:
    """The text, which the first process prepares if need be; the others open what it has made."""
    made = []

    def prepare() -> str:
        made.append(setups.open_corpus(config, home))
        return made[0].digest

    digest = job.from_first(prepare, "the text", seconds=_DAY)

    def opened() -> Corpus:
        corpus = made[0] if made else setups.open_corpus(config, home)
        if corpus.digest != digest:
            raise InputError(f"{corpus.folder} holds another text here than in process 0")
        return corpus

    return job.together(opened, "the text", seconds=_DAY)


def _check_contents(corpus: Corpus, home: Path) -> str:
    """What the file system says of the text's files now. Where an earlier start of the run saw them
    otherwise they are compared with their digests; and so they are in every process that does not
    see the very files of process 0. Raises InputError for one that was changed."""
    here = corpus.status()

    def as_before() -> str:
        if workdirs.seen_status(home) != here:
            corpus.verify()
        return here

    status = job.from_first(as_before, "the text", seconds=_DAY)

    def as_in_the_first() -> None:
        if here != status:
            corpus.verify()

    job.together(as_in_the_first, "the text", seconds=_DAY)
    return status


def _saved_streams(home: Path, config: Config, wishes: Wishes) -> list[int] | None:
    """The streams that the newest checkpoint was saved with, where they are not those of the
    config. Raises InputError where the run was not told to begin them anew."""
    saved = restream.of_newest(home / "checkpoints")
    if saved is None or saved == restream.of(config):
        return None
    if not wishes.new_streams:
        raise workdirs.other_streams(home, saved, restream.of(config))
    return saved


def _ready(state: TrainState, config: Config) -> TrainState:
    """A restored state, to go on from: a step that was skipped long ago is not one to stop at."""
    if config.train.on_nonfinite == "skip":
        return state
    bad = state.first_bad_step
    none = devices.spread(jnp.full(bad.shape, -1, jnp.int32), bad.sharding)
    return state._replace(first_bad_step=none)
