"""What a result looks like: matplotlib figures, each a pure function of the result.

They are drawn without pyplot, so that nothing is shown, kept or left behind; they read in black and
white by marker, hatch and line, and their colours are told apart by the colour-blind.
"""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from mlstm.output import write_whole
from mlstm.run_comparison import RunComparison
from probing.evidence.effects.curves import Curves
from probing.evidence.effects.effect import Effect
from probing.evidence.effects.pulse import Pulse
from probing.evidence.effects.sweep import Sweep
from probing.evidence.scores import NeuronTable
from probing.evidence.steering.result import Steering
from probing.plasticity.report import PlasticityReport
from probing.protocols.concept_neurons import ConceptNeuronsReport
from probing.protocols.diagnostic import DiagnosticReport
from probing.protocols.full_probe_report import FullProbeReport
from probing.protocols.radford import RadfordReport
from probing.views.figures import (
    concept_neurons,
    diagnostic,
    effects,
    full_probe,
    neurons,
    plasticity,
    radford,
    runs,
    steering,
)
from probing.views.figures.style import STYLE

DPI = 150
KINDS = {
    NeuronTable: neurons.figures,
    RadfordReport: radford.figures,
    ConceptNeuronsReport: concept_neurons.figures,
    DiagnosticReport: diagnostic.figures,
    FullProbeReport: full_probe.figures,
    Steering: steering.figures,
    Effect: effects.of_effect,
    Curves: effects.of_curves,
    Pulse: effects.of_pulse,
    Sweep: effects.of_sweep,
    PlasticityReport: plasticity.figures,
    RunComparison: runs.figures,
}


def of(result: Any) -> dict[str, Figure]:
    """The figures of a table or of a protocol's report, by file name; none of another thing."""
    draw = KINDS.get(type(result))
    return draw(result) if draw else {}


def write(result: Any, folder: str | os.PathLike) -> dict[str, str]:
    """Save the figures of a result as NAME.svg and NAME.png, and return the SVG of each by name.
    InputError where they cannot be written."""
    return {name: save(figure, folder, name) for name, figure in of(result).items()}


def save(figure: Figure, folder: str | os.PathLike, name: str) -> str:
    """Write FOLDER/NAME.svg and FOLDER/NAME.png, each whole or not at all, and return the SVG.
    InputError where that cannot be done."""
    drawn = svg(figure)
    write_whole(Path(folder) / f"{name}.svg", drawn)
    write_whole(Path(folder) / f"{name}.png", _file(figure, "png", dpi=DPI))
    return drawn


def svg(figure: Figure) -> str:
    """The figure as one SVG document, the same for the same figure; its text is text."""
    return _file(figure, "svg", metadata={"Date": None}).decode("utf-8")


def _file(figure: Figure, kind: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    with rc_context(STYLE), warnings.catch_warnings():
        # Of a concept's name in letters that the PNG's font lacks; the SVG has them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(file, format=kind, **settings)
    return file.getvalue()
