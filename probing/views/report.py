"""One self-contained HTML file: what the best neurons know, beside their controls.

No script, font, image or style comes from elsewhere; it opens from a disk without a network.
"""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mlstm.model.sites import parse_neuron
from mlstm.output import write_whole
from probing.evidence.scores import TEST, NeuronTable, Row
from probing.examples import Example
from probing.states.statistics import Summary
from probing.views import charts
from probing.views.reading import reading
from probing.views.scale import LEVELS, Scale, palette, scale_of
from probing.views.terminal import glyphs

BARS = 56
CLEAR = 0.05  # of AUC: a smaller lead over the twin makes no headline
_STYLE = (Path(__file__).parent / "report.css").read_text("utf-8")


def write(
    path: str | os.PathLike,
    table: NeuronTable,
    examples: Sequence[Example],
    *,
    facts: Mapping[str, str] | None = None,
    curve: Sequence[tuple[int, float]] = (),
    meaning: Mapping[str, str] | None = None,
) -> None:
    """Write the report. InputError where the file cannot be written.

    facts: lines for the head, such as {"bits per byte": "2.13 on the test split"}.
    curve: (step, bits per byte on validation) of the training.
    meaning: of a concept, in a sentence.
    """
    write_whole(path, page(table, examples, facts=facts, curve=curve, meaning=meaning))


def page(
    table: NeuronTable,
    examples: Sequence[Example],
    *,
    facts: Mapping[str, str] | None = None,
    curve: Sequence[tuple[int, float]] = (),
    meaning: Mapping[str, str] | None = None,
) -> str:
    """The report as one HTML document; arguments as for `write`."""
    shown = {example.row.concept: example for example in examples}
    rows = table.rows()
    cards = "\n".join(
        _card(table, row, shown.get(row.concept), (meaning or {}).get(row.concept, ""))
        for row in rows
    )
    training = ""
    if len(curve) > 1:
        training = f"<section><h2>Training</h2>{charts.curve(curve)}</section>"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{_text(table.task)}: {_text(table.model)}</title>
<style>{_STYLE}{palette()}</style></head><body><main>
<header><p class="over">neurons and concepts · {_text(table.task)}</p>
<h1>{_headline(rows)}</h1>
{_facts(table, facts or {})}</header>
<section><h2>The best neuron for each concept</h2>
{_summary(table, rows)}
{reading(table)}</section>
{training}
<section><h2>Concept by concept</h2>
<p class="note">Each passage is of a test document, chosen by its labels alone. Its ground is
coloured by the neuron's value after each character (blue below its median, orange above);
what truly belongs to the concept is <span class="on">underlined</span>. Point at a character for
its value. The histograms are of all test {table.unit}s; each side is scaled to its own sum.</p>
{cards}</section>
</main></body></html>
"""


def _headline(rows: Sequence[Row]) -> str:
    """The class with the clearest lead over the twin on train, and its test figure."""
    named = [row for row in rows if row.metric == "AUC" and row.neuron and not np.isnan(row.test)]
    if not named:
        return "No class could be scored"
    best = max(named, key=lambda row: row.train - (row.twin_train if row.twin_neuron else 0.5))
    twin = f", a random twin’s best {best.twin_test:.2f}" if best.twin_neuron else ""
    figures = f'<span class="soft">test AUC {best.test:.2f}{twin}</span>'
    if best.test - (best.twin_test if best.twin_neuron else 0.5) < CLEAR:
        return f"No neuron clearly leads its random twin {figures}"
    concept = _text(_pretty(best.concept))
    return f"Neuron {_text(best.neuron)} follows “{concept}” {figures}"


def _facts(table: NeuronTable, facts: Mapping[str, str]) -> str:
    lines = {
        "model": table.model,
        "data": f"{table.data} · {sum(table.documents)} documents, {sum(table.bytes):,} bytes",
        "data sha256": table.data_digest[:16],
        "neurons": f"{len(table.sites) * table.units} at {', '.join(table.sites)}",
        **facts,
    }
    if table.skipped:
        names = ", ".join(f"{name} ({reason})" for name, reason in table.skipped[:3])
        more = ", …" if len(table.skipped) > 3 else ""
        lines["not labelled"] = f"{len(table.skipped)} documents: {names}{more}"
    if table.notes:
        lines["note"] = "; ".join(table.notes)
    return (
        "<dl class=facts>"
        + "".join(f"<div><dt>{_text(k)}</dt><dd>{_text(v)}</dd></div>" for k, v in lines.items())
        + "</dl>"
    )


def _summary(table: NeuronTable, rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        if row.concept in table.numbers[:1]:
            lines.append(
                "<tr class=part><td colspan=12><span>numbers: correlation with the value, not AUC"
                "</span></td></tr>"
            )
        concept = f'<td><a href="#{_anchor(row.concept)}">{_text(_pretty(row.concept))}</a></td>'
        if not row.neuron:
            lines.append(f"<tr>{concept}<td colspan=11 class=soft>not in the train split</td></tr>")
            continue
        lines.append(
            f"<tr>{concept}<td><code>{_text(row.neuron)}</code></td>"
            f"<td>{'higher' if row.direction > 0 else 'lower'}</td>"
            f"<td class=wide>{charts.meter(row)}</td>"
            f"<td class=n><b>{_number(row.test)}</b></td>"
            f"<td class=n>{_interval(row)}</td>"
            f"<td class=n>{_number(row.twin_test)}</td>"
            f"<td class=n>{_number(row.surface)}</td>"
            f"<td class=n>{_number(row.control_test)}</td>"
            f"<td class=n>{_number(row.majority)}</td>"
            f"<td class=n>{_number(row.p)}</td>"
            f"<td class=n>{row.n_on:,}</td></tr>"
        )
    return (
        '<div class="scroll" role="region" tabindex="0" aria-label="the best neurons">'
        "<table><thead><tr><th>concept<th>neuron<th>direction"
        "<th class=wide>"
        '<span class="key model"></span>neuron <span class="key twin"></span>twin'
        f"<th class=n>test AUC<th class=n>95%<th class=n>twin"
        f"<th class=n>surface<th class=n>control<th class=n>majority<th class=n>p"
        f"<th class=n>{table.unit}s on</tr></thead><tbody>"
        + "\n".join(lines)
        + "</tbody></table></div>"
    )


def _card(table: NeuronTable, row: Row, example: Example | None, meaning: str) -> str:
    title = (
        f'<article id="{_anchor(row.concept)}"><h3>{_text(_pretty(row.concept))} '
        f"<code>{_text(row.neuron)}</code></h3>"
    )
    if meaning:
        title += f"<p class=soft>{_text(meaning)}</p>"
    if not row.neuron:
        return title + "<p>Nothing in the train split has it.</p></article>"
    neuron = parse_neuron(row.neuron)
    summary = table.summaries.get(str(neuron.site))
    figures = [
        (f"test {row.metric}", _number(row.test)),
        ("of the twin", _number(row.twin_test)),
        (f"train {row.metric}", _number(row.train)),
        ("of the twin", _number(row.twin_train)),
    ]
    if row.metric == "AUC":
        figures += [("Cohen's d", _number(row.cohen_d)), (f"{table.unit}s on / off", _counts(row))]
    body = (
        '<div class="figures">'
        + "".join(f"<div><b>{value}</b><span>{name}</span></div>" for name, value in figures)
        + "</div>"
    )
    if summary is not None:
        scale = scale_of(summary, neuron.unit)
        body += _histogram(table, row, summary, neuron.unit)
        if example is not None:
            body += _legend(scale, row) + _passage(example, scale)
        else:
            body += "<p class=soft>It does not appear near the start of any test document.</p>"
    return f"{title}{body}</article>"


def _histogram(table: NeuronTable, row: Row, summary: Summary, unit: int) -> str:
    if row.concept not in table.classes:
        borders, every, _ = summary.density(unit, 0, slice(TEST, None), BARS)
        return charts.histogram(borders, {"off": ("", every)})
    label = 1 + table.classes.index(row.concept)
    borders, on, off = summary.density(unit, label, slice(TEST, None), BARS)
    named = {"off": ("elsewhere", off), "on": (f"in {_pretty(row.concept)}", on)}
    return charts.histogram(borders, {side: part for side, part in named.items() if part[1].any()})


def _legend(scale: Scale, row: Row) -> str:
    cells = "".join(f'<i class="a{k}"></i>' for k in range(LEVELS))
    low, median, high = (
        f"{scale.centre + part * scale.reach:+.2f}".replace("-", "−") for part in (-1, 0, 1)
    )
    named = f"is “{_text(_pretty(row.concept))}”"
    if row.metric == "r":
        named = f"where “{_text(_pretty(row.concept))}” is large"
    return (
        f'<div class="legend"><span>{low}</span><div>{cells}</div><span>{high}</span>'
        f'<span class="soft">median {median}; '
        f"{'high' if row.direction > 0 else 'low'} {named}</span></div>"
    )


def _passage(example: Example, scale: Scale) -> str:
    parts = []
    for glyph in glyphs(example.data, example.values):
        label = example.labels[glyph.start]
        level = scale.level(glyph.value)
        marked = " on" if label.dtype == bool and label else ""
        says = f"{glyph.value:+.3f}" if label.dtype == bool else f"{glyph.value:+.3f} at {label:g}"
        text = {"\n": "<s>¶</s>\n", "\t": "<s>→</s>\t"}.get(glyph.text) or _text(glyph.text)
        if len(glyph.text) > 1:
            marked += " raw"
        parts.append(f'<i class="a{level}{marked}" title="{says}">{text}</i>')
    return (
        f"<figure><pre>{''.join(parts)}</pre>"
        f"<figcaption>{_text(example.document)}, line {example.line}</figcaption></figure>"
    )


def _interval(row: Row) -> str:
    return "–" if np.isnan(row.low) else f"{row.low:.3f}–{row.high:.3f}"


def _counts(row: Row) -> str:
    return f"{row.n_on:,} / {row.n_off:,}"


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}".replace("-", "−")


def _pretty(concept: str) -> str:
    return concept.replace(">=", "≥")


def _anchor(concept: str) -> str:
    return "".join(c if c.isalnum() else f"-{ord(c):x}-" for c in concept)


def _text(text: str) -> str:
    return html.escape(str(text))
