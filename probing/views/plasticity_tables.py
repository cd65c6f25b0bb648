"""A study of plasticity as csv: the curves, one figure a row; the neurons, as the neuroplasticity
analysis (Lo, Cohen, Barez 2024) has them."""

from __future__ import annotations

from probing.plasticity.report import Arm, PlasticityReport
from probing.views.tables import to_csv


def of(report: PlasticityReport) -> dict[str, str]:
    """The csv of each table, by name."""
    found = {"plasticity_curves": curves_csv(report), "plasticity_roles": roles_csv(report)}
    for arm in report.arms:
        found[f"plasticity_neurons-{arm.arm}-{arm.seed}"] = neurons_csv(report, arm)
    return found


def curves_csv(report: PlasticityReport) -> str:
    """Tidy: arm, seed, step, figure, value. The base model is the arm "before", of no step."""
    rows = [["before", "", "", name, value] for name, value in report.base.figures.items()]
    rows += [
        [arm.arm, arm.seed, step, name, value]
        for arm in report.arms
        for step, found in arm.curve.items()
        for name, value in found.figures.items()
    ]
    return to_csv(["arm", "seed", "step", "figure", "value"], rows)


def roles_csv(report: PlasticityReport) -> str:
    """Each old neuron of each arm at each step, and the neuron that is given its role."""
    rows = [
        [arm.arm, arm.seed, step, r.old, r.new, r.correlation, r.before, int(r.taken), int(r.newly)]
        for arm in report.arms
        for step, found in arm.curve.items()
        for r in found.roles
    ]
    names = ["old", "new", "correlation", "correlation_before", "taken", "newly"]
    return to_csv(["arm", "seed", "step", *names], rows)


def neurons_csv(report: PlasticityReport, arm: Arm) -> str:
    """One row for each neuron of the ranked sites: its top words before (`current_concepts`), right
    behind the pruning and along the retraining (`concepts_1` ...), its saliency at the same times
    (empty where it is pruned), and the step that each column is of, in its name."""
    steps = list(arm.curve)
    names = ["neuron-id", "neuron", "pruned", "current_concepts"]
    names += [f"concepts_{n}" for n in range(1, len(steps) + 1)]
    names += ["saliency_current", *(f"saliency_{n}" for n in range(1, len(steps) + 1))]
    names += [f"step_{n}" for n in range(1, len(steps) + 1)]
    times = [report.base, *arm.curve.values()]
    rows, number = [], 0
    for site in report.question["sites"]:
        for unit in range(len(report.base.words[site])):
            pruned = unit in arm.pruned.get(site, ())
            words = [" ".join(found.words[site][unit]) for found in times]
            saliency = [found.saliency[site][unit] for found in times]
            rows.append([number, f"{site}[{unit}]", int(pruned), *words, *saliency, *steps])
            number += 1
    return to_csv(names, rows)
