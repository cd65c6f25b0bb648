"""Prune the neurons of a concept, retrain, and watch the concept come back, beside twins."""

from probing.plasticity.report import PlasticityReport
from probing.plasticity.retraining import Interrupted
from probing.plasticity.study import plasticity

__all__ = ["Interrupted", "PlasticityReport", "plasticity"]
