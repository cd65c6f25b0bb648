"""The run, in the order in which things happen.

Everything that decides what is trained is a function of the config and the state: a run that was
stopped anywhere and begun again ends with the same bits as one that was not.
"""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from mlstm.checkpoint import Checkpoints, read_parameters
from mlstm.checkpoint import steps as saved_steps
from mlstm.corpus.stream import prefetch
from mlstm.errors import InputError
from mlstm.loading import Model
from mlstm.model import sampling
from mlstm.training import setup as setups
from mlstm.training import workdir as workdirs
from mlstm.training.config import Config
from mlstm.training.interrupts import Interrupts
from mlstm.training.metrics import Metrics
from mlstm.training.setup import Setup
from mlstm.training.state import TrainState
from mlstm.training.step import make_gate_saturation
from mlstm.training.validation import Validation

LN2 = 0.6931471805599453


@dataclass(frozen=True)
class Result:
    """How a run ended."""

    workdir: Path
    step: int
    steps: int
    ended: str
    """ "finished", "early" (validation got no better), "interrupted" or "not finite"."""
    bits_per_byte: float | None
    """Of the last validation."""
    saved: bool
    """Whether the state it ended with is on the disk."""

    def __str__(self) -> str:
        score = "" if self.bits_per_byte is None else f", {self.bits_per_byte:.4f} bits per byte"
        ends = {
            "finished": "finished",
            "early": "stopped early, validation no longer improves",
            "interrupted": "interrupted; the same command goes on from here",
            "not finite": "stopped, not finite",
        }
        return f"{self.workdir}: {ends[self.ended]} at step {self.step} of {self.steps}{score}"


@dataclass
class Progress:
    """What is known of the validations so far; saved with every checkpoint."""

    best: float | None = None
    since_best: int = 0
    last: float | None = None
    last_step: int = -1


def run(config: Config, workdir: str | Path, *, init_from: str | None = None) -> Result:
    """Train in `workdir` until it is done; begun again, go on from the newest checkpoint.

    `init_from`: another run, whose parameters (the best by validation) a new run begins with.
    Raises InputError for whatever is wrong with what was given.
    """
    with Interrupts() as interrupts, workdirs.locked(workdir) as home:
        resumed = bool(saved_steps(home / "checkpoints"))
        corpus = setups.open_corpus(config, home)
        if resumed:
            workdirs.check_resumable(home, config, corpus.digest, init_from)
            init_from = workdirs.read(home).get("init_from")
        setup = setups.make(config, corpus)
        validation = Validation(config, corpus.split("validation"), setup.mesh)
        start = None if resumed or not init_from else _parameters_of(init_from, config)
        workdirs.write(
            home,
            config,
            vocabulary=corpus.vocabulary.to_json(),
            digest=corpus.digest,
            corpus=Path(corpus.folder).absolute(),
            cleaning=corpus.cleaning,
            init_from=init_from,
        )
        kept = config.checkpoint
        checkpoints = Checkpoints(
            home / "checkpoints", newest=kept.newest, best=kept.best, log_spaced=kept.log_spaced
        )
        try:
            restored = checkpoints.restore(setup.abstract()._asdict())
            if restored is None:
                state, progress = setup.create(start), Progress()
            else:
                state = TrainState(**restored.state)
                progress = Progress(**restored.metadata["progress"])
            running = _Run(setup, home, state, progress, validation, checkpoints, interrupts)
            try:
                return running.train()
            finally:
                running.metrics.close()
        finally:
            checkpoints.close()


class _Run:
    """The state of the loop, and what it does between steps."""

    def __init__(
        self,
        setup: Setup,
        home: Path,
        state: TrainState,
        progress: Progress,
        validation: Validation,
        checkpoints: Checkpoints,
        interrupts: Interrupts,
    ) -> None:
        self.setup, self.config, self.home = setup, setup.config, home
        self.state, self.progress = state, progress
        self.validation, self.checkpoints, self.interrupts = validation, checkpoints, interrupts
        self.step = int(state.step)
        self.metrics = Metrics(home, self.step, setup.steps)
        self.pending: tuple | None = None
        self.first_bad: int | None = None
        self.saved = -1
        self.mark: tuple[int, float] | None = None
        self.saturation = jax.jit(make_gate_saturation(self.config.model))

    def train(self) -> Result:
        say = self.metrics.say
        if self._out_of_patience() or self.step >= self.setup.steps:
            self.saved = self.step
            say(f"{self.home} is finished already, at step {self.step}")
            return self._result("early" if self.step < self.setup.steps else "finished")
        say(str(self.setup))
        say(f"writing to {self.home}: checkpoints, metrics.jsonl, tensorboard, samples")
        if self.step:
            say(f"resuming from step {self.step} of {self.setup.steps}")
        self.interrupts.saving = True
        epoch, window = (int(i) for i in self.state.position)
        depth = self.config.data.prefetch
        with prefetch(self.setup.stream, epoch, window, depth=depth) as batches:
            for _, batch in batches:
                self._one(self.setup.place(batch))
                stop = self._between()
                if stop:
                    return self._result(stop)
        raise AssertionError("the stream of batches has no end")

    def _one(self, batch: Any) -> None:
        """Dispatch one step. Nothing is waited for, but the log of an earlier one is read."""
        every, done = self.config.log.every, self.step + 1
        due = done % every == 0 or done == self.setup.steps
        gates = {}
        if due and self.config.log.gate_saturation:
            gates = self.saturation(self.state.parameters, self.state.carry, batch)
        self.state, measured = self.setup.train_step(self.state, batch)
        if self.mark is None:
            self.mark = (done, time.monotonic())  # behind the compilation
        self.step = done
        self._report()
        if due:
            self.pending = (done, measured, gates)

    def _between(self) -> str | None:
        """What is due after a step; why the run ends here, if it does."""
        train, kept, step = self.config.train, self.config.checkpoint, self.step
        last, asked = step >= self.setup.steps, self.interrupts.requested is not None
        validate = last or (train.validate_every > 0 and step % train.validate_every == 0)
        log_spaced = kept.log_spaced and step & (step - 1) == 0
        save = last or asked or step % kept.every == 0 or log_spaced
        if not (validate or save):
            return "not finite" if self._bad() else None
        self._report()
        if self._met_nonfinite():
            return "not finite"
        early = False
        if validate:
            best = self._validate()
            early = self._out_of_patience()
            save = save or best or early
        if save:
            self._save()
        self.mark = (step, time.monotonic())
        if not (last or early or asked):
            return None
        if not self.checkpoints.wait():
            self.saved = -1
        if last:
            return "finished"
        return "early" if early else "interrupted"

    def _report(self) -> None:
        """Read and write down the log that is pending; the only wait of the training loop."""
        if self.pending is None:
            return
        step, measured, gates = self.pending
        self.pending = None
        measured, gates = jax.device_get((measured, gates))
        if self.first_bad is None and measured.first_bad_step >= 0:
            self.first_bad = int(measured.first_bad_step)
            self._say_bad()
            if self._bad():
                return
        now = time.monotonic()
        since, then = self.mark or (step, now)
        self.mark = (step, now)
        pace = (now - then) / (step - since) if step > since else 0.0
        rate = self.setup.stream.window_bytes / pace if pace else 0.0
        self.metrics.train(
            step,
            {
                "bits_per_byte": float(measured.nats) / LN2,
                "bytes_per_second": rate,
                "learning_rate": float(measured.learning_rate),
                "gradient_norm": float(measured.gradient_norm),
                "update_ratio": float(measured.update_ratio),
                "skipped": int(measured.skipped),
            },
            {site: (float(low), float(high)) for site, (low, high) in gates.items()},
            pace * (self.setup.steps - step),
        )
        self.checkpoints.poll()

    def _validate(self) -> bool:
        """Score the held-out text; True where it is the best so far."""
        score = self.validation.bits_per_byte(self.state.parameters)
        progress = self.progress
        best = progress.best is None or score < progress.best
        self.progress = Progress(
            best=score if best else progress.best,
            since_best=0 if best else progress.since_best + 1,
            last=score,
            last_step=self.step,
        )
        self.metrics.validation(self.step, score, best)
        if self.config.log.samples:
            self._sample()
        return best

    def _sample(self) -> None:
        """Let the model write; what it draws touches nothing that is trained."""
        log = self.config.log
        parameters = jax.device_put(self.state.parameters, jax.devices()[0])
        model = Model(
            config=self.config.model,
            parameters=parameters,
            vocabulary=self.setup.corpus.vocabulary,
            cleaning=self.setup.corpus.cleaning,
            origin=f"{self.home} step {self.step}",
            step=self.step,
        )
        blocks = sampling.generate(
            model,
            b"",
            log.sample_bytes,
            temperature=log.temperature,
            seed=self.config.seed,
            samples=log.samples,
        )
        texts = [b"".join(parts) for parts in zip(*blocks, strict=True)]
        self.metrics.samples(self.step, texts)

    def _save(self) -> None:
        step = self.step
        validated = self.progress.last if self.progress.last_step == step else None
        begun = self.checkpoints.save(
            step,
            self.state._asdict(),
            metadata={"progress": dataclasses.asdict(self.progress)},
            validation=validated,
        )
        self.saved = step if begun else -1

    def _bad(self) -> bool:
        return self.first_bad is not None and self.config.train.on_nonfinite == "stop"

    def _met_nonfinite(self) -> bool:
        """Asked before anything is saved or scored: a state that met its end is neither."""
        if self.first_bad is None and (found := int(self.state.first_bad_step)) >= 0:
            self.first_bad = found
            self._say_bad()
        return self._bad()

    def _say_bad(self) -> None:
        what = f"the loss or its gradient is not finite at step {self.first_bad}"
        if self._bad():
            kept = self.checkpoints.steps()
            self.metrics.say(
                f"{what}: stopped; nothing of it is saved, the newest checkpoint is of step "
                f"{kept[-1] if kept else 'none'}. A lower config.optimizer.learning_rate or "
                "config.optimizer.clip_norm helps; config.train.on_nonfinite=skip goes on"
            )
        else:
            self.metrics.say(f"{what}: such steps are skipped")

    def _out_of_patience(self) -> bool:
        patience = self.config.train.patience
        return bool(patience) and self.progress.since_best >= patience

    def _result(self, ended: str) -> Result:
        return Result(
            workdir=self.home,
            step=self.step,
            steps=self.setup.steps,
            ended=ended,
            bits_per_byte=self.progress.last,
            saved=self.saved == self.step,
        )


def _parameters_of(run: str, config: Config) -> Any:
    """The parameters of another run, for a model of the same shape."""
    theirs = workdirs.read(run).get("model", {})
    ours = dataclasses.asdict(config.model)
    # What changes no array may differ.
    free = ("dropout", "output_dropout", "products", "forget_bias")
    wrong = [name for name in ours if name not in free and theirs.get(name) != ours[name]]
    if wrong:
        listed = "; ".join(f"model.{n} is {theirs.get(n)!r} there, {ours[n]!r} here" for n in wrong)
        raise InputError(f"--init_from={run} is another model: {listed}")
    return read_parameters(Path(run) / "checkpoints", "best")[0]
