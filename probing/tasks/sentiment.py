"""Sentiment: one label for each review, read after its last byte."""

from __future__ import annotations

import hashlib
from collections import Counter
from functools import partial
from typing import NamedTuple

import numpy as np

from mlstm.errors import InputError
from probing.tasks import sentiment_files as files
from probing.tasks.labelled import LabelledData, LabelledDocument, Labels
from probing.tasks.records import Fields
from probing.tasks.text_files import Source
from probing.tasks.trees import LABELS

POSITIVE, NEGATIVE, RATING = "positive", "negative", "rating"
TEXT_FIELDS = ("text", "sentence", "review", "reviewText")
LABEL_FIELDS = ("label", "sentiment", "rating", "overall", "stars")
NEUTRAL_TREE = 2.0


def sentiment(
    source: Source,
    *,
    text_field: str | None = None,
    label_field: str | None = None,
    fine: bool = False,
) -> LabelledData:
    """Label reviews as positive or negative: the state after a document's last byte.

    source: a file, a folder, or several (a list, or commas between). Files of fields (csv and tsv
        with a header, JSON lines); the Stanford Sentiment Treebank's trees, sentences alone being
        labelled; custrev.pos with custrev.neg, a document a line; a folder of pos/ and neg/ with a
        document a file, perhaps within train/ and test/. Names with train, dev and test make an
        official split.
    text_field, label_field: names of the fields; by default the first of TEXT_FIELDS and
        LABEL_FIELDS that is there. Labels are "positive" and "negative" ("pos", "neg"), 1 and 0,
        or ratings: positive above the middle of the ratings found, which is said in `notes`, and
        the numeric concept "rating".
    fine: the five classes of the treebank's trees instead of two, and their number as "rating";
        else its neutral sentences are left out.

    Empty documents and those of no class are left out and named in `.skipped`. Equal texts are of
    one group. InputError where something is missing or malformed, with file and line, or where a
    part has one class only.
    """
    fields = Fields(
        (text_field,) if text_field else TEXT_FIELDS,
        (label_field,) if label_field else LABEL_FIELDS,
    )
    found = files.find(source)
    if fine and found.form != files.TREES:
        raise InputError(
            f"{found.files[0]}: five classes are those of sentiment trees, and this has two: it is "
            f"{found.form}"
        )
    origin = ", ".join(str(path) for path in found.files)
    texts, skipped = [], []
    for text in files.read(found, fields):
        if text.text.strip():
            texts.append(text)
        else:
            skipped.append((text.name, "empty"))
    scale = _scale(texts, found.form, fine, origin)
    documents = []
    classes_of: dict[str, Counter[str]] = {}  # of each split
    for text in texts:
        label = scale.label(text.label)
        if label is None:
            skipped.append((text.name, scale.neutral))
            continue
        classes_of.setdefault(text.split, Counter())[label] += 1
        documents.append(_document(text, label, scale))
    _check_classes(classes_of, origin)
    return LabelledData(
        "sentiment",
        origin,
        "document",
        scale.classes,
        (RATING,) if scale.rated else (),
        tuple(documents),
        exclusive=True,
        otherwise="" if fine else NEGATIVE,
        skipped=tuple(skipped),
        meaning=scale.meaning,
        notes=tuple(
            note
            for note in (
                scale.note,
                _repeated(documents),
                "left alone: " + ", ".join(p.name for p in found.left) if found.left else "",
            )
            if note
        ),
    )


class _Scale(NamedTuple):
    """What the labels of the files mean."""

    classes: tuple[str, ...]
    middle: float  # positive above, negative below; unused where classes are five
    rated: bool
    meaning: dict[str, str]
    note: str = ""
    neutral: str = ""  # why a document in the middle is left out

    def label(self, value: float | bool) -> str | None:
        """The class of a label; None in the middle."""
        if len(self.classes) > 1:
            return LABELS[int(value)]
        if value == self.middle:
            return None
        return POSITIVE if value > self.middle else NEGATIVE


def _scale(texts: list[files.Text], form: str, fine: bool, origin: str) -> _Scale:
    positive = {POSITIVE: "the review is positive; else it is negative"}
    if fine:
        return _Scale(LABELS, 0, True, {RATING: "from 0, very negative, to 4, very positive"})
    if form == files.TREES:
        return _Scale(
            (POSITIVE,), NEUTRAL_TREE, False, positive, "neutral sentences are left out", "neutral"
        )
    values = {float(text.label) for text in texts}
    if len({isinstance(text.label, bool) for text in texts}) > 1:
        raise InputError(f"{origin}: some labels are names and some are numbers; make them one")
    if values <= {0.0, 1.0}:
        return _Scale((POSITIVE,), 0.5, False, positive)
    low, high = min(values), max(values)
    middle = (low + high) / 2
    above = f"above {middle:g}, the middle of the ratings found ({low:g} to {high:g})"
    return _Scale(
        (POSITIVE,),
        middle,
        len(values) > 2,
        {POSITIVE: f"a rating {above}", RATING: f"the reviewer's, from {low:g} to {high:g}"},
        f"positive is a rating {above}; a rating of {middle:g} would be neither and is left out",
        f"rating {middle:g} is the middle",
    )


def _document(text: files.Text, label: str, scale: _Scale) -> LabelledDocument:
    data = text.text.encode()
    return LabelledDocument(
        text.name,
        data,
        partial(
            _labels,
            len(data),
            scale.classes.index(label) if label in scale.classes else None,
            len(scale.classes),
            float(text.label) if scale.rated else None,
        ),
        f"text {hashlib.sha256(data).hexdigest()[:16]}",
        text.split,
    )


def _labels(length: int, column: int | None, classes: int, rating: float | None) -> Labels:
    """One label at the last byte, for the whole document."""
    belongs = np.zeros((1, classes), bool)
    if column is not None:
        belongs[0, column] = True
    return Labels(
        np.array([length - 1], np.int32),
        np.array([0], np.int32),
        np.array([length], np.int32),
        belongs,
        np.array([[] if rating is None else [rating]], np.float32),
    )


def _check_classes(classes_of: dict[str, Counter[str]], origin: str) -> None:
    if not classes_of:
        raise InputError(f"{origin}: no document with a label")
    for split, classes in classes_of.items():
        if len(classes) < 2:
            [(name, count)] = classes.items()
            part = f"the {split} part has" if split else "there is"
            raise InputError(
                f"{origin}: {part} one class only ({name}: {count} documents); both are needed"
            )


def _repeated(documents: list[LabelledDocument]) -> str:
    """What is to be said of an official split whose parts share texts."""
    train = {document.group for document in documents if document.split == "train"}
    count = sum(d.group in train for d in documents if d.split not in ("", "train"))
    return f"{count} documents of the other parts are in the train part too" if count else ""
