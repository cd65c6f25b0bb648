"""Edits as a person writes them: "0.c[17]=1.0", "0.c[3,5]*=0", "0.h[2:8]+=0.5@readout@10:20".

SITE[UNITS] OPERATION VALUE @OPTION ...

units      17, or 3,5, or 2:8 (to 7), or * for all
=V         set                    =LOW..HIGH   clamp
+=V        shift                  *=V          scale
@after_step                       of c: from the next step on
@recurrence, @readout             of h: for one of its readers alone
@prompt, @generation              while a prompt is read, or while text is made
@10:20                            at byte positions 10 to 19; either end may be left out
@ramp=50                          its strength rises from 0 to 1 in 50 steps
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from mlstm.errors import InputError
from mlstm.model.edits.edit import LARGEST, Edit
from mlstm.model.sites import parse_site

_OPERATIONS = {"=": "set", "+=": "shift", "*=": "scale"}
_MOST_UNITS = 1 << 20
_FORM = re.compile(r"([^\[\]=+*@]*)\[([^\]]*)\]\s*(=|\+=|\*=)([^=@]*)((?:@[^@]*)*)", re.DOTALL)


def parse_edit(text: str) -> Edit:
    """One edit from its text. Raises InputError."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise InputError(
            f'"{text}" is not an edit: write a neuron, one of {" ".join(_OPERATIONS)}, and a '
            'number, as in "0.c[17]=1.0"'
        )
    site, units, operation, value, options = match.groups()
    given: dict[str, Any] = {
        "site": str(parse_site(site)),
        "units": _units(units, text),
        "kind": _OPERATIONS[operation],
    }
    low, dots, high = value.partition("..")
    if dots and operation == "=":
        given |= {"kind": "clamp", "values": {"low": _value(low, text), "high": _value(high, text)}}
    else:
        given |= {"values": {"value": _value(value, text)}}
    for option in options.split("@")[1:]:
        _read_option(option.strip(), given, text)
    return Edit(**given)


def _units(text: str, whole: str) -> tuple[int, ...] | None:
    if text.strip() == "*":
        return None
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})\s*(?::\s*(\d{1,9})\s*)?", part)
        if match is None:
            raise InputError(
                f'"{text}" in the edit "{whole}" is no list of units: as 17, or 3,5, or 2:8, or *'
            )
        first, end = int(match[1]), int(match[2] or int(match[1]) + 1)
        if end <= first or end - first > _MOST_UNITS:
            raise InputError(f'"{part}" in the edit "{whole}" is no range of units')
        found.extend(range(first, end))
    return tuple(found)


def _value(text: str, whole: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not abs(value) < LARGEST:  # nor a NaN
        raise InputError(f'"{text}" in the edit "{whole}" is not a number below {LARGEST:g}')
    return value


def _read_option(option: str, given: dict[str, Any], whole: str) -> None:
    span = re.fullmatch(r"(\d{0,9}):(\d{0,9})", option)
    ramp = re.fullmatch(r"ramp=(\d{1,9})", option)
    if option == "after_step":
        new = {"when": option}
    elif option in ("recurrence", "readout"):
        new = {"reads": option}
    elif option in ("prompt", "generation"):
        new = {"phase": option}
    elif span:
        new = {"start": int(span[1] or 0), "stop": int(span[2]) if span[2] else None}
    elif ramp:
        new = {"ramp": int(ramp[1])}
    else:
        raise InputError(
            f'"@{option}" in the edit "{whole}" says nothing: there are @after_step, @recurrence, '
            "@readout, @prompt, @generation, @10:20 and @ramp=50"
        )
    if set(new) & set(given):
        raise InputError(f'the edit "{whole}" says twice what @{option} does')
    given.update(new)


def written(edit: Edit) -> str:
    """An edit as text; of one whose values are arrays, or that is of another kind, what it is."""
    units = "*" if edit.units is None else ",".join(map(str, edit.units))
    if len(units) > 60:
        units = f"{units[:50].rpartition(',')[0]},... {len(edit.units or ())} units"
    v = edit.values
    if edit.kind == "clamp":
        change = f"={_shown(v['low'])}..{_shown(v['high'])}"
    elif edit.kind in _OPERATIONS.values():
        operation = {kind: sign for sign, kind in _OPERATIONS.items()}[edit.kind]
        change = f"{operation}{_shown(v['value'])}"
    else:
        change = f": {edit.kind}"
    return f"{edit.site}[{units}]{change}{_options(edit)}"


def _options(edit: Edit) -> str:
    options = [edit.when] if edit.when != "before_output" else []
    options += [edit.reads] if edit.reads != "both" else []
    options += [edit.phase] if edit.phase != "both" else []
    if edit.start or edit.stop is not None:
        options.append(f"{edit.start}:{'' if edit.stop is None else edit.stop}")
    options += [f"ramp={edit.ramp}"] if edit.ramp else []
    return "".join(f"@{option}" for option in options)


def _shown(value: Any) -> str:
    return f"{value:.9g}" if np.ndim(value) == 0 else f"({len(value)} values)"
