"""The flags that edit neurons, for every program that runs a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
    from mlstm.model.edits import Edit

flags.DEFINE_multi_string(
    "edit",
    [],
    'Set, add to, multiply or clamp neurons: "0.c[17]=1.0", "0.c[3,5]*=0", "0.h[2]+=1@generation", '
    '"0.c[*]=-1..1"; may be repeated.',
)
flags.DEFINE_string("edits", None, "A JSON file of edits, of every kind; they act before --edit.")


def read() -> list[Edit]:
    """What both flags ask for. Raises InputError."""
    from mlstm.corpus.files import user_path
    from mlstm.model.edits import parse_edit, read_edits

    path = flags.FLAGS.edits
    found = list(read_edits(user_path(path))) if path else []
    return found + [parse_edit(text) for text in flags.FLAGS.edit]
