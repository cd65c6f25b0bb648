"""Names of results: what is asked otherwise has another name, so that nothing is written over."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from urllib.parse import quote

from absl import flags

LONGEST = 160  # letters
PLAIN = re.compile(r"[\w.,=+-]{0,24}")


def named(parts: Iterable[str], of: Iterable[str]) -> str:
    """The parts, then each of these flags that was given, with its value. Of a long value, as a
    path or a text is one, the end of its name and a digest of all of it."""
    found = [quote(part, safe=" []") for part in parts]
    for name in of:
        flag = flags.FLAGS[name]
        if flag.present:
            values = flag.value if isinstance(flag.value, list) else [flag.value]
            found.append(f"{name}{_short(','.join(map(str, values)))}")
    whole = "-".join(found)
    return whole if len(whole) <= LONGEST else f"{whole[:LONGEST]}~{_digest(whole)}"


def _short(value: str) -> str:
    if PLAIN.fullmatch(value):
        return value
    last = re.sub(r"[^\w.]+", "_", value.rstrip("/").rpartition("/")[2])
    return f"{last[:16]}~{_digest(value)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:6]
