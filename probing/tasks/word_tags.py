"""Sentences with a tag for each word, other than CoNLL-U: word_TAG lines, and NLTK's tagger."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mlstm.errors import InputError
from probing.tasks.text_files import read_lines

SEPARATORS = ("_", "/")
SNIFFED_LINES = 10
TAGGED_SHARE = 0.9
"""Of the items in the first lines of a file: fewer with a tag, and the file is plain text."""

TAGGER = "averaged_perceptron_tagger_eng"


class TaggedLine(NamedTuple):
    line: int
    text: str
    spans: list[tuple[int, int]]  # of each tagged word: its characters [start, end)
    tags: list[str]


def separator(path: Path) -> str:
    """What stands between word and tag in the file, "_" or "/"; "" where it is plain text."""
    written = (text.split() for _, text in read_lines(path) if text.strip())
    items = list(itertools.chain.from_iterable(itertools.islice(written, SNIFFED_LINES)))
    counts = {mark: sum(_split(item, mark) is not None for item in items) for mark in SEPARATORS}
    best = max(SEPARATORS, key=lambda mark: counts[mark])
    return best if items and counts[best] >= TAGGED_SHARE * len(items) else ""


def read_tagged(path: Path, mark: str) -> Iterator[TaggedLine]:
    """Each line that is not empty: its words with one space between. The last mark of an item
    comes before its tag. InputError, with the line, where an item has no tag."""
    for line, content in read_lines(path):
        words, tags, spans, place = [], [], [], 0
        for item in content.split():
            pair = _split(item, mark)
            if pair is None:
                raise InputError(f"{path}:{line}: {item!r} is not word{mark}TAG")
            words.append(pair[0])
            tags.append(pair[1])
            spans.append((place, place + len(pair[0])))
            place += len(pair[0]) + 1
        if words:
            yield TaggedLine(line, " ".join(words), spans, tags)


def tag_text(path: Path) -> Iterator[TaggedLine]:
    """Each line that is not empty, tagged with the Penn Treebank's tags by NLTK's averaged
    perceptron. Sentences are found within a line by Punkt, which learns the abbreviations of the
    file from the file itself (Kiss and Strunk 2006). InputError where NLTK has no tagger.
    """
    import nltk
    from nltk.tag.perceptron import PerceptronTagger
    from nltk.tokenize import NLTKWordTokenizer
    from nltk.tokenize.punkt import PunktSentenceTokenizer

    try:
        tagger = PerceptronTagger()
    except LookupError:
        raise InputError(
            f"{path}: plain text is tagged by NLTK, whose tagger is in none of the folders "
            f"{', '.join(nltk.data.path)}; get it with: python -m nltk.downloader {TAGGER} "
            "(NLTK_DATA names another folder)"
        ) from None
    lines = [(line, text) for line, text in read_lines(path) if text.strip()]
    sentences = PunktSentenceTokenizer("\n".join(text for _, text in lines))
    words = NLTKWordTokenizer()
    for line, text in lines:
        spans, tags = [], []
        for start, end in sentences.span_tokenize(text):
            sentence = text[start:end]
            try:
                found = list(words.span_tokenize(sentence))
                tokens = words.tokenize(sentence)  # the same, quotes written as the tagger knows
            except ValueError:  # quotes that NLTK's tokenizer cannot find again in the text
                found = [match.span() for match in re.finditer(r"\w+|[^\w\s]", sentence)]
                tokens = [sentence[a:b] for a, b in found]
            spans += [(start + a, start + b) for a, b in found]
            tags += [tag for _, tag in tagger.tag(tokens)]
        yield TaggedLine(line, text, spans, tags)


def _split(item: str, mark: str) -> tuple[str, str] | None:
    word, found, tag = item.rpartition(mark)
    return (word, tag) if found and word and tag else None
