"""Find out what the neurons of a model know: tasks and states give evidence, views show it."""

from probing import protocols, tasks
from probing.evidence.claim_sets import Claims
from probing.evidence.claims import Claim
from probing.evidence.controls import random_twin
from probing.evidence.effects import (
    Attribution,
    Curves,
    Effect,
    Necessity,
    Pulse,
    Sweep,
    attribute,
    curves,
    effect,
    necessity,
    pulse,
    sweep,
)
from probing.evidence.matching import match_neurons
from probing.evidence.scores import NeuronTable
from probing.evidence.steering import Steering, steer
from probing.evidence.verify import verify
from probing.neurons import score_neurons
from probing.states.arrays import arrays, arrays_nbytes

__all__ = [
    "Attribution",
    "Claim",
    "Claims",
    "Curves",
    "Effect",
    "Necessity",
    "NeuronTable",
    "Pulse",
    "Steering",
    "Sweep",
    "arrays",
    "arrays_nbytes",
    "attribute",
    "curves",
    "effect",
    "match_neurons",
    "necessity",
    "protocols",
    "pulse",
    "random_twin",
    "score_neurons",
    "steer",
    "sweep",
    "tasks",
    "verify",
]
