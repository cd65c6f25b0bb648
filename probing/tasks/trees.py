"""The trees of the Stanford Sentiment Treebank: `(3 (2 It) (4 (2 's) (4 great)))`, one a line."""

from __future__ import annotations

import re
from typing import NamedTuple

LABELS = ("very negative", "negative", "neutral", "positive", "very positive")
"""What the labels 0 to 4 mean (Socher et al. 2013)."""

# A word may hold a no-break space, as "8 1/2" does in the treebank.
_PIECE = re.compile(r"[()]|[^ \t()]+")
_ESCAPED = {"-LRB-": "(", "-RRB-": ")"}


class Tree(NamedTuple):
    label: int  # of the whole sentence: 0 to 4
    text: str  # its words with a space between, parentheses and slashes no longer escaped


class TreeError(ValueError):
    """The line is no tree; the message says why and at which character."""


def looks_like_tree(line: str) -> bool:
    return re.match(r"\s*\(\s*[0-9]\s", line) is not None


def parse_tree(line: str) -> Tree:
    """Raises TreeError."""
    words: list[str] = []
    contents: list[list[str]] = []  # of each open node: its label, then "word" or "tree" for each
    root = None
    for piece in _PIECE.finditer(line):
        text, column = piece.group(), piece.start() + 1
        if root is not None:
            raise TreeError(f"{text!r} after the end of the tree, at character {column}")
        if text == "(":
            if contents and not contents[-1]:
                raise TreeError(f"a node without a label before character {column}")
            if contents:
                _add(contents[-1], "tree", column)
            contents.append([])
        elif not contents:
            raise TreeError(f"{text!r} outside a tree, at character {column}")
        elif text == ")":
            node = contents.pop()
            if len(node) < 2:
                raise TreeError(f"an empty node ends at character {column}")
            if not contents:
                root = int(node[0])
        elif not contents[-1]:
            if text not in ("0", "1", "2", "3", "4"):
                raise TreeError(f"label {text!r} at character {column}; labels are 0 to 4")
            contents[-1].append(text)
        else:
            _add(contents[-1], "word", column)
            words.append(_ESCAPED.get(text, text.replace("\\/", "/").replace("\\*", "*")))
    if root is None:
        raise TreeError(f"unbalanced: {len(contents)} parentheses are never closed")
    return Tree(root, " ".join(words))


def _add(node: list[str], kind: str, column: int) -> None:
    """A node has words, or trees."""
    if len(node) > 1 and kind != node[-1]:
        raise TreeError(f"a word beside a tree, at character {column}")
    node.append(kind)
