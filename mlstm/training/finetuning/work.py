"""The parts of a fine-tuning: the head by itself, an epoch, and what dev says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlstm.classifier import Labelling
from mlstm.errors import InputError
from mlstm.model import head as heads
from mlstm.model import whole_texts
from mlstm.trained import Model
from mlstm.training.finetuning import batches, choosing, step
from mlstm.training.finetuning.config import FinetuneConfig
from mlstm.training.finetuning.examples import targets
from mlstm.training.finetuning.step import Given, Shape, State

Progress = Callable[[str, int, int], None]
DEVIATION = 1e-3
"""The least that a feature is divided by: one that hardly varies is not blown up."""


@dataclass(frozen=True, eq=False)
class Work:
    """The parts of a fine-tuning, on its texts."""

    shape: Shape
    config: FinetuneConfig
    labelling: Labelling
    ids: list[np.ndarray]
    wanted: np.ndarray
    weights: np.ndarray
    dev_ids: list[np.ndarray]
    dev_labels: np.ndarray
    progress: Progress

    @property
    def key(self) -> jax.Array:
        return jax.random.key(self.config.seed)

    @property
    def steps(self) -> int:
        return max(1, -(-len(self.ids) // self.config.batch) * self.config.epochs)

    def like(self, model: Model) -> tuple[State, dict, dict]:
        """State, standard and best parameters before anything is trained."""
        head = heads.init_parameters(self.shape.head, jax.random.fold_in(self.key, 0))
        parameters = {"model": model.parameters, "head": head}
        optimizer = step.make_optimizer(self.config, self.steps)
        state = State(parameters, optimizer.init(parameters), jnp.int32(0), jnp.int32(0))
        F = self.shape.head.features
        return state, {"mean": jnp.zeros(F), "scale": jnp.ones(F)}, parameters

    def head_alone(self, model: Model) -> tuple[dict, dict]:
        """Mean and scale of the features on train, and the head after its steps by itself."""
        features = self._pooled(model.parameters, self.ids, "features")
        spread = features.std(0, dtype=np.float64)
        standard = {
            "mean": jnp.asarray(features.mean(0, dtype=np.float64), jnp.float32),
            "scale": jnp.asarray(np.maximum(spread, DEVIATION), jnp.float32),
        }
        head = heads.init_parameters(self.shape.head, jax.random.fold_in(self.key, 0))
        if self.config.freeze:
            draw = np.random.default_rng([self.config.seed, 0])
            size = min(self.config.batch, len(self.ids))
            order = [draw.permutation(len(self.ids))[:size] for _ in range(self.config.freeze)]
            head = step.train_head(
                self.shape,
                self.config,
                head,
                standard,
                jnp.asarray(features),
                jnp.asarray(self.wanted),
                jnp.asarray(self.weights),
                jnp.asarray(np.stack(order)),
                jax.random.fold_in(self.key, 1),
            )
        return standard, head

    def epoch(self, run, number: int, state: State, standard: dict) -> tuple[State, float]:
        """Each train text once; the mean loss of the texts' classes."""
        draw = np.random.default_rng([self.config.seed, number])
        lengths = [len(each) for each in self.ids]
        buckets = batches.bucket_lengths(lengths, self.config.truncate, self.config.buckets)
        done, total, losses, counts = 0, sum(lengths), [], []
        key = jax.random.fold_in(self.key, 2)
        bad = int(state.bad)
        for texts in batches.plan(lengths, self.config.batch, draw):
            batch = batches.make(self.ids, texts, self.config.batch, buckets)
            given = self._given(state.parameters["model"], batch)
            state, parts = run(state, standard, given, key)
            losses.append(parts["class"])
            counts.append(len(texts))
            done += sum(lengths[i] for i in texts)
            jax.block_until_ready(state.step)  # what is not yet done is not counted as done
            self.progress(f"epoch {number} of {self.config.epochs}", done, total)
        if int(state.bad) > bad:
            raise InputError(
                f"epoch {number}: loss or gradient not finite in {int(state.bad) - bad} of "
                f"{len(losses)} steps; a lower learning rate would be right"
            )
        return state, float(np.average(np.array(jax.device_get(losses)), weights=counts))

    def dev(self, parameters: dict, standard: dict) -> dict[str, Any]:
        """Loss, thresholds and score on dev. InputError where the head's scores are not finite."""
        features = self._pooled(parameters["model"], self.dev_ids, "dev")
        scores = np.asarray(
            _scores(self.shape.head, parameters["head"], standard, jnp.asarray(features))
        )
        if bad := int((~np.isfinite(scores)).any(-1).sum()):
            raise InputError(
                f"the scores of {bad} of {len(scores)} dev texts are not finite; a lower learning "
                "rate would be right"
            )
        wanted, weights = targets(self.labelling, self.dev_labels)
        loss = step.class_loss(self.shape.kind, scores, wanted, weights)  # pyright: ignore[reportArgumentType]
        return {"dev_loss": float(loss)} | choosing.thresholds(
            self.labelling, self.dev_labels, scores, self.config.thresholds
        )

    def _given(self, parameters: dict, batch: batches.Batch) -> Given:
        running = whole_texts.begin(self.shape.model, self.shape.what, len(batch.texts))
        for start in range(0, batch.before, whole_texts.WINDOW):
            rows = slice(start, start + whole_texts.WINDOW)
            running = whole_texts.read_window(
                self.shape.model, parameters, running, batch.ids[rows], batch.mask[rows],
                self.shape.what,
            )  # fmt: skip
        there = (batch.texts >= 0)[:, None]
        return Given(
            running,
            jnp.asarray(batch.ids[batch.before :]),
            jnp.asarray(batch.mask[batch.before :]),
            jnp.asarray(self.wanted[batch.texts]),
            jnp.asarray(np.where(there, self.weights[batch.texts], 0)),
        )

    def _pooled(self, parameters: dict, ids: list[np.ndarray], name: str) -> np.ndarray:
        return whole_texts.pooled(
            self.shape.model, parameters, ids, self.shape.what, partial(self.progress, name)
        )


_scores = jax.jit(heads.scores, static_argnums=0)
