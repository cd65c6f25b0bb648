"""manifest.json: what a prepared corpus says of itself, and whether its files agree.

{"format": "mlstm corpus", "format_version": 1, "created_by": "mlstm 0.1.0",
 "vocabulary": {"kind": "bytes"}, "cleaning": "none", "reset": "document",
 "source": {...}, "fractions": [0.9, 0.05, 0.05], "skipped": {"empty": 0, "unreadable": []},
 "digest": sha256,
 "splits": {"train": {"ids": n, "documents": n, "shards": [
     {"ids": n, "documents": n, "files": {"train-00000.bin": {"size": n, "sha256": ...},
                                          "train-00000.starts.npy": ...,
                                          "train-00000.names.txt": ...}}]}}}

Where ids are not bytes, "fitted" says how the vocabulary was asked for, null where it was given. A
split and each of its shards have "bytes", those of the text, "unknown", how many of the ids are,
"spelling", the nats that these cost, and "changed", bytes that the vocabulary could not keep, at
the least; a shard has a file more, "train-00000.unknown.txt".
"""

import hashlib
import importlib.metadata
import json
import math
import os
import re
from pathlib import Path
from typing import Any

from mlstm.corpus.sources import SPLITS
from mlstm.corpus.vocabulary import Vocabulary, from_json
from mlstm.errors import InputError

NAME = "manifest.json"
FORMAT = "mlstm corpus"
FORMAT_VERSION = 1
RESETS = ("document", "shard")
PARTS = (".bin", ".starts.npy", ".names.txt")
UNKNOWN = ".unknown.txt"
_SHARD_FILE = re.compile(
    r"(train|validation|test)-\d{5}(\.bin|\.starts\.npy|\.names\.txt|\.unknown\.txt)"
)


def shard_files(split: str, number: int, *, bytewise: bool = True) -> list[str]:
    """The names of a shard's ids, document starts and document names; of its unknown tokens last,
    where ids are not bytes."""
    parts = PARTS if bytewise else (*PARTS, UNKNOWN)
    return [f"{split}-{number:05d}{part}" for part in parts]


_SUMS = ("ids", "documents", "bytes", "unknown", "spelling", "changed")


def make(
    splits: dict[str, list[dict]],
    *,
    vocabulary: Vocabulary,
    cleaning: str,
    reset: str,
    source: dict,
    fractions: list[float] | None,
    skipped: dict,
    fitted: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The manifest of the given shards. `fractions` is None where the source fixed the split;
    `fitted` describes what the vocabulary was made from, if it was."""
    sums = ("ids", "documents") if vocabulary.bytewise else _SUMS
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "created_by": f"mlstm {_version()}",
        "vocabulary": vocabulary.to_json(),
        "cleaning": cleaning,
        "reset": reset,
        "source": source,
        "fractions": fractions,
        "skipped": skipped,
        "splits": {
            split: {
                **{count: sum(shard[count] for shard in shards) for count in sums},
                "shards": shards,
            }
            for split, shards in splits.items()
        },
    }
    if not vocabulary.bytewise:
        manifest["fitted"] = fitted
    return manifest | {"digest": digest(manifest)}


def digest(manifest: dict[str, Any]) -> str:
    """sha256 over what a reader of the corpus sees: vocabulary, resets, the digest of each file."""
    files = {
        split: [
            {name: file["sha256"] for name, file in shard["files"].items()}
            for shard in part["shards"]
        ]
        for split, part in manifest["splits"].items()
    }
    seen = [manifest["vocabulary"], manifest["cleaning"], manifest["reset"], files]
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


def is_in(folder: Path) -> bool:
    """Whether there is one, so that the folder is meant as a prepared corpus."""
    return os.path.exists(folder / NAME)


def write(manifest: dict[str, Any], folder: Path) -> None:
    (folder / NAME).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def read(folder: Path) -> dict[str, Any]:
    """The manifest in `folder`, its fields checked. Raises InputError."""
    path = folder / NAME
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"{folder} is not a prepared corpus: there is no {NAME} in it"
            if folder.is_dir()
            else f"{folder}: no such folder"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged: not JSON ({error}); prepare the corpus again") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{path} is not the manifest of a prepared corpus")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{path}: format_version {manifest.get('format_version')!r} cannot be read; "
            f"this version reads {FORMAT_VERSION}"
        )
    from_json(manifest.get("vocabulary"))
    try:
        fault = _fault(manifest)
    except (KeyError, TypeError, AttributeError) as error:
        fault = f"a field is missing or of the wrong type ({error!r})"
    if fault:
        raise InputError(f"{path}: damaged: {fault}; prepare the corpus again")
    return manifest


def files(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each file that the corpus consists of, with its size and sha256."""
    return {
        name: file
        for part in manifest["splits"].values()
        for shard in part["shards"]
        for name, file in shard["files"].items()
    }


def check_sizes(manifest: dict[str, Any], folder: Path) -> None:
    """Raises InputError where a file is missing or has another size than the manifest says."""
    for name, file in files(manifest).items():
        path = folder / name
        try:
            size = path.stat().st_size
        except OSError as error:
            raise InputError(
                f"{path}: {error.strerror or error}; prepare the corpus again"
            ) from error
        if size != file["size"]:
            raise InputError(
                f"{path} has {size} bytes, {NAME} says {file['size']}; prepare the corpus again"
            )


def _fault(manifest: dict[str, Any]) -> str | None:
    """What is wrong, in words. A missing field or a wrong type may raise instead."""
    if manifest["reset"] not in RESETS:
        return f"reset {manifest['reset']!r} is none of {', '.join(RESETS)}"
    if not isinstance(manifest["cleaning"], str) or not isinstance(manifest["source"], dict):
        return "cleaning or source has the wrong type"
    vocabulary = from_json(manifest["vocabulary"])
    itemsize = vocabulary.dtype().itemsize
    for split, part in manifest["splits"].items():
        if split not in SPLITS:
            return f"split {split!r} is none of {', '.join(SPLITS)}"
        for number, shard in enumerate(part["shards"]):
            names = shard_files(split, number, bytewise=vocabulary.bytewise)
            if sorted(shard["files"]) != sorted(names) or not all(
                map(_SHARD_FILE.fullmatch, names)
            ):
                return f"the files of shard {number} of {split} are not {', '.join(names)}"
            if shard["ids"] < 1 or shard["ids"] * itemsize != shard["files"][names[0]]["size"]:
                return f"{shard['ids']} ids do not fit the size of {names[0]}"
            if not vocabulary.bytewise and (fault := _counts_fault(shard)):
                return f"shard {number} of {split}: {fault}"
        for count in ("ids", "documents") if vocabulary.bytewise else _SUMS:
            if part[count] != sum(shard[count] for shard in part["shards"]):
                return f"the {count} of {split} are not the sum of its shards'"
    if manifest["digest"] != digest(manifest):
        return "the digest does not fit the rest (the file was changed)"
    return None


def _counts_fault(shard: dict[str, Any]) -> str | None:
    """What is wrong with what a shard says of its text."""
    size, unknown, nats = shard["bytes"], shard["unknown"], shard["spelling"]
    whole = all(type(count) is int for count in (size, unknown, shard["changed"]))
    if not whole or type(nats) not in (int, float):
        return "bytes, unknown or spelling is no number"
    if not (0 <= unknown <= shard["ids"] and size >= 0 and math.isfinite(nats) and nats >= 0):
        return f"{size} bytes, {unknown} unknown, spelling {nats} of {shard['ids']} ids"
    return None


def _version() -> str:
    try:
        return importlib.metadata.version("mlstm")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"
