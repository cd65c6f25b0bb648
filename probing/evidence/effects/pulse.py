"""How long a neuron remembers a push, and what reads it.

One standard deviation is added to the neuron after one byte, at many places of the text, and the
run is compared with the one without: what is left of the push after each further byte, and how far
the distributions of next bytes lie apart. Beside it stands what the forget gate alone would leave.
Of a model that reads longer tokens all of this is counted in these.
"""

# L steps after the push, M places, H units, D documents

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from mlstm.errors import InputError, check_one
from mlstm.model import language_model, sites
from mlstm.trained import Model
from probing.evidence.claims import Interval
from probing.evidence.effects.readers import Driven, Reading, driven, readout
from probing.evidence.effects.responses import half_lives, medians
from probing.evidence.effects.units import units
from probing.evidence.written import Saved
from probing.states.ids import text_of
from probing.tasks.cleaned import for_model
from probing.tasks.labelled import LabelledData

STEPS, PLACES, CONTEXT = 200, 256, 256


@dataclass(frozen=True, eq=False)
class Pulse(Saved):
    """The response of a neuron, and of what is predicted, to one push of one deviation.

    Medians over places with 95% intervals, by a bootstrap that draws documents.
    """

    neuron: str
    model: str
    data: str
    deviation: float  # of train documents: the push
    documents: int
    places: int
    context: int  # bytes that are read before each, at most
    response: np.ndarray  # (L, 3) median, lower, upper; 1 at the push
    divergence: np.ndarray  # (L, 3) KL(unpushed || pushed) of the next byte, bits
    half_life: Interval  # bytes after which less than half of the push is left
    lasting: float  # share of the places where half of it outlasts the steps
    forget_gate: float  # its median; NaN where the neuron has none
    readout: Reading | None
    driven: tuple[Driven, ...]
    unit: str = "byte"  # or "token": what all of this is counted in

    @property
    def time_constant(self) -> float:
        """-1 / log f, bytes: what the median forget gate alone would make it."""
        return -1 / math.log(self.forget_gate) if 0 < self.forget_gate < 1 else math.nan

    @property
    def gate_half_life(self) -> float:
        return self.time_constant * math.log(2)

    def plain(self) -> dict:
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        fields |= {name: fields[name].tolist() for name in ("response", "divergence")}
        fields["half_life"] = dataclasses.asdict(self.half_life)
        fields["readout"] = dataclasses.asdict(self.readout) if self.readout else None
        fields["driven"] = [dataclasses.asdict(each) for each in self.driven]
        if self.unit == "byte":
            del fields["unit"]
        of_gate = {"time_constant": self.time_constant, "gate_half_life": self.gate_half_life}
        return {"format_version": 1, "kind": "pulse"} | fields | of_gate

    def __str__(self) -> str:
        def at(values: np.ndarray) -> str:
            shown = [t for t in (0, 1, 2, 5, 10, 20, 50, 100, 200) if t < len(values)]
            return ", ".join(f"{values[t, 0]:.3g} at {t}" for t in shown)

        h = self.half_life
        lines = [
            f"{self.neuron}: a push of one deviation ({self.deviation:.4g}) at {self.places} "
            f"places of {self.documents} documents",
            f"  half-life    {_bytes(h.value)} [{_bytes(h.lower)}, {_bytes(h.upper)}] "
            f"{self.unit}s; half of the push outlasts {len(self.response) - 1} {self.unit}s at "
            f"{self.lasting:.0%} of the "
            "places",
        ]
        if not math.isnan(self.time_constant):
            lines.append(
                f"  forget gate  {self.forget_gate:.4f} (median): time constant "
                f"{self.time_constant:.1f}, half-life {self.gate_half_life:.1f} {self.unit}s by "
                "itself"
            )
        lines += [
            f"  response     {at(self.response)} (median, deviations)",
            f"  KL           {at(self.divergence)} (median, bits)",
        ]
        if self.readout:
            lines += [f"  {line}" for line in str(self.readout).splitlines()]
        if self.driven:
            shown = ", ".join(f"{each.neuron} {each.mean:+.3f}" for each in self.driven)
            lines.append(f"  drives       {shown} (mean, own deviations, a {self.unit} later)")
        return "\n".join(lines)


def pulse(
    model: Model,
    neuron: str,
    data: LabelledData,
    *,
    steps: int = STEPS,
    places: int = PLACES,
    context: int = CONTEXT,
    split: str = "test",
    seed: int = 0,
) -> Pulse:
    """Push a neuron at places drawn by the seed from all bytes of a split that have so many behind
    them. Before each, `context` bytes are read from the zero state, or as many as there are. All
    of these, and `steps`, are tokens where the model reads longer ones.

    Raises InputError for an unknown neuron, one that never varies, or texts that are too short.
    """
    check_one(model)
    data = for_model(model, data)
    found = sites.check_neuron(model.config, neuron)
    site, unit, layer = str(found.site), found.unit, found.site.layer
    if steps < 1 or places < 1 or context < 1:
        raise InputError("steps, places and context are 1 or more")
    known = units(model, data, site)
    deviation = float(known.deviation[unit])
    if not known.varies[unit]:
        raise InputError(f"{neuron} never varies: there is no deviation to push it by")
    ids, mask, document = _places(model, data, split, steps, places, context, seed)
    names = sites.sites(model.config)
    state_site = f"{layer}.c" if f"{layer}.c" in names else f"{layer}.h"
    gates = tuple(name for name in (f"{layer}.f", f"{layer}.o") if name in names)
    add = np.zeros((steps + 1, 1, model.config.hidden), np.float32)
    add[0, 0, unit] = deviation
    plain, moved, apart, next_state = _both(
        model.config, model.parameters, ids, mask, add, unit, context - 1, site, state_site, gates
    )
    response = np.asarray(moved, np.float64) / deviation  # (L, M)
    apart = np.asarray(apart, np.float64) / math.log(2)
    f = np.asarray(plain.get(f"{layer}.f", ()))
    half, lasting = half_lives(response)
    of_state = known if site == state_site else units(model, data, state_site)
    has_gate = found.site.name in ("c", "h") and len(f)
    return Pulse(
        neuron=neuron,
        model=model.origin,
        data=data.origin,
        deviation=deviation,
        documents=len(np.unique(document)),
        places=len(document),
        context=context,
        response=medians(response, document, seed),
        divergence=medians(apart, document, seed),
        half_life=Interval(*(float(x) for x in medians(half[None], document, seed)[0])),
        lasting=lasting,
        forget_gate=float(np.median(f)) if has_gate else math.nan,
        readout=readout(model, found, plain, deviation),
        driven=driven(state_site, np.asarray(next_state, np.float64), of_state, neuron),
        unit="byte" if model.vocabulary.bytewise else "token",
    )


def _places(model, data, split, steps, places, context, seed):
    """ids and mask (context + steps, M), each place's own byte at row context - 1; and of each the
    document (M,)."""
    documents, bytewise = data.indices(split), model.vocabulary.bytewise
    if bytewise:
        texts = []
        sizes = [len(data.documents[i].data) for i in documents]
    else:
        texts = [text_of(model, data, int(i)).ids for i in documents]
        sizes = [len(text) for text in texts]
    room = np.array([max(0, size - steps) for size in sizes])
    if not room.sum():
        what = "bytes" if bytewise else "tokens"
        raise InputError(f"{data.origin}: no {split} document has more than {steps} {what}")
    draw = np.random.default_rng(seed)
    chosen = np.sort(draw.choice(room.sum(), min(places, int(room.sum())), replace=False))
    ends = np.cumsum(room)
    which = np.searchsorted(ends, chosen, side="right")
    ids = np.zeros((context + steps, len(chosen)), np.int32)
    mask = np.zeros(ids.shape, bool)
    for m, (nth, place) in enumerate(zip(which, chosen - (ends - room)[which], strict=True)):
        first = max(0, place + 1 - context)
        if bytewise:
            text = model.vocabulary.encode(
                data.documents[documents[nth]].data[first : place + 1 + steps]
            )
        else:
            text = texts[nth][first : place + 1 + steps]
        ids[len(ids) - len(text) :, m] = text
        mask[len(ids) - len(text) :, m] = True
    return ids, mask, which


@functools.partial(jax.jit, static_argnames=("config", "before", "site", "state_site", "gates"))
def _both(config, parameters, ids, mask, add, unit, before, site, state_site, gates):
    """What the unit is, and its gates are, in the unpushed run, by site (L, M); what it is more in
    the pushed one (L, M); the divergence (L, M); the difference of all units of `state_site` a step
    later (M, H)."""
    both = tuple(dict.fromkeys((site, state_site)))

    def run(ids, mask, state, edits=None, emit=()):
        return language_model.forward(
            config, parameters, ids, state, mask=mask, edits=edits, emit=emit
        )

    state = language_model.initial_state(config, ids.shape[1])
    if before:
        state = run(ids[:before], mask[:before], state).state
    plain = run(ids[before:], mask[before:], state, emit=tuple(dict.fromkeys((*both, *gates))))
    edits = {site: ({"at": {"add": add}},)}
    pushed = run(ids[before:], mask[before:], state, edits, both)
    expected, other = (
        jax.nn.log_softmax(language_model.logits(parameters, out.hidden, config.products))
        for out in (plain, pushed)
    )
    apart = jnp.maximum(jnp.sum(jnp.exp(expected) * (expected - other), axis=-1), 0)
    own = {name: states[..., unit] for name, states in plain.emitted.items()}
    moved = pushed.emitted[site][..., unit] - own[site]
    later = pushed.emitted[state_site][1] - plain.emitted[state_site][1]
    return own, moved, apart, later


def _bytes(value: float) -> str:
    return "-" if math.isnan(value) else "more" if math.isinf(value) else f"{value:.1f}"
