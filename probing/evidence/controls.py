"""What a score is compared with. A figure without its control says little."""

# n labelled positions of a document, C concepts (classes, then numbers)

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from mlstm.errors import InputError, check_one
from mlstm.mixing import mixed
from mlstm.model import language_model
from mlstm.trained import Model
from probing.tasks.labelled import LabelledData, LabelledDocument, Labels

SAMPLE = 100_000  # labelled positions, about, that control labels are drawn from


def untrained_twin(model: Model, seed: int = 0) -> Model:
    """What a model is compared with that has learned nothing: its random twin, or, where others
    have trained it and how its parameters began is not known, its shuffled twin."""
    return (shuffled_twin if model.imported else random_twin)(model, seed)


def random_twin(model: Model, seed: int = 0) -> Model:
    """The same architecture with fresh random parameters, never trained.

    What its best neuron reaches is what the bytes and the recurrence give away by themselves: a
    trained neuron that does no better has not learned the concept.
    """
    parameters = language_model.init_parameters(model.config, jax.random.key(seed))
    return dataclasses.replace(
        model, parameters=parameters, origin=f"random twin of {model.origin}, seed {seed}"
    )


def shuffled_twin(model: Model, seed: int = 0) -> Model:
    """The same architecture with the entries of each array shuffled.

    The random twin of a model whose initialisation is not known, since it was imported: its
    weights have the sizes that they have, and nothing of what was learned by their places.
    """
    check_one(model)
    arrays, tree = jax.tree.flatten(model.parameters)
    shuffled = [
        np.random.default_rng([seed, nth])
        .permutation(np.asarray(array).ravel())
        .reshape(array.shape)
        for nth, array in enumerate(arrays)
    ]
    return dataclasses.replace(
        model,
        parameters=jax.tree.unflatten(tree, shuffled),
        origin=f"shuffled twin of {model.origin}, seed {seed}",
    )


def rotation(units: int, seed: int = 0) -> np.ndarray:
    """(H, H) float64, orthogonal and uniformly random: states @ it is the rotated basis.

    A concept that the best rotated unit tells as well as the best neuron is not in the neurons'
    own basis. QR of a Gaussian matrix, R's diagonal made positive (Mezzadri 2007).
    """
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(units, units)))
    return q * np.sign(np.diagonal(r))


def majority(data: LabelledData) -> tuple[str, float]:
    """The most frequent class of train documents, and its share of the test documents' positions.

    InputError where classes do not exclude each other, or a part has no labelled position.
    """
    counts = []
    for split in ("train", "test"):
        count: Counter[str] = Counter()
        for i in data.indices(split):
            names, many = np.unique(data.target(data.labels(int(i))), return_counts=True)
            count.update(dict(zip(names.tolist(), many.tolist(), strict=True)))
        if not count:
            raise InputError(f"{data.origin}: no labelled position among {split} documents")
        counts.append(count)
    train, test = counts
    name = _first(train)
    return name, test[name] / test.total()


class MostFrequent(NamedTuple):
    """The most frequent class outside of test: of all positions, and of each word."""

    positions: int  # that were counted
    usual: str
    of_word: dict[bytes, str]  # empty where words are not what is labelled

    def words(self, data: LabelledData, documents: Sequence[int] | np.ndarray) -> np.ndarray:
        """(n,) what a dictionary says of their positions; of a word that it lacks, `usual`."""
        return np.array(
            [
                self.of_word.get(word, self.usual)
                for i in documents
                for word, _ in _words(data, int(i))
            ]
        )


def most_frequent(data: LabelledData) -> MostFrequent:
    """Counted on train and dev alike, since nothing is tuned. InputError where classes do not
    exclude each other, or no position is labelled."""
    known: dict[bytes, Counter[str]] = {}
    total: Counter[str] = Counter()
    for i in np.concatenate([data.indices("train"), data.indices("dev")]).tolist():
        if data.unit == "token":
            for word, name in _words(data, i):
                known.setdefault(word, Counter())[name] += 1
        total.update(data.target(data.labels(i)).tolist())
    if not total:
        raise InputError(f"{data.origin}: no labelled {data.unit} outside of test")
    of_word = {word: _first(names) for word, names in known.items()}
    return MostFrequent(total.total(), _first(total), of_word)


def majority_of_word(data: LabelledData) -> float:
    """The share of test words that have the most frequent class of that word outside of test.

    What a dictionary knows of part of speech. A word that is only in test is given the most
    frequent class of all. InputError where words are not what is labelled, where classes do not
    exclude each other, or a part has no word.
    """
    if data.unit != "token":
        raise InputError(f"task {data.task}: the labels are of a {data.unit}, not of words")
    tests = data.indices("test")
    if not data.counts[tests].sum():
        raise InputError(f"{data.origin}: no labelled word in test")
    told = most_frequent(data).words(data, tests)
    return float(np.mean(told == np.concatenate([data.target(data.labels(int(i))) for i in tests])))


def _words(data: LabelledData, document: int) -> Iterator[tuple[bytes, str]]:
    labels, text = data.labels(document), data.documents[document].data
    names = data.target(labels).tolist()
    for start, end, name in zip(labels.starts.tolist(), labels.ends.tolist(), names, strict=True):
        yield text[start:end], name


def _first(counts: Counter[str]) -> str:
    """The most frequent name, of equals the first in the alphabet."""
    return min(counts, key=lambda name: (-counts[name], name))


def control_labels(data: LabelledData, seed: int = 0) -> LabelledData | None:
    """The control task (Hewitt and Liang 2019): random labels that are a function of a type.

    A type is the bytes of a word, or, where bytes are labelled, a byte with the two before it. It
    has everywhere the labels of one labelled position, which a hash of the type and the seed
    chooses among a sample of train documents: a class is drawn as often as it is there. What a
    probe reaches on these labels it has from memory of types, not from the concept.

    None where documents are labelled: hardly any occurs twice, so that there are no types.
    """
    if data.unit == "document":
        return None
    pool = _pool(data, seed)
    documents = tuple(
        dataclasses.replace(document, read=partial(_control, data.unit, document, pool, seed))
        for document in data.take(range(len(data.documents))).documents
    )
    of = "word" if data.unit == "token" else "three bytes"
    return dataclasses.replace(
        data,
        task=f"{data.task}, control",
        documents=documents,
        meaning={},
        notes=(f"labels are random, the same wherever the {of} are (seed {seed})",),
        judge=None,
    )


@dataclasses.dataclass(frozen=True)
class _Pool:
    """Labels of the positions that types draw from."""

    classes: np.ndarray  # (positions, classes)
    numbers: np.ndarray  # (positions, numbers)


def _pool(data: LabelledData, seed: int) -> _Pool:
    train = np.random.default_rng(seed).permutation(data.indices("train"))
    parts: list[Labels] = []
    count = 0
    for i in train.tolist():
        parts.append(data.labels(i))
        count += len(parts[-1].positions)
        if count >= SAMPLE:
            break
    if not count:
        raise InputError(f"{data.origin}: no labelled position among train documents")
    return _Pool(
        np.concatenate([part.classes for part in parts]),
        np.concatenate([part.numbers for part in parts]),
    )


def _control(unit: str, document: LabelledDocument, pool: _Pool, seed: int) -> Labels:
    labels = document.read()
    if unit == "token":
        words: dict[bytes, int] = {}
        spans = zip(labels.starts.tolist(), labels.ends.tolist(), strict=True)
        types = [words.setdefault(document.data[a:b], len(words)) for a, b in spans]
        hashes = np.array([_word_hash(word, seed) for word in words], np.uint64)[types]
    else:
        hashes = _trigram_hashes(document.data, seed)[labels.positions]
    place = (hashes % np.uint64(len(pool.classes))).astype(int)
    return labels._replace(classes=pool.classes[place], numbers=pool.numbers[place])


def _word_hash(word: bytes, seed: int) -> int:
    digest = hashlib.blake2b(word, digest_size=8, key=seed.to_bytes(8, "big", signed=True))
    return int.from_bytes(digest.digest(), "big")


def _trigram_hashes(data: bytes, seed: int) -> np.ndarray:
    """(bytes,) uint64: of each byte with the two before it, 256 before the first (SplitMix64)."""
    ids = np.append(np.array([256, 256], np.uint64), np.frombuffer(data, np.uint8)).astype(
        np.uint64
    )
    x = (ids[:-2] * np.uint64(257) + ids[1:-1]) * np.uint64(257) + ids[2:]
    x ^= np.uint64(_word_hash(b"three bytes", seed))
    return mixed(x)
