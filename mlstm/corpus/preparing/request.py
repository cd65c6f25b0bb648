"""What is asked for when the records of files are prepared, checked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlstm.corpus import manifest as manifests
from mlstm.corpus import splitting, texts
from mlstm.corpus.cleaning import check_recipe
from mlstm.corpus.preparing import pieces
from mlstm.corpus.preparing.blocks import BLOCK_BYTES, LONGEST
from mlstm.corpus.preparing.making import Recipe
from mlstm.corpus.sources import TextFile
from mlstm.corpus.vocabulary import Bytes, Table, Vocabulary
from mlstm.errors import InputError

OWN = "own"
TOLD = (
    "field",
    "format",
    "headings",
    "shards",
    "held_out_shards",
    "deduplicated_against",
    "duplicate_share",
)
"""What a manifest says of a request under "source", as `Request.told` gives it."""
_SPLIT_NAMES = {"train": "train", "valid": "validation", "validation": "validation", "test": "test"}


@dataclass(frozen=True)
class Request:
    """As `prepare_texts` says."""

    field: str = "text"
    format: str = "auto"
    headings: bool = True
    splits: Sequence[float] | None = None
    reset: str = "document"
    vocabulary: Vocabulary | None = None
    cleaning: str = "none"
    strict: bool = False
    overwrite: bool = False
    shard_bytes: int = 256 << 20
    shards: int | None = None
    held_out_shards: Sequence[int] = (1, 1)
    deduplicate_against: Sequence[str] = ()
    duplicate_share: float = 0.5
    block_bytes: int = BLOCK_BYTES

    def __post_init__(self) -> None:
        if self.format not in texts.FORMATS:
            raise InputError(f'no format "{self.format}"; there are {", ".join(texts.FORMATS)}')
        check_recipe(self.cleaning)
        if not self.ids.encodes:
            raise InputError(f"the vocabulary {self.ids} cannot encode text: a corpus needs one")
        if self.reset not in manifests.RESETS:
            raise InputError(f"reset is {self.reset!r}; it can be {' or '.join(manifests.RESETS)}")
        if self.shard_bytes < 1:
            raise InputError(f"shards of {self.shard_bytes} bytes hold nothing; 1 is the least")
        held_out = tuple(self.held_out_shards)
        if self.shards is not None:
            if self.shards < 1 or len(held_out) != 2 or min(held_out) < 0:
                raise InputError(
                    f"{self.shards} shards and {', '.join(map(str, held_out))} held-out ones: one "
                    "or more are wanted, and two numbers for validation and test, as in "
                    "--shards=1000 --held_out_shards=1,1"
                )
            if self.splits is not None:
                raise InputError(
                    "--shards says how much is held out; leave the fractions (--splits) out"
                )
        if not 0 <= self.duplicate_share <= 1:
            raise InputError(f"a share of {self.duplicate_share} is not between 0 and 1")
        splitting.fractions(self.splits)

    @property
    def ids(self) -> Vocabulary:
        return self.vocabulary or Bytes()

    @property
    def fractions(self) -> list[float]:
        return list(splitting.fractions(self.splits))

    def recipe(self, lines: bool) -> Recipe:
        """lines: of a file whose texts are its lines, which keep their ends uncleaned."""
        vocabulary = self.ids
        has_end = not isinstance(vocabulary, Table) or b"\n" in vocabulary.symbols
        return Recipe(
            self.field,
            self.cleaning,
            vocabulary.to_json(),
            "\n" if lines and self.cleaning == "none" and has_end else "",
            None if self.shards is not None else self.fractions,
        )

    def format_of(self, path: Path) -> str:
        return texts.format_of(path) if self.format == "auto" else self.format

    def told(self) -> dict[str, Any]:
        """See TOLD; what is as ever is not said."""
        said: dict[str, Any] = {"field": self.field}
        if self.format != "auto":
            said["format"] = self.format
        if not self.headings:
            said["headings"] = False
        if self.shards is not None:
            said |= {"shards": self.shards, "held_out_shards": list(self.held_out_shards)}
        if self.deduplicate_against:
            said["deduplicated_against"] = [str(name) for name in self.deduplicate_against]
            said["duplicate_share"] = self.duplicate_share
        return said

    def key(self, files: Sequence[TextFile], formats: Sequence[str]) -> list[Any]:
        """All that a piece depends on."""
        found = []
        for file, format in zip(files, formats, strict=True):
            status = file.path.stat()
            found.append([file.name, file.split, format, status.st_size, status.st_mtime_ns])
        recipe = self.recipe(lines=True).to_json()
        return [pieces.VERSION, self.block_bytes, LONGEST, recipe, self.told(), found]


def with_splits(files: list[TextFile], request: Request) -> list[TextFile]:
    """The files; those of WikiText say by their names which split they are: wiki.train.tokens."""
    if len(files) > 1 and request.format.startswith("wikitext"):
        found = [re.split(r"[._-]", Path(file.name).name) for file in files]
        splits = [next(filter(None, map(_SPLIT_NAMES.get, parts)), None) for parts in found]
        if all(splits):
            files = [replace(file, split=split) for file, split in zip(files, splits, strict=True)]
    asked = request.splits is not None or request.shards is not None
    if asked and any(file.split is not None for file in files):
        raise InputError("this source fixes its own split; leave the fractions out")
    return files
