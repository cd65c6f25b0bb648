"""The surface baseline: what can be told of a label from the bytes alone, without any network.

Of documents: TF-IDF of character 1-5-grams, and the length. Of words and bytes: the 1-5-grams that
end at the position, the word so far, it and the word before, its length, what is labelled and its
prefixes, all hashed. A logistic regression (L2) for each class, a ridge regression for each number,
fitted on train; the penalty is chosen on dev, for each by its AUC or, of a classifier, for all
classes together by the accuracy of the one that scores highest.
"""

# n positions, C concepts

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

import numpy as np
import scipy.sparse as sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from mlstm.errors import InputError
from probing.tasks.labelled import LabelledData, Labels

ROWS = 50_000
TABLE_ROWS = 10_000  # where there are many concepts, each with a fit of its own
COLUMNS = 1 << 18  # of hashed features
CS = (0.1, 0.3, 1.0, 3.0, 10.0)
LARGER = (30.0, 100.0)  # tried for a classifier
ROUGH = 1e-2  # liblinear's own tolerance: half the time, the AUC of tags the same to 0.0002
ALPHAS = (100.0, 10.0, 1.0)
ORDERS = range(1, 6)
PREFIXES = range(1, 4)
LONGEST = 24  # words of more bytes count as so long
_BASE = np.uint64(0x9E3779B97F4A7C15)
_INVERSE = np.uint64(pow(0x9E3779B97F4A7C15, -1, 1 << 64))  # odd numbers have one
_SPACE = np.isin(np.arange(256), np.frombuffer(b" \t\r\n", np.uint8))


class SurfaceModel:
    """fit(data), then scores(data, document): decision values, higher in the concept."""

    def __init__(self, seed: int = 0, rows: int = ROWS):
        """rows: of a seeded sample of train documents (and of dev), about so many positions."""
        self.seed, self.rows = seed, rows

    def fit(
        self, data: LabelledData, progress: Callable[[int, int], None] | None = None
    ) -> SurfaceModel:
        """progress: called with the fits that are done, and all: one for each penalty of each."""
        every = len(data.classes) * len(CS) + len(data.numbers) * len(ALPHAS)
        done = count()

        def told() -> None:
            if progress:
                progress(next(done), every)

        told()
        X, Y, X_dev, Y_dev = self._prepare(data)
        # On one thread: the products are of single vectors, for which threads cost more than they
        # save, and what their sums round to does not depend on the number of cores.
        with threadpool_limits(1, "blas"):
            fits = [
                _best_class(X, Y[:, k] > 0, X_dev, Y_dev[:, k] > 0, self.seed, told)
                if k < len(data.classes)
                else _best_number(X, Y[:, k], X_dev, Y_dev[:, k], told)
                for k in range(len(data.concepts))
            ]
        return self._keep(fits)

    def fit_classifier(self, data: LabelledData) -> SurfaceModel:
        """Fit it for `told`: one C for all classes, which exclude each other; that of the best
        accuracy on dev, of equals the smallest, raised until the accuracy falls. `accuracy_` has
        what each gave there. InputError where dev has no labelled position."""
        X, Y, X_dev, Y_dev = self._prepare(data)
        if not len(Y_dev):
            raise InputError(f"{data.origin}: no labelled {data.unit} in the dev split")
        K = len(data.classes)
        best, self.accuracy_ = [], {}
        for C in (*CS, *LARGER):
            with threadpool_limits(1, "blas"):
                fits = [_class(X, Y[:, k] > 0, C, self.seed, ROUGH) for k in range(K)]
            scores = np.zeros((len(Y_dev), K))
            for k, fit in enumerate(fits):
                if fit is not None:
                    scores[:, k] = fit.decision_function(X_dev)
            told = _highest(scores, np.array([fit is not None for fit in fits]))
            self.accuracy_[C] = float((told == (Y_dev[:, :K] > 0)).all(1).mean())
            if not best or self.accuracy_[C] > self.accuracy_[self.C_]:
                best, self.C_ = fits, C
            elif self.accuracy_[C] < self.accuracy_[self.C_]:
                break
        return self._keep(best)

    def _prepare(
        self, data: LabelledData
    ) -> tuple[sparse.csr_matrix, np.ndarray, sparse.csr_matrix, np.ndarray]:
        """Features that occur in train, and labels, of train and of dev."""
        train, dev = (self._sample(data, split) for split in ("train", "dev"))
        self.vectorizer_ = None
        if data.unit == "document":
            self.vectorizer_ = TfidfVectorizer(
                analyzer="char", ngram_range=(1, 5), sublinear_tf=True, lowercase=False, min_df=2
            )
            self.vectorizer_.fit([_text(data.documents[i].data) for i in train] + ["aa", "aa"])
        X, Y = self._rows(data, train)
        X_dev, Y_dev = self._rows(data, dev)
        self.rows_ = len(Y)
        self._used = np.unique(X.indices)  # few of the hashed columns, where alphabets are small
        return X[:, self._used], Y, X_dev[:, self._used], Y_dev

    def _keep(self, fits: Sequence[LogisticRegression | Ridge | None]) -> SurfaceModel:
        self.coef_ = np.zeros((self._width(), len(fits)))  # (features, C)
        self.intercept_ = np.zeros(len(fits))
        self.known_ = np.array([fit is not None for fit in fits])  # what train had
        for k, fit in enumerate(fits):
            if fit is not None:
                self.coef_[self._used, k] = fit.coef_.ravel()
                self.intercept_[k] = np.squeeze(fit.intercept_)
        return self

    def scores(self, data: LabelledData, document: int) -> np.ndarray:
        """(n, C) float64 of the labelled positions of a document; 0 for what train lacks."""
        labels = data.labels(document)
        if not len(labels.positions):
            return np.zeros((0, len(data.concepts)))
        return self._features(data.documents[document].data, labels) @ self.coef_ + self.intercept_

    def told(self, data: LabelledData, documents: Sequence[int] | np.ndarray) -> np.ndarray:
        """(n,) the class of the highest score at each of their positions, as `data.target` names
        it; of a single class, `data.otherwise` where its score is not above 0.

        A class that the train documents lacked is never told. InputError where classes do not
        exclude each other.
        """
        K = len(data.classes)
        scores = np.concatenate([self.scores(data, int(i)) for i in documents])
        classes = _highest(scores[:, :K], self.known_[:K])
        none = np.zeros(0, np.int32)
        return data.target(Labels(none, none, none, classes, np.zeros((0, 0), np.float32)))

    def _sample(self, data: LabelledData, split: str) -> list[int]:
        documents = np.random.default_rng(self.seed).permutation(data.indices(split))
        enough = np.searchsorted(np.cumsum(data.counts[documents]), self.rows) + 1
        return documents[:enough].tolist()

    def _rows(
        self, data: LabelledData, documents: list[int]
    ) -> tuple[sparse.csr_matrix, np.ndarray]:
        """Features and labels of their positions, `rows` at the most."""
        X, Y, rows = [], [], 0
        for i in documents:
            labels = data.labels(i)
            if len(labels.positions):
                X.append(self._features(data.documents[i].data, labels))
                Y.append(np.concatenate([labels.classes, labels.numbers], 1, dtype=float))
                rows += len(labels.positions)
        if not X:
            return sparse.csr_matrix((0, self._width())), np.zeros((0, len(data.concepts)))
        every = np.arange(rows)
        if rows > self.rows:
            every = np.random.default_rng(self.seed).permutation(rows)[: self.rows]
        return sparse.csr_matrix(sparse.vstack(X))[every], np.concatenate(Y)[every]

    def _width(self) -> int:
        return COLUMNS if self.vectorizer_ is None else len(self.vectorizer_.vocabulary_) + 1

    def _features(self, data: bytes, labels: Labels) -> sparse.csr_matrix:
        if self.vectorizer_ is not None:
            counts = self.vectorizer_.transform([_text(data)])
            length = sparse.csr_matrix([[np.log1p(len(data))]])
            once = sparse.hstack([counts, length])
            return sparse.csr_matrix(sparse.vstack([once] * len(labels.positions)))
        return _hashed(data, labels)


def surface_figures(data: LabelledData, seed: int = 0, rows: int = TABLE_ROWS) -> np.ndarray:
    """(C,) on test documents: the AUC of a class, Pearson's r of a number; NaN where undefined."""
    model, tests = SurfaceModel(seed, rows).fit(data), data.indices("test")
    values = np.concatenate([model.scores(data, int(i)) for i in tests])
    labels = [data.labels(int(i)) for i in tests]
    found = []
    for k, concept in enumerate(data.concepts):
        y = np.concatenate([data.target(part, concept) for part in labels])
        if len(np.unique(y)) < 2 or np.ptp(values[:, k]) == 0:
            found.append(np.nan)
        elif k < len(data.classes):
            found.append(roc_auc_score(y, values[:, k]))
        else:
            found.append(np.corrcoef(y, values[:, k])[0, 1])
    return np.array(found, float)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _hashed(data: bytes, labels: Labels) -> sparse.csr_matrix:
    """Binary features of what lies before and at each position, by a rolling hash of its bytes."""
    ids = np.frombuffer(data, np.uint8)
    ends = labels.positions.astype(np.int64) + 1
    place = np.arange(len(ids))
    starts_word = ~_SPACE[ids] & np.append(True, _SPACE[ids[:-1]])
    word = np.maximum.accumulate(np.where(starts_word, place, 0))  # where the latest word began
    before = np.append(0, word[:-1])[word]  # and the one before it
    at = labels.positions
    starts = [np.maximum(ends - order, 0) for order in ORDERS] + [word[at], before[at]]
    hashes = [_between(ids, start, ends) for start in starts]
    # the word before, without this one: other words may share what follows it
    hashes.append(_between(ids, before[at], np.maximum(word[at], before[at])))
    hashes.append(np.minimum(ends - word[at], LONGEST).astype(np.uint64))
    # what is labelled, as far as it was read, and its first bytes
    start, end = labels.starts.astype(np.int64), np.minimum(labels.ends, ends)
    hashes += [_between(ids, start, np.minimum(start + order, end)) for order in PREFIXES]
    hashes.append(_between(ids, start, end))
    columns = np.stack(
        [
            (h + np.uint64(kind + 1)) * np.uint64(0xD6E8FEB86659FD93) >> np.uint64(46)
            for kind, h in enumerate(hashes)
        ],
        1,
    )
    n, each = columns.shape
    matrix = sparse.csr_matrix(
        (
            np.ones(n * each),
            columns.reshape(-1).astype(np.int32),
            np.arange(0, n * each + 1, each, dtype=np.int32),
        ),
        shape=(n, COLUMNS),
    )
    matrix.sum_duplicates()
    return matrix


def _between(ids: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """A 64-bit hash of the bytes [start, end) of each pair, by differences of a polynomial's sums.

    It is the sum of (byte + 1) B^(end - place), of whatever document and wherever in it.
    """
    with np.errstate(over="ignore"):
        powers = np.cumprod(np.append(np.uint64(1), np.full(len(ids), _BASE)))
        inverses = np.cumprod(np.append(np.uint64(1), np.full(len(ids), _INVERSE)))
        terms = (ids.astype(np.uint64) + np.uint64(1)) * inverses[:-1]
        sums = np.append(np.uint64(0), np.cumsum(terms, dtype=np.uint64))
        return (sums[ends] - sums[starts]) * powers[ends]


def _highest(scores: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(n, K) bool: the known class of the highest score; a single class where its is above 0."""
    if scores.shape[1] == 1:
        return scores > 0
    best = np.where(known, scores, -np.inf).argmax(1)
    return best[:, None] == np.arange(scores.shape[1])


def _class(X, y, C: float, seed: int, tol: float = 1e-4) -> LogisticRegression | None:
    if len(y) == 0 or y.all() or not y.any():
        return None
    return LogisticRegression(C=C, solver="liblinear", random_state=seed, tol=tol).fit(X, y)


def _best_class(
    X, y, X_dev, y_dev, seed: int, told: Callable[[], None]
) -> LogisticRegression | None:
    """told: called after each fit."""
    fits = []
    for C in CS:
        fit = _class(X, y, C, seed)
        if fit is None:
            return None
        fits.append(fit)
        told()
    if len(y_dev) == 0 or y_dev.all() or not y_dev.any():
        return fits[len(fits) // 2]
    return max(fits, key=lambda fit: roc_auc_score(y_dev, fit.decision_function(X_dev)))


def _best_number(X, y, X_dev, y_dev, told: Callable[[], None]) -> Ridge | None:
    if len(y) == 0 or y.min() == y.max():
        return None
    fits = []
    for alpha in ALPHAS:
        fits.append(Ridge(alpha, solver="lsqr").fit(X, y))
        told()
    if len(y_dev) == 0:
        return fits[len(fits) // 2]
    return min(fits, key=lambda fit: float(((fit.predict(X_dev) - y_dev) ** 2).sum()))
