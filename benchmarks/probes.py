"""Probing every byte in one pass: beside the bare forward pass, and beside files of activations.

    python benchmarks/probes.py --part=pass --hidden=512 --bytes=65536 --rounds=3
    python benchmarks/probes.py --part=stored --stored_bytes=65536
    python benchmarks/probes.py --part=neurons --of=100
    python benchmarks/probes.py --part=memory --small=2 --large=16

pass: moments and 256-bin histograms of h and c, 10 concepts, 8 folds, as `score_neurons` takes
them without its twin, against the same streams whose states are dropped on the device; and the
permutation null beside them. stored: the activations of every byte of h and c written as float32,
one file for each document and site, read back whole, ranked by differences of means, and given to
a logistic regression for each concept, which is the way of NeuroX (Dalvi et al. 2019); without the
writing they stay in memory. Ours is one pass for the scores and for the sums that a ridge and a
diagonal Gaussian probe for each concept are solved from. neurons: a logistic probe for each neuron
at once, against scikit-learn one after another. memory: the peak of ours, scores and probes, on a
small and a large text.

Stored and memory run each way in a process of its own, so that a peak is its own; their times
include what is compiled. The model's parameters are random: no time depends on them.
"""

import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import timing

from mlstm.corpus.vocabulary import Bytes
from mlstm.model import encoding, language_model
from mlstm.model.config import ModelConfig
from mlstm.trained import Model
from probing.evidence import figures, null
from probing.evidence.probes import GaussianProbe, RidgeProbe, SingleNeuronProbes
from probing.evidence.probes.sums import FoldSums
from probing.evidence.significance import NullSums
from probing.states import activations
from probing.states.collect import collect, pilot_numbers
from probing.states.gram import Gram, GramSummary
from probing.states.statistics import Statistics, Summary
from probing.tasks import LabelledData, LabelledDocument, every_byte
from probing.tasks.labelled import Labels

SITES = "0.h", "0.c"
CONCEPTS = 10
DOCUMENT = 1024  # bytes
PARTS = "pass", "stored", "neurons", "memory"
WAYS = "files", "arrays", "ours"


def random_model(hidden: int) -> Model:
    config = ModelConfig(hidden=hidden)
    return Model(config, language_model.init_parameters(config, jax.random.key(0)), Bytes())


def labelled_text(size: int) -> LabelledData:
    """Random bytes in documents; byte value v has concept k where k + 2 divides v."""

    def labels(text: bytes) -> Labels:
        ids = np.frombuffer(text, np.uint8)
        classes = ids[:, None] % np.arange(2, 2 + CONCEPTS) == 0
        return every_byte(classes, np.zeros((len(ids), 0), np.float32))

    def document(nth: int, length: int) -> LabelledDocument:
        text = np.random.default_rng(nth).integers(0, 256, length, np.uint8).tobytes()
        return LabelledDocument(f"{nth:06}", text, functools.partial(labels, text))

    documents = tuple(
        document(nth, min(DOCUMENT, size - start))
        for nth, start in enumerate(range(0, size, DOCUMENT))
    )
    names = tuple(f"divided by {k + 2}" for k in range(CONCEPTS))
    return LabelledData("divisors", "random bytes", "byte", names, (), documents)


def forward(model: Model, data: LabelledData) -> Callable[[], object]:
    """The streams that scoring reads, their states dropped on the device."""
    texts = [model.vocabulary.encode(document.data) for document in data.documents]
    streams = encoding.choose_streams([len(text) for text in texts], activations.WINDOW)

    def run() -> object:
        states = None
        for window in encoding.stream_states(
            model.config,
            model.parameters,
            texts,
            SITES,
            streams=streams,
            window=activations.WINDOW,
        ):
            states = jax.block_until_ready(window.states)
        return states

    return run


def permuted(model: Model, data: LabelledData, draws: int) -> dict[str, NullSums]:
    """Sums of all units beside the first concept's labels and their permutations."""
    data = data.only(data.classes[0])
    documents = np.arange(len(data.documents))
    labels = null.null_labels(data, documents, draws, 0)
    sums = {site: NullSums.init(draws, model.config.hidden) for site in SITES}
    for window in activations.stream(model, data, SITES):
        y = np.zeros((len(window.split), 1 + draws), np.float32)
        y[:, 0] = window.classes[:, 0]
        for i in np.unique(window.document[window.document >= 0]).tolist():
            rows = np.flatnonzero(window.document == i)
            first = int(window.position[rows].min())
            y[rows, 1:] = labels.of(i, slice(first, first + len(rows)))[:, :, 0].T
        for site in SITES:
            sums[site] = sums[site].update(window.states[site], y, window.split >= 0)
    return sums


def time_pass(given) -> None:
    model, data = random_model(given.hidden), labelled_text(given.bytes)
    pilots = activations.sample(model, data, SITES)
    numbers = pilot_numbers(data)

    def one_pass() -> object:
        parts = {
            site: [Statistics.init(pilot, activations.FOLDS, CONCEPTS, numbers)]
            for site, pilot in pilots.items()
        }
        return collect(model, data, parts)

    runs = {
        "forward pass": forward(model, data),
        "scoring, one pass": one_pass,
        "pilot sample": lambda: activations.sample(model, data, SITES),
        f"null, {given.draws} draws": lambda: permuted(model, data, given.draws),
    }
    machine = timing.machine()
    times = timing.interleaved(runs, given.rounds)
    bare = times["forward pass"]
    rows = [
        {"name": name, "ms": 1e3 * now.median, "best": 1e3 * now.best, "ratio": now.ratio(bare)}
        for name, now in times.items()
    ]
    columns = {"name": ("", ""), "ms": ("ms", ".0f"), "best": ("best", ".0f")}
    print(
        f"H {given.hidden}, {given.bytes:,} bytes, {CONCEPTS} concepts, {', '.join(SITES)}, "
        f"{activations.FOLDS} folds; {given.rounds} rounds on {timing.described(machine)}"
    )
    print(timing.table(columns | {"ratio": ("to forward", ".2f")}, rows))


def time_neurons(given) -> None:
    from sklearn.linear_model import LogisticRegression

    draw = np.random.default_rng(0)
    y = draw.random(given.rows) < 0.3
    x = draw.normal(size=(given.rows, given.neurons)).astype(np.float32)
    x += y[:, None] * draw.normal(0, 0.5, given.neurons).astype(np.float32)
    some = (x - x.mean(0))[:, : given.of] / x.std(0)[: given.of]

    def one_by_one() -> object:
        return [
            LogisticRegression(tol=1e-6).fit(some[:, [k]], y).coef_[0, 0]
            for k in range(some.shape[1])
        ]

    ours = SingleNeuronProbes().fit(x, y[:, None]).coef_standard_[0, : given.of]
    differs = float(np.abs(ours - np.array(one_by_one())).max())
    machine = timing.machine()
    runs = {"ours": lambda: SingleNeuronProbes().fit(x, y[:, None]), "scikit-learn": one_by_one}
    times = timing.interleaved(runs, given.rounds)
    share = some.shape[1] / given.neurons
    ratio = times["scikit-learn"].ratio(times["ours"]) / share
    print(
        f"{given.neurons} logistic probes of one neuron, {given.rows} rows; {given.rounds} rounds "
        f"on {timing.described(machine)}\n"
        f"ours, all at once: {times['ours'].median:.3f} s; scikit-learn, {some.shape[1]} of them "
        f"timed: {times['scikit-learn'].median / share:.2f} s for all; ratio {ratio:.1f}; "
        f"slopes differ by {differs:.0e}"
    )


def peak() -> float:
    """MB that this process has held at most."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / 1e6 if sys.platform == "darwin" else size * 1024 / 1e6


def fold_sums(gram: GramSummary, summary: Summary, concept: int) -> FoldSums:
    """Those of one concept over its two classes, off and on; the last two slots, dev and test,
    are left out: folds of train alone. Squares come from the scores' own moments."""
    train = slice(0, activations.FOLDS)
    n, x, xx = gram.y[train, 0], gram.xy[train, :, 0], gram.xx[train]
    on, x_on = gram.y[train, 1 + concept], gram.xy[train, :, 1 + concept]
    y = np.stack([n - on, on], -1)
    # The moments have one slot of train: its squares stand in the first fold, the sum is right.
    squares = np.zeros((*x.shape, 2))
    of_all, of_on = summary.yxx[0, 0], summary.yxx[0, 1 + concept]
    squares[0] = np.stack([of_all - of_on, of_on], -1)
    return FoldSums(n, x, xx, y, y, np.stack([x - x_on, x_on], -1), squares)


def way_ours(given) -> dict:
    """Scores of all neurons, and a Gaussian and a ridge probe for each concept."""
    model, data = random_model(given.hidden), labelled_text(given.stored_bytes)
    start = time.perf_counter()
    score_and_fit(model, data)
    return {"seconds": time.perf_counter() - start, "disk": 0}


def score_and_fit(model: Model, data: LabelledData) -> None:
    """What scores and probes from statistics need of one pass, and both."""
    numbers, parts = pilot_numbers(data), {}
    for site, pilot in activations.sample(model, data, SITES).items():
        scores = Statistics.init(pilot, activations.FOLDS, CONCEPTS, numbers)
        parts[site] = [scores, Gram.init(scores.centre, scores.scale, CONCEPTS)]
    for summary, gram in collect(model, data, parts).values():
        figures.scores(summary, CONCEPTS)
        for concept in range(CONCEPTS):
            sums = fold_sums(gram, summary, concept)
            whole = sums.all()
            RidgeProbe(alphas=(100.0,)).fit_sums(whole, [False, True])
            GaussianProbe().fit_sums(whole, [False, True])


def way_stored(given, files: bool) -> dict:
    """Activations of all bytes kept, in files or in memory, before anything is made of them."""
    from sklearn.linear_model import LogisticRegression

    model, data = random_model(given.hidden), labelled_text(given.stored_bytes)
    start = time.perf_counter()
    disk = 0
    with tempfile.TemporaryDirectory() as folder:
        kept = {}
        texts = [document.data for document in data.documents]
        for i, states in enumerate(_states(model, texts)):
            for site, array in states.items():
                if files:
                    np.save(Path(folder) / f"{i}-{site}.npy", array)
                else:
                    kept[i, site] = array
        if files:
            disk = sum(path.stat().st_size for path in Path(folder).iterdir())
            kept = {
                (i, site): np.load(Path(folder) / f"{i}-{site}.npy")
                for i in range(len(texts))
                for site in SITES
            }
        x = np.concatenate(
            [np.concatenate([kept[i, site] for site in SITES], 1) for i in range(len(texts))]
        )
    y = np.concatenate([data.labels(i).classes for i in range(len(texts))])
    x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-6)
    np.argsort(-np.abs([x[on].mean(0) - x[~on].mean(0) for on in y.T]), 1)
    train = np.concatenate(
        [np.full(len(text), data.splits[i] == 0) for i, text in enumerate(texts)]
    )
    x_train, y_train = x[train], y[train]
    for on in y_train.T:
        LogisticRegression(max_iter=given.epochs).fit(x_train, on)
    return {"seconds": time.perf_counter() - start, "disk": disk}


def _states(model: Model, texts: list[bytes]) -> list[dict[str, np.ndarray]]:
    """(bytes, H) of each site, for each text; read side by side, as ours."""
    ids = [model.vocabulary.encode(text) for text in texts]
    kept = [
        {site: np.empty((len(text), model.config.hidden), np.float32) for site in SITES}
        for text in ids
    ]
    streams = encoding.choose_streams([len(text) for text in ids], activations.WINDOW)
    for window in encoding.stream_states(
        model.config, model.parameters, ids, SITES, streams=streams, window=activations.WINDOW
    ):
        for site in SITES:
            states = np.asarray(window.states[site])
            for i in np.unique(window.text[window.text >= 0]).tolist():
                here = window.text == i
                kept[i][site][window.position[here]] = states[here]
    return kept


def child(given, *flags: str) -> dict:
    """What a process of its own says of one way."""
    same = ("hidden", "stored_bytes", "epochs", "memory_hidden")
    done = subprocess.run(
        [sys.executable, __file__, *(f"--{n}={getattr(given, n)}" for n in same), *flags],
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def time_stored(given) -> None:
    machine = timing.machine()
    found = {way: [] for way in WAYS}
    for _ in range(given.rounds):
        for way in WAYS:
            found[way].append(child(given, f"--way={way}"))
    names = {"files": "stored, read back", "arrays": "kept in memory", "ours": "ours, one pass"}
    times = {way: timing.Times([r["seconds"] for r in runs]) for way, runs in found.items()}
    rows = [
        {
            "name": names[way],
            "s": times[way].median,
            "ratio": times[way].ratio(times["ours"]),
            "peak": max(run["peak"] for run in runs),
            "disk": runs[0]["disk"] / 1e6,
        }
        for way, runs in found.items()
    ]
    columns = {"name": ("", ""), "s": ("s", ".1f"), "ratio": ("to ours", ".2f")}
    print(
        f"H {given.hidden}, {given.stored_bytes:,} bytes, {CONCEPTS} concepts, {', '.join(SITES)}; "
        f"{given.rounds} rounds on {timing.described(machine)}"
    )
    print(timing.table(columns | {"peak": ("MB", ".0f"), "disk": ("MB on disk", ".1f")}, rows))


def show_memory(given) -> None:
    sizes = {size: child(given, f"--score={size}") for size in (given.small, given.large)}
    small, large = sizes[given.small]["peak"], sizes[given.large]["peak"]
    print(
        f"peak of scores and probes, H {given.memory_hidden}: {given.small} MB {small:.0f} MB, "
        f"{given.large} MB {large:.0f} MB; {large - small:+.0f} MB, of which the text is "
        f"{given.large - given.small}"
    )


def read_flags():
    flags = timing.Flags(description=(__doc__ or "").partition("\n")[0])
    numbers = {
        "hidden": 512, "bytes": 65536, "rounds": 3, "draws": 100, "stored_bytes": 65536,
        "epochs": 100, "rows": 2000, "neurons": 1000, "of": 100, "small": 2, "large": 16,
        "memory_hidden": 64,
    }  # fmt: skip
    for name, default in numbers.items():
        flags.add_argument(f"--{name}", type=timing.count, default=default)
    flags.add_argument("--part", type=timing.names, default=list(PARTS), help=", ".join(PARTS))
    flags.add_argument("--way", choices=WAYS, help="one way of `stored` alone, as JSON")
    flags.add_argument("--score", type=timing.count, help="MB to score alone, as JSON")
    given = flags.parse_args()
    for part in given.part:
        if part not in PARTS:
            flags.error(f'--part: "{part}" is none of {", ".join(PARTS)}')
    return given


def main():
    given = read_flags()
    if given.way:
        ways = {"ours": way_ours, "files": lambda g: way_stored(g, True)}
        found = ways.get(given.way, lambda g: way_stored(g, False))(given)
        print(json.dumps(found | {"peak": peak()}))
    elif given.score:
        data = labelled_text(given.score * 1_000_000)
        score_and_fit(random_model(given.memory_hidden), data)
        print(json.dumps({"peak": peak()}))
    else:
        parts = dict(zip(PARTS, (time_pass, time_stored, time_neurons, show_memory), strict=True))
        for part in given.part:
            parts[part](given)


if __name__ == "__main__":
    main()
