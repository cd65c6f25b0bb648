"""The flags that name a task and its data, for every program that asks something of neurons."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from absl import flags

from mlstm.errors import InputError

if TYPE_CHECKING:
    from probing.tasks import LabelledData

TASKS = (
    "sentiment",
    "part_of_speech",
    "source_code",
    "text_position",
    "patterns",
    "token_labels",
)
WITHOUT_DATA = ("source_code", "text_position", "patterns")
"""These can label the text that a run was trained on."""


def define() -> None:
    """--task, --data, and what single tasks can be told. Call it before flags are parsed."""
    flags.DEFINE_enum("task", "source_code", TASKS, "What is asked of the neurons.")
    flags.DEFINE_string(
        "data",
        None,
        "Labelled files or a folder, or text for tasks that label it themselves (default for "
        f"those, {', '.join(WITHOUT_DATA)}: the test split of the run's own corpus).",
    )
    flags.DEFINE_string("text_field", None, "sentiment: the field of the text in csv, tsv, jsonl.")
    flags.DEFINE_string("label_field", None, "sentiment: the field of the label.")
    flags.DEFINE_bool("fine", False, "sentiment: five classes of trees, not two.")
    flags.DEFINE_enum("tags", "upos", ["upos", "xpos"], "part_of_speech: which column of CoNLL-U.")
    flags.DEFINE_enum(
        "grouping", None, ["concept_neurons"], "part_of_speech: tags taken together, as published."
    )
    flags.DEFINE_enum(
        "position",
        None,
        ["last", "every", "first"],
        "part_of_speech, token_labels: which byte of a word carries its label (default: last).",
    )
    flags.DEFINE_multi_string(
        "pattern", [], "patterns: NAME=REGEX, or FILE.py:FUNCTION; may be repeated."
    )
    flags.DEFINE_multi_string(
        "list", [], "token_labels: a file of names, as PATH or CLASS=PATH; may be repeated."
    )
    flags.DEFINE_enum(
        "language", None, ["python", "c"], "source_code: the language (default: by file name)."
    )


_OWN: dict[str, tuple[str, ...]] = {
    "sentiment": ("text_field", "label_field", "fine"),
    "part_of_speech": ("tags", "grouping", "position"),
    "source_code": ("language",),
    "text_position": (),
    "patterns": ("pattern",),
    "token_labels": ("position", "list"),
}
FLAGS = ("data", *sorted({name for names in _OWN.values() for name in names}))
"""All that are defined here but --task, after which folders of results are named."""
_ARGUMENT = {"pattern": "patterns", "list": "lists"}  # flags that are repeated, one at a time


def read(workdir: str | os.PathLike) -> LabelledData:
    """The labelled data that the flags name; `workdir` is the run's. Raises InputError, also for a
    flag that the task does not have."""
    import mlstm
    import probing

    task: str = flags.FLAGS.task
    own = _OWN[task]
    for name in sorted({name for names in _OWN.values() for name in names} - set(own)):
        if flags.FLAGS[name].present:
            raise InputError(f"--{name} says nothing to --task={task}")
    data = flags.FLAGS.data
    if not data:
        if task not in WITHOUT_DATA:
            raise InputError(f"--task={task} needs labelled data: name it with --data")
        data = mlstm.corpus_of(workdir)
    values: dict[str, Any] = {_ARGUMENT.get(name) or name: flags.FLAGS[name].value for name in own}
    if task == "patterns" and not values["patterns"]:
        raise InputError("--task=patterns needs at least one --pattern=NAME=REGEX")
    given = {name: value for name, value in values.items() if value not in (None, [], False)}
    return getattr(probing.tasks, task)(data, **given)
