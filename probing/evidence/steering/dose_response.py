"""steer: put a neuron, or a direction, to doses while the model writes, and judge the text.

Doses come from train documents, prompts from test documents, the judge from neither the model nor
its neuron. Every dose of the subject and of its matched controls goes on from the same prompts with
the same random numbers, and all are written together.
"""

# N subjects (the first is steered), D doses, E = 1 + N D edits, P prompts, S samples

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import jax
import numpy as np

from mlstm.errors import InputError, check_one
from mlstm.model import language_model, sites
from mlstm.model.many_samples import generate_many
from mlstm.model.sampling import Choice
from mlstm.trained import Model
from probing.evidence.effects.comparison import relative
from probing.evidence.effects.units import units
from probing.evidence.judging import Judge, judge_of
from probing.evidence.steering import levers as of
from probing.evidence.steering.beginnings import prompts_of
from probing.evidence.steering.fluency import bits_of, distinct
from probing.evidence.steering.result import Dose, Level, Steering
from probing.evidence.steering.slopes import interval, mean_known, slopes, standing
from probing.evidence.subjects import Direction, OneNeuron, check_direction
from probing.tasks.cleaned import text_for_model
from probing.tasks.labelled import LabelledData
from probing.tasks.of_tokens import of_tokens

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
PROMPTS, SAMPLES, LENGTH = 24, 2, 256
FEWEST, MOST = 20, 99  # controls
BUDGET = 2e12  # multiplications that controls may take, where their number is not given
SHOWN = 2  # prompts whose first sample is kept of each dose

Phase = Literal["prompt", "generation", "both"]
Progress = Callable[[str, int, int], None]


def steer(
    model: Model,
    neuron: str,
    data: LabelledData,
    concept: str | None = None,
    *,
    direction: np.ndarray | Sequence[float] | None = None,
    how: of.How | None = None,
    phase: Phase = "generation",
    quantiles: Sequence[float] = QUANTILES,
    prompts: int | Sequence[bytes] = PROMPTS,
    prompt_bytes: int | None = None,
    samples: int = SAMPLES,
    length: int = LENGTH,
    choice: Choice | None = None,
    controls: int | None = None,
    expected: int = 0,
    judge: Judge | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Steering:
    """Does the model write more of a concept, the higher a neuron is put?

    Args:
      neuron: "0.c[17]"; with a direction its site, "0.c".
      concept: which of the data's; needed where there are several.
      direction: (H,) of raw states: steer the score states @ direction, the direction at length 1.
      how: "set" puts the value to the dose at every step; "add" moves it by as much as the dose is
        off the mean, at every step again, which adds up in a state that is carried. "set" if None,
        of a direction "add".
      phase: when it is edited: while the "prompt" is read, in "generation", or in "both".
      quantiles: the doses, of the subject's own distribution over train text, from 0 to 1.
      prompts: how many test documents to go on from, drawn by the seed, or the prompts themselves.
      prompt_bytes: how much of the beginning of a document is a prompt; where documents are fewer
        than prompts, twice as much is another, and so on. A quarter of the median document, 256 at
        most, if None.
      samples, length: texts for each prompt and dose, and their tokens.
      choice: how tokens are drawn; from the model's own distribution if None.
      controls: how many neurons like it are put to the same doses; None takes 99, fewer (but 20) of
        a model for which these would take long. 0 leaves them out, and p.
      expected: 1 or -1, the sign of the slope that is asked for, as that of the correlation on
        train documents is; 0 for either.
      judge: as `judge_of` makes it; that of the concept if None.
      seed: of the prompts, the samples, a classifier, and of random directions.
      progress: called with what is being done, how much of it, and all of it.

    Raises InputError for an unknown neuron or concept, a subject that does not vary, doses, prompts
    or numbers that cannot be.
    """
    check_one(model)
    data = text_for_model(model, data)
    _check(phase, how, expected, controls, length, samples)
    of.check_quantiles(quantiles)
    text = data.one(concept)  # with all labels of bytes, for the judge
    data = of_tokens(text, model.vocabulary)
    subject = _subject(model, neuron, direction)
    chosen, groups, source = prompts_of(data, prompts, prompt_bytes, seed)

    def report(what: str) -> Callable[[int, int], None]:
        return lambda done, every: progress(what, done, every) if progress else None

    known = units(model, data, subject.site)
    if controls is None:
        controls = _affordable(model, len(chosen) * samples * len(quantiles) * length)
    moved, values = of.levers(subject, known, controls, seed)
    value_D, z_D = of.doses(values, quantiles)
    how = how or ("set" if moved.neurons else "add")
    if judge is None:
        report("preparing the judge")(0, 1)
        judge = judge_of(text, seed=seed)
    choice = choice or Choice()
    ids = [model.vocabulary.encode(prompt) for prompt in chosen]
    edits = moved.edits(z_D, how)
    made = generate_many(
        model.config,
        model.parameters,
        ids,
        length,
        edits if phase != "prompt" else _nothing(edits),
        reading=edits if phase != "generation" else None,
        choice=choice,
        seed=seed,
        samples=samples,
        progress=report("writing"),
    )
    score_EPS, texts = _judged(model, judge, chosen, made, report("judging"))
    N, D, P = len(moved.names), len(z_D), len(chosen)
    score_NDPS = score_EPS[1:].reshape(N, D, P, samples)
    own = 1 + D  # edits that are of the subject or of none
    bits = bits_of(
        model,
        [prompt for _ in range(own) for prompt in ids for _ in range(samples)],
        made[:own].reshape(-1, length),
        report("scoring fluency"),
    ).reshape(own, P, samples)
    bits /= np.array([[len(text) for text in texts[e]] for e in range(own)]).reshape(bits.shape)

    def level(e: int) -> Level:
        return Level(
            interval(mean_known(score_EPS[e], -1), groups),
            interval(bits[e].mean(-1), groups),
            float(mean_known(np.array([distinct(text) for text in texts[e]]), None)),
            int(np.isfinite(score_EPS[e]).sum()),
        )

    slope_NP = slopes(score_NDPS, z_D)
    slope_N = mean_known(slope_NP, -1)
    adjusted_N = np.where(
        np.isfinite(slope_N), relative(np.nan_to_num(slope_N), moved.covariates), np.nan
    )
    percentile, p = standing(float(adjusted_N[0]), adjusted_N[1:], expected)
    response_ND = mean_known(score_NDPS, (2, 3))
    return Steering(
        subject=subject.name,
        concept=data.concepts[0],
        task=data.task,
        model=model.origin,
        data=data.origin,
        data_digest=data.digest,
        how=how,
        phase=phase,
        judge=judge.plain(),
        mean=float(moved.mean[0]),
        deviation=float(moved.deviation[0]),
        unedited=level(0),
        doses=tuple(
            Dose(
                float(quantiles[d]),
                float(z_D[d]),
                float(value_D[d]),
                level(1 + d),
                tuple(response_ND[1:, d].tolist()),
            )
            for d in range(D)
        ),
        slope=interval(slope_NP[0], groups),
        expected=expected,
        controls=moved.names[1:],
        slopes=tuple(slope_N[1:].tolist()),
        percentile=percentile,
        p=p,
        balance=moved.balance,
        prompts=P,
        documents=len(np.unique(groups)),
        prompt_source=source,
        samples=samples,
        length=length,
        temperature=choice.temperature,
        seed=seed,
        step=model.step,
        examples=_examples(quantiles, chosen, texts, samples),
        notes=(*data.notes, *_unjudged(score_EPS)),
        unit="byte" if model.vocabulary.bytewise else "token",
    )


def _check(phase, how, expected, controls, length, samples) -> None:
    if phase not in get_args(Phase):
        raise InputError(f"phase {phase!r}: it is one of {', '.join(get_args(Phase))}")
    if how is not None and how not in get_args(of.How):
        raise InputError(f"how {how!r}: it is one of {', '.join(get_args(of.How))}")
    if expected not in (-1, 0, 1):
        raise InputError(f"expected is {expected}; it is the sign of a slope, 1 or -1, or 0")
    if controls is not None and controls < 0:
        raise InputError(f"controls is {controls}; it must be 0 or more")
    for name, value in (("length", length), ("samples", samples)):
        if value < 1:
            raise InputError(f"{name} is {value}; it must be at least 1")


def _subject(model: Model, neuron: str, direction: Any) -> OneNeuron | Direction:
    if direction is None:
        return OneNeuron.parse(str(sites.check_neuron(model.config, neuron)))
    return check_direction(model, str(sites.check_site(model.config, neuron)), direction)


def _affordable(model: Model, tokens: int) -> int:
    """How many controls, where each writes so many tokens."""
    each = tokens * language_model.parameter_count(model.config)
    return int(np.clip(BUDGET / each, FEWEST, MOST))


def _nothing(edits: Any) -> Any:
    """As many edits that change nothing: the first of all is one."""
    return jax.tree.map(lambda x: x[:1].repeat(len(x), axis=0), edits)


def _judged(
    model: Model,
    judge: Judge,
    prompts: list[bytes],
    made: np.ndarray,
    progress: Callable[[int, int], None],
) -> tuple[np.ndarray, list[list[bytes]]]:
    """Scores (E, P, S), and of each edit the texts without their prompts, (P S)."""
    E, P, S, _ = made.shape
    scores, texts = np.zeros((E, P, S)), []
    for e in range(E):
        written = [[model.vocabulary.decode(made[e, p, s]) for s in range(S)] for p in range(P)]
        for p, prompt in enumerate(prompts):
            scores[e, p] = judge.scores([prompt + text for text in written[p]], [len(prompt)] * S)
        texts.append([text for of_prompt in written for text in of_prompt])
        progress(e + 1, E)
    return scores, texts


def _unjudged(scores: np.ndarray) -> list[str]:
    silent = int((~np.isfinite(scores)).sum())
    return [f"{silent:,} of {scores.size:,} texts had nothing to judge"] if silent else []


def _examples(
    quantiles: Sequence[float], prompts: list[bytes], texts: list[list[bytes]], samples: int
) -> tuple[dict, ...]:
    return tuple(
        {
            "dose": dose,
            "prompt": prompts[p].decode("utf-8", "replace"),
            "text": texts[e][p * samples].decode("utf-8", "replace"),
        }
        for e, dose in enumerate([None, *map(float, quantiles)])
        for p in range(min(SHOWN, len(prompts)))
    )
