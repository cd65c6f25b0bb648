"""Sufficiency: a neuron, or a direction, is steered while the model writes, and the text judged."""

from probing.evidence.steering.result import Dose, Level, Steering
from probing.evidence.steering.steer import steer

__all__ = ["Dose", "Level", "Steering", "steer"]
