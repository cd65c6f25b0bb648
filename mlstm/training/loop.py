"""The run, in the order in which things happen.

Everything that decides what is trained is a function of the config and the state: a run that was
stopped anywhere and begun again ends with the same bits as one that was not.
"""

import dataclasses
import math
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mlstm import devices, job
from mlstm.corpus.files import user_path
from mlstm.corpus.stream import prefetch
from mlstm.model import sampling
from mlstm.runs import member
from mlstm.trained import Model
from mlstm.training import pruning, restream, start
from mlstm.training.config import Config
from mlstm.training.interrupts import Interrupts
from mlstm.training.memory import Memory
from mlstm.training.metrics import Metrics, Quiet
from mlstm.training.profiling import Profile, Steps
from mlstm.training.start import Begun, Progress, Wishes
from mlstm.training.state import OF_MODELS, each_model
from mlstm.training.step import make_gate_saturation
from mlstm.training.watchdog import Watchdog


@dataclass(frozen=True)
class Result:
    """How a run ended."""

    workdir: Path
    step: int
    steps: int
    ended: str
    """ "finished", "early" (validation got no better), "interrupted" or "not finite"."""
    bits_per_byte: float | None
    """Of the last validation, the mean over the models of a population; None where there was none,
    or it was not finite."""
    saved: bool
    """Whether the state it ended with is on the disk."""
    bad_step: int | None = None
    """The first step whose loss or gradient was not finite, as this process met it."""
    bad_seed: int | None = None
    """Whose it was; None where there is one model alone."""

    def __str__(self) -> str:
        score = "" if self.bits_per_byte is None else f", {self.bits_per_byte:.4f} bits per byte"
        ends = {
            "finished": "finished",
            "early": "stopped early, validation no longer improves",
            "interrupted": "interrupted; the same command goes on from here",
            "not finite": f"loss or gradient not finite at step {self.bad_step}"
            f"{_of_seed(self.bad_seed)}; stopped",
        }
        return f"{self.workdir}: {ends[self.ended]} at step {self.step} of {self.steps}{score}"


def run(
    config: Config,
    workdir: str | Path,
    *,
    init_from: str | None = None,
    profile_steps: Steps | None = None,
    new_streams: bool = False,
) -> Result:
    """Train in `workdir` until it is done; begun again, go on from the newest checkpoint.

    In a job of several processes (see `mlstm.job`) all of them call it, with the same arguments.

    `init_from`: another run, whose parameters (the best by validation) a new run begins with, or
    what else `mlstm.load` takes; the config has its shape (`beginning.adopt`). A population begins
    with those of another of as many seeds, model by model.
    `profile_steps`: the first and the last of the steps of which a trace is written.
    `new_streams`: a resumed run may come with another data.batch or data.window, and its epoch
    begins anew.
    Raises InputError for whatever is wrong with what was given.
    """
    init_from = str(user_path(init_from)) if init_from else None
    wishes = Wishes(init_from, profile_steps, new_streams)
    with Interrupts() as interrupts, start.begin(config, workdir, wishes) as begun:
        running = _Run(begun, interrupts, profile_steps)
        try:
            result = running.train()
        finally:
            running.close()
        job.barrier("the end of the run")
        return result


class _Run:
    """The state of the loop, and what it does between steps."""

    def __init__(self, begun: Begun, interrupts: Interrupts, profile_steps: Steps | None) -> None:
        self.setup, self.config, self.home = begun.setup, begun.setup.config, begun.home
        self.state, self.progress = begun.state, begun.progress
        self.validation, self.checkpoints = begun.validation, begun.checkpoints
        self.interrupts, self.lost = interrupts, begun.lost
        self.step = int(self.state.step)
        self.metrics = Quiet()
        job.from_first(self._open_metrics, "the logs")
        self.watchdog = Watchdog(self.config.train.stall)
        self.memory = Memory(self.setup)
        self.profile = Profile(profile_steps, self.home / "profile", self.metrics.say)
        self.pending: tuple | None = None
        self.first_bad: dict[int | None, int] = {}  # seed (None: there is one) -> step
        self.saved = self.step if self.step else -1
        self.mark: tuple[int, float] | None = None
        self.saturation = jax.jit(
            each_model(
                self.config,
                make_gate_saturation(self.config.model, self.config.train.accumulate),
                (0, 0, None, None),
            )
        )

        self.remains = None
        if self.state.mask is not None:
            of_one = partial(pruning.remains, self.config.model)
            self.remains = jax.jit(each_model(self.config, of_one, (OF_MODELS,)))

    def _open_metrics(self) -> None:
        self.metrics = Metrics(
            self.home, self.step, self.setup.steps, validated=self.progress.last_step
        )

    def close(self) -> None:
        self.watchdog.close()
        self.profile.close(self.step)
        self.metrics.close()

    def train(self) -> Result:
        say = self.metrics.say
        self.interrupts.saving = True
        # An interrupted run leaves the validation of its last step to the one that goes on.
        due = self.step > 0 and self.progress.last_step < self.step and self._validates()
        done = self._ended()
        if done and not due:
            say(f"{self.home} is finished already, at step {self.step}")
            return self._result(done)
        say(str(self.setup))
        say(f"writing to {self.home}: checkpoints, metrics.jsonl, tensorboard, samples")
        if self.step:
            say(f"resuming from step {self.step} of {self.setup.steps}")
        if self.lost:
            say(self.lost)
        if self.validation is None:
            say("the text has no validation split: nothing is validated, and nothing stops early")
        if due:
            stop = self._settle(validate=True, save=True)
            if stop:
                return self._result(stop)
            self.mark = None  # the step is still to be compiled
        say(self.memory.predicted())
        epoch, window = (int(i) for i in self.state.position)
        depth = self.config.data.prefetch
        rows = self.setup.rows
        with prefetch(self.setup.stream, epoch, window, rows=rows, depth=depth) as batches:
            for _, batch in batches:
                self.watchdog.alive()
                self.profile.begin(self.step + 1, self.state)
                self._one(self.setup.place(batch))
                self.profile.end(self.step, self.state)
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
            gates = self.saturation(
                self.state.parameters, self.state.carry, self.state.position.window, batch
            )
        self.state, measured = self.setup.train_step(self.state, batch)
        if self.mark is None:
            self.mark = (done, time.monotonic())  # behind the compilation
        self.step = done
        self._report()
        if due:
            self.pending = (done, measured, gates)

    def _between(self) -> str | None:
        """What is due after a step; why the run ends here, if it does."""
        kept, step = self.config.checkpoint, self.step
        validate = self._validates()
        log_spaced = kept.log_spaced and step & (step - 1) == 0
        save = step >= self.setup.steps or step % kept.every == 0 or log_spaced
        if not (validate or save or self._asked()):
            return "not finite" if self._bad() else None
        self._report()
        if self._met_nonfinite():
            return "not finite"
        return self._settle(validate, save)

    def _settle(self, validate: bool, save: bool) -> str | None:
        """Validate and save the state as it is; why the run ends here, if it does.

        Who asks for the end does not wait for a validation: the state is saved without it.
        """
        best = self._validate() if validate else False
        ended = "interrupted" if best is None else self._ended()
        if not ended and self._asked():
            ended = "interrupted"
        if save or best or ended:
            self._save()
        self.mark = (self.step, time.monotonic())
        if ended and not self.checkpoints.wait():
            self.saved = -1
        return ended

    def _validates(self) -> bool:
        """Whether the held-out text is read after this step."""
        every, last = self.config.train.validate_every, self.step >= self.setup.steps
        due = last or (every > 0 and self.step % every == 0)
        return due and self.validation is not None

    def _ended(self) -> str | None:
        """Whether the run is over with this step: "finished", or "early"."""
        if self.step >= self.setup.steps:
            return "finished"
        return "early" if self._out_of_patience() else None

    def _asked(self) -> bool:
        self.watchdog.alive()
        return self.interrupts.stop()

    def _report(self) -> None:
        """Read and write down the log that is pending; the only wait of the training loop."""
        if self.pending is None:
            return
        step, measured, gates = self.pending
        self.pending = None
        measured, gates = devices.fetch((measured, gates))
        self._note_bad(measured.first_bad_step)
        if self._bad():
            return
        bits = self.setup.bits_per_byte(np.asarray(measured.nats, np.float64))
        now = time.monotonic()
        since, then = self.mark or (step, now)
        self.mark = (step, now)
        pace = (now - then) / (step - since) if step > since else 0.0
        rate = self.setup.step_bytes / pace if pace else 0.0
        self.metrics.train(
            step,
            {
                "bits_per_byte": _mean(bits),
                "bytes_per_second": rate,
                "learning_rate": _mean(measured.learning_rate),
                "gradient_norm": _mean(measured.gradient_norm),
                "update_ratio": _mean(measured.update_ratio),
                "skipped": int(np.sum(measured.skipped)),
            },
            {
                site: (_mean(shares[..., 0]), _mean(shares[..., 1]))
                for site, shares in gates.items()
            },
            pace * (self.setup.steps - step),
            self._of_seeds(bits),
        )
        if line := self.memory.measured():
            self.metrics.say(line)
        self.checkpoints.poll()

    def _validate(self) -> bool | None:
        """Score the held-out text: whether it is the best so far, or None where the end of the run
        was asked for first."""
        if self.validation is None or self._asked():
            return None
        scores = self.validation.bits_per_byte(self.state.parameters, self._asked)
        if scores is None:
            return None
        # Decided on by all processes alike, whatever their last bits are.
        scores = np.array(job.from_first(scores.tolist, "validation"))
        score = _mean(scores)
        progress, finite = self.progress, math.isfinite(score)
        best = finite and (progress.best is None or score < progress.best)
        self.progress = Progress(
            best=score if best else progress.best,
            since_best=0 if best else progress.since_best + 1,
            last=score if finite else None,
            last_step=self.step,
        )
        self.metrics.validation(self.step, score, best, self._of_seeds(scores))
        if self.config.log.samples:
            self._sample()
        return best

    def _sample(self) -> None:
        """Let the model write, of a population the first; what it draws touches nothing that is
        trained. The processes of a job all do, so that none waits for another."""
        log, seeds = self.config.log, self.config.members
        first = jax.jit(lambda of_all: member(of_all, seeds, seeds[0]))
        parameters = devices.on_one_device(first(self.state.parameters))
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
        written = []
        for block in blocks:
            if self._asked():
                return
            written.append(block)
        self.metrics.samples(self.step, [b"".join(parts) for parts in zip(*written, strict=True)])

    def _save(self) -> None:
        step = self.step
        self._check_pruned()
        validated = self.progress.last if self.progress.last_step == step else None
        begun = self.checkpoints.save(
            step,
            self.state.saved(),
            metadata={
                "progress": dataclasses.asdict(self.progress),
                "streams": restream.of(self.config),
            },
            validation=validated,
        )
        self.saved = step if begun else -1

    def _check_pruned(self) -> None:
        """Before a state is saved: what is pruned is exactly 0 in it."""
        if self.remains is None:
            return
        for part, largest in devices.fetch(self.remains(self.state)).items():
            if np.any(largest != 0):
                raise AssertionError(
                    f"step {self.step}: pruned units are not 0 in the {part} (up to "
                    f"{np.max(largest)}); nothing of it was saved"
                )

    def _of_seeds(self, values: np.ndarray) -> dict[int, Any]:
        """What each model of a population has, by its seed; nothing where there is one model."""
        seeds = self.config.members
        return dict(zip(seeds, values.tolist(), strict=True)) if len(seeds) > 1 else {}

    def _bad(self) -> bool:
        return bool(self.first_bad) and self.config.train.on_nonfinite == "stop"

    def _met_nonfinite(self) -> bool:
        """Asked before anything is saved or scored: a state that met its end is neither."""
        self._note_bad(devices.fetch(self.state.first_bad_step))
        return self._bad()

    def _note_bad(self, steps: np.ndarray) -> None:
        """Say the first bad step of each model, as the state remembers it, once."""
        met = self._of_seeds(steps) or {None: int(steps)}
        new = {seed: step for seed, step in met.items() if step >= 0 and seed not in self.first_bad}
        if not new:
            return
        self.first_bad |= new
        where = ", ".join(f"step {step}{_of_seed(seed)}" for seed, step in new.items())
        what = f"the loss or its gradient is not finite at {where}"
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
        bad_seed, bad_step = min(
            self.first_bad.items(), key=lambda met: met[1], default=(None, None)
        )
        return Result(
            workdir=self.home,
            step=self.step,
            steps=self.setup.steps,
            ended=ended,
            bits_per_byte=self.progress.last,
            saved=self.saved == self.step,
            bad_step=bad_step,
            bad_seed=bad_seed,
        )


def _mean(values: np.ndarray) -> float:
    """Over the models of a population; of one, its number."""
    return float(np.mean(values, dtype=np.float64))


def _of_seed(seed: int | None) -> str:
    return "" if seed is None else f" (seed {seed})"
