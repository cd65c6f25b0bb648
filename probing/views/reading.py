"""What the numbers of a report mean."""

from __future__ import annotations

from probing.evidence.scores import TEST, TRAIN, NeuronTable


def reading(table: NeuronTable) -> str:
    """Each column of the report's table in a sentence or two, as an HTML list."""
    twin = (
        "<dt>twin</dt><dd>the best neuron of the same architecture with random, untrained "
        f"parameters (seed {table.twin_seed}; of a model that was imported, with its own, "
        "shuffled), chosen and tested in the same way. What it reaches is what the bytes give away "
        "without learning.</dd>"
        if table.twin is not None
        else ""
    )
    return f"""<details open><summary>What the numbers mean</summary><dl class=notes>
<dt>test AUC</dt><dd>the chance that the neuron is further in its direction at a random
{table.unit} of the concept than at a random other: 0.5 is chance, 1 is perfect. Each neuron is
tried in both
directions.</dd>
<dt>train, test</dt><dd>the best of {len(table.sites) * table.units} neurons and its direction are
chosen on {table.documents[TRAIN]} documents ({table.bytes[TRAIN]:,} bytes); the figures shown are
from {table.documents[TEST]} others ({table.bytes[TEST]:,} bytes), looked at once. No document is in
both.</dd>
{twin}
<dt>direction</dt><dd>whether the neuron's values are higher or lower in the concept than
elsewhere; of a number, whether they rise or fall with it.</dd>
<dt>95%</dt><dd>interval of the test AUC, over documents drawn anew (jackknife).</dd>
<dt>exact to</dt><dd>{_bound(table)}: values are counted in 256 bins, and this is the most that the
mass tied in them can move an AUC. It is not a confidence interval.</dd>
<dt>surface, control</dt><dd>{_controls(table)}</dd>
<dt>majority</dt><dd>share of test {table.unit}s on the more frequent side.</dd>
<dt>p</dt><dd>{_null(table)}</dd>
<dt>{table.unit}s on</dt><dd>test {table.unit}s in the concept (“off”: all others); of a number,
all.</dd>
<dt>Cohen's d</dt><dd>the difference of the neuron's means on and off, in standard deviations within
them.</dd>
<dt>follows</dt><dd>an association on held-out text. Whether the model uses the neuron is another
question: that takes an experiment on the model.</dd></dl></details>"""


def _controls(table: NeuronTable) -> str:
    if table.surface is None:
        return "controls left out."
    return (
        "what a regression on the bytes alone reaches on test; and the best neuron for random "
        "labels of types (– where documents are labelled)."
    )


def _null(table: NeuronTable) -> str:
    if table.significance is None:
        return "left out: no draws of the null."
    return (
        f"of the neuron under {table.significance.draws} draws of permuted labels, against the "
        f"largest statistic of all {len(table.sites) * table.units} neurons."
    )


def _bound(table: NeuronTable) -> str:
    bounds = [row.bound for row in table.rows() if row.metric == "AUC" and row.neuron]
    return f"{max(bounds, default=0):.4f}"
