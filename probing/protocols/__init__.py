"""Published protocols, step by step, by name."""

from probing.protocols.concept_neurons import concept_neurons
from probing.protocols.diagnostic import diagnostic
from probing.protocols.full_probe import full_probe
from probing.protocols.radford import radford

__all__ = ["concept_neurons", "diagnostic", "full_probe", "radford"]
