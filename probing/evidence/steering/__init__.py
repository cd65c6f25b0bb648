"""Sufficiency: a neuron, or a direction, is steered while the model writes, and the text judged."""

from probing.evidence.steering.dose_response import steer
from probing.evidence.steering.result import Dose, Level, Steering

__all__ = ["Dose", "Level", "Steering", "steer"]
