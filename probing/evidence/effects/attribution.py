"""Which bytes of a text a neuron's value, or the probability of a byte, comes from.

Both ways attribute to the embedding of each byte, or of each token of a model that reads longer
ones, and what is said here of bytes is then said of tokens. Gradient x input is the gradient times
the embedding's distance from a baseline, at the text; integrated gradients (Sundararajan, Taly and
Yan 2017) is the mean gradient on the way from the baseline to the text, times that distance, by
Gauss-Legendre quadrature. Its attributions sum to the difference of the two ends, but for the error
of the quadrature, which is told.
"""

# T bytes or tokens, S points on the way, E embedding

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from mlstm.errors import InputError, check_one
from mlstm.model import language_model, sites
from mlstm.trained import Model
from probing.evidence.written import Saved
from probing.states.ids import read

POINTS = 64
AT_ONCE = 1 << 16  # points x bytes
LONGEST = 1 << 14  # bytes
BASELINES = ("mean", "zero")


@dataclass(frozen=True, eq=False)
class Attribution(Saved):
    """What each byte, or token, contributes to one number."""

    text: bytes  # what is attributed to
    of: str
    baseline: str
    points: int
    value: float  # of the text
    at_baseline: float
    gradient_x_input: np.ndarray  # (T,)
    integrated: np.ndarray  # (T,) sums to value - at_baseline, but for `error`
    ends: np.ndarray | None = None  # (T,) the byte after each token; None where each is a byte

    @property
    def error(self) -> float:
        """Sum of the integrated gradients less the difference that it should be."""
        return float(self.integrated.sum() - (self.value - self.at_baseline))

    def plain(self) -> dict:
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        if fields.pop("ends") is not None:
            fields["ends"] = np.asarray(self.ends).tolist()
        return {
            "format_version": 1,
            "kind": "attribution",
            **fields,
            "text": self.text.decode("latin-1"),  # a letter for each byte
            "gradient_x_input": self.gradient_x_input.tolist(),
            "integrated": self.integrated.tolist(),
            "error": self.error,
        }

    def __str__(self) -> str:
        lines = [
            f"{self.of} of {len(self.text):,} bytes: {self.value:.4f}, {self.at_baseline:.4f} at "
            f"the baseline ({self.baseline} embedding); integrated gradients sum to "
            f"{self.integrated.sum():+.4f}, completeness error {self.error:+.2e}",
            f"  {'byte':>6}  {'':<10}{'integrated':>11}{'gradient x input':>18}",
        ]
        for t in np.argsort(-np.abs(self.integrated), kind="stable")[:10]:
            shown = self._shown(t)
            both = f"{self.integrated[t]:>+11.4f}{self.gradient_x_input[t]:>+18.4f}"
            lines.append(f"  {self._first(t):>6}  {shown:<10}{both}")
        return "\n".join(lines)

    def _first(self, t: int) -> int:
        """Its first byte."""
        return t if self.ends is None else int(self.ends[t - 1]) if t else 0

    def _shown(self, t: int) -> str:
        if self.ends is None:
            return repr(self.text[t : t + 1])[2:-1]
        return repr(self.text[self._first(t) : self.ends[t]].decode("utf-8", "replace"))


def attribute(
    model: Model,
    text: str | bytes,
    of: str | int,
    *,
    baseline: str = "mean",
    points: int = POINTS,
) -> Attribution:
    """Attribute one number to the bytes of a text.

    Args:
      of: a neuron, "0.c[17]": its value after the last byte. Or a position of the text, counted
        from the end if negative: the log probability (nats) of the byte there, attributed to the
        bytes before it; or of the token that holds it, to the tokens before that.
      baseline: in place of each embedding "mean", that of all bytes of the text, or "zero".
      points: of the quadrature; more make the completeness error smaller.

    Raises InputError for an unknown neuron, a position without a byte before it, an empty text.
    """
    check_one(model)
    if baseline not in BASELINES:
        raise InputError(f'a baseline "{baseline}"; it is one of {", ".join(BASELINES)}')
    if points < 1:
        raise InputError(f"{points} points; at least 1")
    data = text.encode("utf-8") if isinstance(text, str) else bytes(text)
    neuron = target = None
    if isinstance(of, str):
        neuron, named = sites.check_neuron(model.config, of), of
    else:
        place = of + len(data) if of < 0 else of
        if not 0 < place < len(data):
            raise InputError(
                f"position {of} of a text of {len(data)} bytes: it has to be a byte with one before"
            )
        target, named = place, f"log p(byte {place}, {data[place : place + 1]!r})"
        if model.vocabulary.bytewise:
            data = data[: place + 1]
    known = read(model, data)
    ids = known.ids.astype(np.int32)
    if target is not None:
        step = int(known.steps(np.array(target)))
        first, behind = known.before(step), known.before(step + 1)
        if not step:
            raise InputError(
                f"position {of} is in the first token of the text, {data[:behind]!r}: there is "
                "none before it"
            )
        if known.ends is not None:
            told = repr(data[first:behind].decode("utf-8", "replace"))
            named = f"log p(token at byte {first}, {told})"
        target, data = int(ids[step]), data[:first]
        ids, known = ids[:step], known.first(first)
    if not 0 < len(data) <= LONGEST:
        raise InputError(f"a text of {len(data):,} bytes; it has from 1 to {LONGEST:,}")
    embedded = jnp.asarray(language_model.embedding_of(model.config, model.parameters))[ids]
    start = jnp.broadcast_to(embedded.mean(0) if baseline == "mean" else 0.0, embedded.shape)
    site, unit = (str(neuron.site), neuron.unit) if neuron else (None, 0)

    def gradients(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = []
        for k in range(0, len(shares), max(1, AT_ONCE // len(ids))):
            some = jnp.asarray(shares[k : k + max(1, AT_ONCE // len(ids))], embedded.dtype)
            parts.append(
                _gradients(
                    model.config, model.parameters, start, embedded, some, site, unit, target or 0
                )
            )
        values, slopes = (np.concatenate(each) for each in zip(*parts, strict=True))
        return values.astype(np.float64), slopes.astype(np.float64)

    places, weights = np.polynomial.legendre.leggauss(points)
    ends, slopes = gradients(np.array([0.0, 1.0]))
    _, on_the_way = gradients((places + 1) / 2)
    return Attribution(
        data,
        named,
        baseline,
        points,
        float(ends[1]),
        float(ends[0]),
        slopes[1],
        (weights / 2) @ on_the_way,
        known.ends,
    )


@functools.partial(jax.jit, static_argnames=("config", "site"))
def _gradients(config, parameters, start, end, shares, site, unit, target):
    """(S,) the number at each share of the way, and (S, T) gradient x (end - start) there."""
    way = end - start
    at = start[:, None] + shares[:, None] * way[:, None]  # (T, S, E)

    def number(at):
        out = language_model.forward(
            config,
            parameters,
            None,
            language_model.initial_state(config, len(shares), at.dtype),
            emit=(site,) if site else (),
            embedded=at,
        )
        if site:
            found = out.emitted[site][-1, :, unit]
        else:
            targets = jnp.full(len(shares), target)
            found = -language_model.negative_log_likelihood(
                config, parameters, out.hidden[-1], targets
            )
        return found.sum(), found

    gradient, found = jax.grad(number, has_aux=True)(at)
    return found, jnp.einsum("tse,te->st", gradient, way)
