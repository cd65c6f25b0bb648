"""Text coloured by one neuron, in the terminal: blue below its median, orange above."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

import numpy as np

from mlstm.model.sites import parse_neuron
from probing.evidence.scores import NeuronTable
from probing.examples import Example
from probing.views.scale import Scale, scale_of


@dataclass(frozen=True)
class Glyph:
    """One character as it is shown, with the mean value of its bytes."""

    text: str
    value: float
    start: int  # its first byte
    end: int


def glyphs(data: bytes, values: np.ndarray) -> Iterator[Glyph]:
    """Characters of UTF-8 text; a byte that is part of none, or a control, becomes an escape.

    A passage may begin or end within a character: its bytes are then shown as escapes.
    """
    place = 0
    while place < len(data):
        end, text = _character(data, place)
        yield Glyph(text, float(np.mean(values[place:end])), place, end)
        place = end


def _character(data: bytes, place: int) -> tuple[int, str]:
    first = data[place]
    length = 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    try:
        text = data[place : place + length].decode("utf-8")
    except UnicodeDecodeError:
        return place + 1, f"\\x{first:02x}"
    if text in "\n\t" or unicodedata.category(text)[0] != "C":
        return place + length, text
    point = ord(text)
    return place + length, f"\\x{point:02x}" if point < 256 else f"\\u{{{point:x}}}"


def depth(colours: str = "auto", stream: TextIO | None = None) -> str:
    """ "24bit", "256" or "none": what is asked for, or what the terminal says that it can show.

    NO_COLOR (no-color.org), a pipe, or TERM=dumb give "none".
    """
    if colours != "auto":
        return colours
    shown_on = stream or sys.stdout
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not shown_on.isatty():
        return "none"
    return "24bit" if os.environ.get("COLORTERM") in ("truecolor", "24bit") else "256"


def coloured(
    data: bytes, values: np.ndarray, scale: Scale, *, colours: str = "24bit", width: int = 80
) -> str:
    """The text with each character's background coloured by the neuron; lines wrap at `width`.

    values: (bytes,), the neuron after each byte. colours: "24bit", "256" or "none"; with "none"
    a second line under each marks values beyond half the scale by "+" and "-".
    """
    lines: list[list[tuple[str, float]]] = [[]]
    column = 0
    for glyph in glyphs(data, values):
        text = " " * (4 - column % 4) if glyph.text == "\t" else glyph.text
        newline = text == "\n"
        shown = "¶" if newline and colours != "none" else "" if newline else text
        cells = sum(_cells(character) for character in shown)
        if column + cells > width and not newline:
            lines.append([])
            column = 0
        lines[-1].append((shown, glyph.value))
        column += cells
        if newline:
            lines.append([])
            column = 0
    if lines and not lines[-1]:
        lines.pop()
    if colours == "none":
        return "\n".join(_marked(line, scale) for line in lines)
    return "\n".join(_painted(line, scale, colours) for line in lines)


def example(shown: Example, table: NeuronTable, *, colours: str = "24bit") -> str:
    """A passage coloured by the best neuron of its concept, where it stands, and the colour bar."""
    neuron = parse_neuron(shown.row.neuron)
    scale = scale_of(table.summaries[str(neuron.site)], neuron.unit)
    return (
        f"{shown.document}, line {shown.line}: {neuron} ({shown.row.concept})\n"
        f"{coloured(shown.data, shown.values, scale, colours=colours)}\n"
        f"{bar(scale, colours=colours)}"
    )


def bar(scale: Scale, *, colours: str = "24bit", width: int = 48) -> str:
    """A colour bar with its numbers: below, at and above the median."""
    low, high = scale.centre - scale.reach, scale.centre + scale.reach
    labels = f"{low:<+.3g}", f"{scale.centre:^+.3g}", f"{high:>+.3g}"
    gap = width - sum(map(len, labels))
    numbers = labels[0] + " " * (gap // 2) + labels[1] + " " * (gap - gap // 2) + labels[2]
    if colours == "none":
        return f"- below {scale.centre - scale.reach / 2:+.3g}, + above " + (
            f"{scale.centre + scale.reach / 2:+.3g} (median {scale.centre:+.3g})"
        )
    cells = [(" ", low + (high - low) * (k + 0.5) / width) for k in range(width)]
    return _painted(cells, scale, colours) + "\n" + numbers


def _painted(line: list[tuple[str, float]], scale: Scale, colours: str) -> str:
    out, last = [], ""
    for text, value in line:
        if not text:
            continue
        red, green, blue = scale.colour(value)
        ink = "30" if red * 0.299 + green * 0.587 + blue * 0.114 > 128 else "97"
        ground = (
            f"48;2;{red};{green};{blue}"
            if colours == "24bit"
            else f"48;5;{_cube(red, green, blue)}"
        )
        code = f"\x1b[{ink};{ground}m"
        out.append(text if code == last else code + text)
        last = code
    return "".join(out) + ("\x1b[0m" if out else "")


def _marked(line: list[tuple[str, float]], scale: Scale) -> str:
    text = "".join(text for text, _ in line)
    marks = ""
    for shown, value in line:
        part = scale.part(value)
        mark = "+" if part > 0.5 else "-" if part < -0.5 else " "
        marks += mark * sum(_cells(character) for character in shown)
    return f"{text}\n{marks.rstrip()}" if marks.strip() else text


def _cube(red: int, green: int, blue: int) -> int:
    """The nearest of xterm's 6 x 6 x 6 colours."""
    steps = (0, 95, 135, 175, 215, 255)
    place = [
        min(range(6), key=lambda k, part=part: abs(steps[k] - part)) for part in (red, green, blue)
    ]
    return 16 + 36 * place[0] + 6 * place[1] + place[2]


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
