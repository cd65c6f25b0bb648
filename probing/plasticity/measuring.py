"""What is measured of one model along its retraining, always in the same way and on the same text.

Neurons are chosen, and probes fitted, on train documents; figures are of test documents. The text
that activations are correlated on is that of the test documents too.
"""

# S sites, H units, P places of the ranked sites, K classes

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlstm.errors import InputError
from mlstm.model import pruning
from mlstm.model.pruning import Units, format_units
from mlstm.model.sites import parse_site
from mlstm.trained import Model
from probing.evidence.matching import correlations
from probing.plasticity import neurons, sets
from probing.plasticity.directions import angles, directions, participation
from probing.plasticity.measurement import Measurement
from probing.plasticity.passages import Similarity, WordVectors, passage, top_words, word
from probing.plasticity.roles import Role, roles
from probing.plasticity.rows import Kept, KeptRows, beside, held_out, shares
from probing.states import activations
from probing.states.collect import collect
from probing.states.contexts import Contexts, TopContexts
from probing.tasks.cleaned import for_model
from probing.tasks.labelled import LabelledData

CONTEXTS = 8  # of each end of a neuron
CORRELATED_BYTES = 100_000
TRAIN, TEST = range(2)
NAN = float("nan")


class Ruler:
    """All that does not change from measurement to measurement; made from the base model."""

    def __init__(
        self,
        base: Model,
        data: LabelledData,
        concept: str,
        ranked: Sequence[str],
        measured: Sequence[str],
        bits_per_byte: Callable[[Model], float],
        *,
        rows: int = 10_000,
        vectors: WordVectors | None = None,
    ) -> None:
        """ranked: sites whose units can be pruned. measured: sites of which saliency is told.
        bits_per_byte: of held-out text. rows: labelled positions that probes are fitted on."""
        data = for_model(base, data)
        self.model, self.data = base, data
        self.ranked, self.measured = tuple(ranked), tuple(dict.fromkeys((*measured, *ranked)))
        self.concept = data.classes.index(concept)
        self.bits_per_byte, self.vectors = bits_per_byte, vectors
        self.shares = shares(data, rows)
        self.hidden = base.config.hidden
        self.names = [f"{site}[{unit}]" for site in self.ranked for unit in range(self.hidden)]
        self.texts = held_out(data, CORRELATED_BYTES)
        self._pruned: dict[tuple[str, str], Measurement] = {}
        self.own = self._correlations(base)
        kept, contexts = self._pass(base)
        self.kept = beside([kept[site] for site in self.ranked])
        for split in ("train", "test"):
            on = self.kept.y(split)[:, self.concept]
            if on.all() or not on.any():
                raise InputError(
                    f"concept {concept!r}: of {len(on):,} {data.unit}s of {split} that are read "
                    f"{'all' if len(on) and on.all() else 'none'} have it; read more of the text"
                )
        self.base_passages, _ = self._contexts(contexts, self._auc(kept, {}))
        self.similarity = Similarity(self._flat(self.base_passages))
        self.base = self._measurement(base, {}, np.zeros(0, int), kept, contexts)

    def measure(self, model: Model, pruned: Units, old: Units) -> Measurement:
        """Of a model whose `pruned` units are dead; `old` are those whose roles are looked for."""
        places = sets.places_of(self.ranked, old, self.hidden)
        return self._measurement(model, pruned, places, *self._pass(model))

    def measure_pruned(self, pruned: Units, old: Units) -> Measurement:
        """Of the base model right behind the pruning; of arms that prune the same once."""
        same = format_units(pruned), format_units(old)
        if same not in self._pruned:
            self._pruned[same] = self.measure(_with_mask(self.model, pruned), pruned, old)
        return self._pruned[same]

    def _pass(self, model: Model) -> tuple[dict[str, Kept], dict[str, Contexts]]:
        """Everything that is read off the states, in one pass."""
        pilots = activations.sample(model, self.data, self.ranked)
        feed: dict[str, list] = {site: [KeptRows(self.shares)] for site in self.measured}
        for site in self.ranked:
            feed[site].append(TopContexts.init(pilots[site], CONTEXTS))
        found = collect(model, self.data, feed)
        return (
            {site: found[site][0] for site in self.measured},
            {site: found[site][1] for site in self.ranked},
        )

    def _measurement(self, model, pruned, old, kept, contexts) -> Measurement:
        auc = self._auc(kept, pruned)
        living = {site: np.isfinite(of).any((0, 2)) for site, of in auc.items()}
        left = np.concatenate([living[site] for site in self.ranked])
        saliency = neurons.ranks(
            {site: np.abs(of[TRAIN, :, self.concept] - 0.5) for site, of in auc.items()}
        )
        train, test = (
            np.concatenate([auc[site][split] for site in self.ranked]) for split in (TRAIN, TEST)
        )
        best, best_auc = neurons.best(train[:, self.concept], test[:, self.concept])
        followed = neurons.followed(train, test)
        told = directions(beside([kept[site] for site in self.ranked]))
        apart = angles(told.weights, self.concept)
        now = self._correlations(model)
        given = roles(self.names, old, left, now, self.own)
        passages, words = self._contexts(contexts, auc)
        changed = self._similarity(passages)
        takers = [self.names.index(role.new) for role in given if role.newly]
        found = {
            "bits_per_byte": self.bits_per_byte(model),
            "probe_auc": float(told.test[self.concept]),
            "best_auc": best_auc,
            "roles": float(len(given)),
            "roles_taken": float(sum(role.taken for role in given)),
            "roles_taken_newly": float(sum(role.newly for role in given)),
            "concepts_followed": neurons.mean(followed[left]),
            "concepts_followed_by_takers": neurons.mean(followed[takers]),
            "participation": float(participation(told.weights)[self.concept]),
            "nearest_angle": float(np.nanmin(apart)) if np.isfinite(apart).any() else NAN,
            "mean_angle": neurons.mean(apart[np.isfinite(apart)]),
            "context_similarity": neurons.mean(changed[left]),
            **self._of_takers(given, passages),
            "word_similarity": self._word_similarity(words, left),
        }
        for site, of in saliency.items():
            found[f"saliency {site}"] = neurons.mean(of[living[site]])
            strength = 2 * np.abs(auc[site][TEST, :, self.concept] - 0.5)
            found[f"strength {site}"] = neurons.mean(strength[living[site]])
        return Measurement(
            figures=found,
            best_neuron=self.names[best] if best >= 0 else "",
            roles=given,
            auc={site: neurons.rounded(of[TEST, :, self.concept]) for site, of in auc.items()},
            saliency={site: neurons.rounded(of) for site, of in saliency.items()},
            followed={
                site: of.tolist()
                for site, of in zip(self.ranked, np.split(followed, len(self.ranked)), strict=True)
            },
            words=words,
            passages=passages,
        )

    def _auc(self, kept: dict[str, Kept], pruned: Units) -> dict[str, np.ndarray]:
        """(2, H, K) of each measured site, on train and test; NaN of what is pruned, which is
        checked to be 0."""
        alive, found = pruning.alive_units(self.model.config, pruned), {}
        for site, of in kept.items():
            place = parse_site(site)
            kind = str(pruning.unit_kind(self.model.config, place.name))
            living = alive[str(place.layer)][kind]
            neurons.check_dead(site, of.states, ~living)
            area = np.stack([neurons.areas(of.x(s), of.y(s)) for s in ("train", "test")])
            found[site] = np.where(living[:, None], area, np.nan)
        return found

    def _contexts(
        self, contexts: dict[str, Contexts], auc: dict[str, np.ndarray]
    ) -> tuple[dict[str, list[list[str]]], dict[str, list[list[str]]]]:
        """Passages and words of each neuron at its end where the concept lies; of a pruned one
        none."""
        passages, words = {}, {}
        for site, of in contexts.items():
            high = auc[site][TRAIN, :, self.concept] >= 0.5
            living: Any = np.isfinite(auc[site]).any(axis=(0, 2))
            end = np.arange(self.hidden), np.where(high, of.document.shape[1] - 1, 0)
            rows = zip(of.document[end].tolist(), of.position[end].tolist(), strict=True)
            places = [
                [(i, p) for i, p in zip(*row, strict=True) if i >= 0 and living[n]]
                for n, row in enumerate(rows)
            ]
            text = self.data.documents
            passages[site] = [[passage(text[i].data, p) for i, p in one] for one in places]
            words[site] = [top_words([word(text[i].data, p) for i, p in one]) for one in places]
        return passages, words

    def _flat(self, of: dict[str, list[list[str]]]) -> list[list[str]]:
        return [one for site in self.ranked for one in of[site]]

    def _similarity(self, passages: dict[str, list[list[str]]]) -> np.ndarray:
        """(P,) of each neuron's passages with its own in the base model."""
        return Similarity.cosines(self.similarity.first, self.similarity.of(self._flat(passages)))

    def _of_takers(self, given: list[Role], passages: dict) -> dict[str, float]:
        """How alike the passages of old neurons are to those of the neurons that newly took their
        roles: as these were in the base model, and as they are now."""
        old = [self.names.index(role.old) for role in given if role.newly]
        new = [self.names.index(role.new) for role in given if role.newly]
        first: Any = self.similarity.first
        now: Any = self.similarity.of(self._flat(passages))
        pairs = {"taker_similarity_before": first, "taker_similarity": now}
        return {
            name: neurons.mean(Similarity.cosines(first[old], of[new])) if old else NAN
            for name, of in pairs.items()
        }

    def _word_similarity(self, words: dict[str, list[list[str]]], left: np.ndarray) -> float:
        """By vectors of the words, over living neurons; NaN without vectors."""
        if self.vectors is None or not hasattr(self, "base"):
            return NAN
        pairs = zip(self._flat(self.base.words), self._flat(words), left, strict=True)
        found = np.array([self.vectors.cosine(a, b) for a, b, here in pairs if here])
        return neurons.mean(found[np.isfinite(found)])

    def _correlations(self, model: Model) -> np.ndarray:
        """(P, P) of the base model's neurons (rows) with those of a model, site by site: neurons of
        two sites are not compared, and have 0."""
        whole = np.zeros((len(self.ranked) * self.hidden,) * 2)
        for nth, site in enumerate(self.ranked):
            here = slice(nth * self.hidden, (nth + 1) * self.hidden)
            whole[here, here] = correlations(self.model, model, self.texts, site)
        return whole


def _with_mask(model: Model, units: Units) -> Model:
    """The model with these units pruned, as a run begins with it."""
    if not units:
        return model
    alive = pruning.alive_units(model.config, units)
    parameters = pruning.prune(model.config, model.parameters, alive)
    return dataclasses.replace(model, parameters=parameters, origin=f"{model.origin}, pruned")
