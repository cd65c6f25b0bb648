"""Names of a list in a text (a gazetteer): the longest that matches, from word border to border."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from mlstm.corpus.files import text_name, user_path
from mlstm.errors import InputError
from probing.tasks.documents import read_file

_TOKEN = re.compile(rb"[\w\x80-\xff]+|[^\w\s\x80-\xff]")  # a word, or one other sign
_WORD = re.compile(rb"[\w\x80-\xff]")
_NAMED = re.compile(r"([A-Za-z][\w -]*)=(.+)")

Names = dict[bytes, list[tuple[bytes, ...]]]  # by first token, the longest first


def read_lists(lists: str | Sequence[str]) -> dict[str, Names]:
    """The names of each list: {class: names}.

    lists: files with a name of one or more words in each line, as PATH (its class is the file's
    name without suffix) or CLASS=PATH. InputError where a list is missing, empty, or there twice.
    """
    found: dict[str, Names] = {}
    for text in [lists] if isinstance(lists, str) else lists:
        named = _NAMED.fullmatch(str(text))
        path = user_path(named[2] if named else text)
        name = named[1] if named else text_name(path.name).rsplit(".", 1)[0]
        if name in found:
            raise InputError(f"{path}: there is a list {name!r} already; write NAME={path}")
        names: Names = {}
        for line in set(read_file(path).removeprefix(b"\xef\xbb\xbf").split(b"\n")):
            if tokens := tuple(_TOKEN.findall(line)):
                names.setdefault(tokens[0], []).append(tokens)
        if not names:
            raise InputError(f"{path}: no name in this list: class {name!r} would be empty")
        for same_start in names.values():
            same_start.sort(key=lambda tokens: (-len(tokens), tokens))
        found[name] = names
    return found


def find_names(data: bytes, lists: dict[str, Names]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts and ends of the words of a text, and which belong to a name of each list.

    (words,), (words,), (words, lists) bool. Between the words of a name there may be any white
    space. Names of one list do not overlap: of those that begin at a word the longest is taken.
    """
    spans = [match.span() for match in _TOKEN.finditer(data)]
    tokens = [data[start:end] for start, end in spans]
    inside = np.zeros((len(tokens), len(lists)), bool)
    for column, names in enumerate(lists.values()):
        place = 0
        while place < len(tokens):
            for name in names.get(tokens[place], ()):
                if tuple(tokens[place : place + len(name)]) == name:
                    inside[place : place + len(name), column] = True
                    place += len(name) - 1
                    break
            place += 1
    starts, ends = np.array(spans, np.int32).reshape(-1, 2).T
    is_word = np.array([_WORD.match(token) is not None for token in tokens], bool)
    return starts[is_word], ends[is_word], inside[is_word]
