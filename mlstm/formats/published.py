"""Models that others published, by name, and the place of each on this machine.

A name is read as "published:NAME". Files are kept in the cache of `mlstm.downloads`, and checked by
their sha256 where that is known.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from mlstm import downloads
from mlstm.downloads import Progress, cache
from mlstm.errors import InputError
from mlstm.formats.published_models import MODELS, Part, Published


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
            if part.sha256:
                downloads.verify(path, part.sha256, "remove it, to have it downloaded")
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
