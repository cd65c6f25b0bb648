"""Classifiers on states, with scikit-learn's conventions."""

from probing.evidence.probes.logistic import RADFORD_GRID, LogisticProbe, choose_C
from probing.evidence.probes.mdl import MDLProbe
from probing.evidence.probes.metrics import Metrics
from probing.evidence.probes.neurons import SingleNeuronProbes
from probing.evidence.probes.saved import SavedProbe, load_probe, save_probe
from probing.evidence.probes.sparse import SparseProbe, sparse_curve
from probing.evidence.probes.statistical import GaussianProbe, LDAProbe, RidgeProbe
from probing.evidence.probes.sums import FoldSums

__all__ = [
    "RADFORD_GRID",
    "FoldSums",
    "GaussianProbe",
    "LDAProbe",
    "LogisticProbe",
    "MDLProbe",
    "Metrics",
    "RidgeProbe",
    "SavedProbe",
    "SingleNeuronProbes",
    "SparseProbe",
    "choose_C",
    "load_probe",
    "save_probe",
    "sparse_curve",
]
