"""A document as a recipe of `cleaning` makes it, for whoever reads documents."""

from collections.abc import Iterator
from dataclasses import dataclass

from mlstm.corpus.cleaning import clean_whole
from mlstm.corpus.cut_by_bytes import FilePart
from mlstm.corpus.sources import Document, TextFile


@dataclass(frozen=True)
class CleanedDocument:
    """A document that is read whole, and cleaned, when it is asked for."""

    raw: Document | TextFile | FilePart
    recipe: str

    @property
    def name(self) -> str:
        return self.raw.name

    @property
    def size(self) -> int:
        return self.raw.size

    @property
    def split(self) -> str | None:
        return self.raw.split

    def length(self) -> None:
        """It is known when the text is cleaned, not before."""
        return

    def chunks(self) -> Iterator[tuple[bytes, int]]:
        """Yields (all of the text, source bytes read); nothing of an empty one. InputError."""
        data = self.raw.data
        if data:
            yield clean_whole(data, self.recipe), self.size
