"""Groups of part-of-speech tags."""

from __future__ import annotations

from mlstm.errors import InputError

OTHER = "OTHER"
GROUPINGS = ("concept_neurons",)


def check_grouping(grouping: str | None) -> None:
    """InputError unless it is None or one of GROUPINGS."""
    if grouping is not None and grouping not in GROUPINGS:
        raise InputError(f"grouping {grouping!r}: it is one of {', '.join(GROUPINGS)}, or none")


def group_tag(tag: str, grouping: str | None) -> str:
    """The class of a tag: without a grouping the tag itself.

    "concept_neurons" is for tags of the Penn Treebank: VB, JJ and RB with all their forms, NN with
    NNS, NNP with NNPS, and OTHER. A joined tag (VBD+RB) is of the group of its parts where they
    are of one, else OTHER.
    """
    if grouping is None:
        return tag
    groups = {_penn_group(part) for part in tag.split("+")}
    return groups.pop() if len(groups) == 1 else OTHER


def _penn_group(tag: str) -> str:
    if tag in ("NNP", "NNPS"):
        return "NNP"
    if tag in ("NN", "NNS"):
        return "NN"
    return tag[:2] if tag[:2] in ("VB", "JJ", "RB") else OTHER
