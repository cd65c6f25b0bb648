"""What a neuron does, and not only what it follows: edits of a running model, and their effects."""

from probing.evidence.effects.attribution import Attribution, attribute
from probing.evidence.effects.curves import Curves, curves
from probing.evidence.effects.effect import Effect, effect
from probing.evidence.effects.necessity import Necessity, necessity
from probing.evidence.effects.pulse import Pulse, pulse
from probing.evidence.effects.sweep import Sweep, sweep

__all__ = [
    "Attribution",
    "Curves",
    "Effect",
    "Necessity",
    "Pulse",
    "Sweep",
    "attribute",
    "curves",
    "effect",
    "necessity",
    "pulse",
    "sweep",
]
