"""The report of a protocol as one self-contained HTML file: what it prints, its figures, and of the
sentiment protocol the texts that are told wrongly."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from probing.protocols.radford import Mistake, RadfordReport
from probing.views import inline

_STYLE = "".join(
    (Path(__file__).parent / name).read_text("utf-8")
    for name in ("report.css", "protocol_report.css")
)


def page(protocol: str, report: Any, drawn: Mapping[str, str]) -> str:
    """The HTML document. drawn: the figures as SVG documents, by name."""
    pictures = "\n".join(
        f"<figure class=drawn>{inline.fragment(svg, name)}</figure>" for name, svg in drawn.items()
    )
    figures = f"<section><h2>Figures</h2>{pictures}</section>" if drawn else ""
    wrong = _wrong(report) if isinstance(report, RadfordReport) else ""
    name = _text(protocol)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{name}: {_text(report.model)}</title>
<style>{_STYLE}</style></head><body><main>
<header><p class="over">protocol · {name}</p>
<h1>{_headline(protocol, report)}</h1>
<dl class=facts><div><dt>model</dt><dd>{_text(report.model)}</dd></div>
<div><dt>data</dt><dd>{_text(report.data)}</dd></div>
<div><dt>states</dt><dd>{_text(report.site)}</dd></div></dl></header>
<section><h2>What it prints</h2><pre class=printed tabindex=0>{_text(report)}</pre></section>
{figures}
{wrong}
</main></body></html>
"""


def _headline(protocol: str, report: Any) -> str:
    if not isinstance(report, RadfordReport):
        return _text(protocol)
    beside = {"most frequent label": report.majority}
    if report.comparisons:
        best = report.comparisons[0].best
        beside[best] = report.comparisons[0].beside[best]
    others = "".join(f", {_text(name)} {share:.1%}" for name, share in beside.items())
    return (
        f"Neuron {_text(report.neuron)} alone gets {report.neuron_test:.1%} of the test documents "
        f"right <span class=soft>all neurons {report.test:.1%}{others}</span>"
    )


def _wrong(report: RadfordReport) -> str:
    documents = report.documents["test"]
    probe, neuron = (round((1 - share) * documents) for share in (report.test, report.neuron_test))
    positive = _text(report.positive)
    return (
        "<section><h2>What is told wrongly</h2><p class=note>Test documents, the surest mistakes "
        "first: their true label, and what was told of them.</p>"
        + _list("all neurons", report.mistakes, probe, f"P({positive})", "{:.3f}")
        + _list(f"neuron {report.neuron}", report.neuron_mistakes, neuron,
                f"beyond its threshold, towards {positive}", "{:+.3f}")
        + "</section>"
    )  # fmt: skip


def _list(name: str, mistakes: Sequence[Mistake], every: int, score: str, written: str) -> str:
    items = "\n".join(
        f"<li><p><b>{_text(m.label)}</b> <span class=soft>{score} "
        f"{written.format(m.score).replace('-', '−')}</span></p>"
        f"<blockquote tabindex=0>{_text(m.text)}</blockquote></li>"
        for m in mistakes
    )
    return (
        f"<details open><summary>{_text(name)}: {len(mistakes)} of {every} shown</summary>"
        f"<ol class=wrong>{items}</ol></details>"
    )


def _text(text: Any) -> str:
    return html.escape(str(text))
