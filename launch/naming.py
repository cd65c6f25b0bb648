"""Names of models, and of results: what is asked otherwise has another name, so that nothing is
written over."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import quote

from absl import flags

from mlstm.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

MODEL = (
    "The workdir of a training run, or a published model: a file or folder, hf:owner/name[:file], "
    "published:NAME (launch.convert --list)."
)
CLEANINGS = ["none", "openai", "unirep", "nvidia", "concept_neurons", "openai_reproduction"]
"""The recipes of mlstm.corpus.cleaning, which takes longer to import than a program to say them."""
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


def output_folder(output: str | None, model: Path, *parts: str) -> Path:
    """The folder for results: what --output says, else one in the run's own. Raises InputError
    where a model is no run, and no folder was named."""
    from mlstm.corpus.files import user_path
    from mlstm.runs import is_run

    if output:
        return user_path(output)
    if not is_run(model):
        raise InputError(
            f"--model={model} is no training run, which results would go into: name their folder "
            "with --output"
        )
    return model.joinpath(*parts)


def _short(value: str) -> str:
    if PLAIN.fullmatch(value):
        return value
    last = re.sub(r"[^\w.]+", "_", value.rstrip("/").rpartition("/")[2])
    return f"{last[:16]}~{_digest(value)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:6]
