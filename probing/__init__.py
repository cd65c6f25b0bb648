"""Find out what the neurons of a model know: tasks and states give evidence, views show it."""

from probing import tasks
from probing.evidence.controls import random_twin
from probing.evidence.scores import NeuronTable
from probing.neurons import score_neurons
from probing.states.arrays import arrays, arrays_nbytes

__all__ = ["NeuronTable", "arrays", "arrays_nbytes", "random_twin", "score_neurons", "tasks"]
