"""Text to token streams: sources, prepared corpora on disk, truncated-BPTT windows."""

from mlstm.corpus.characters import Characters
from mlstm.corpus.fitting import FitCharacters, FitWords
from mlstm.corpus.reading import Corpus, Split
from mlstm.corpus.records import prepare_share, prepare_texts
from mlstm.corpus.shards import open_source, prepare, prepare_source
from mlstm.corpus.sources import Document, TextFile, documents
from mlstm.corpus.stream import Batch, Stream, prefetch
from mlstm.corpus.vocabulary import Bytes, Table
from mlstm.corpus.words import Words

__all__ = [
    "Batch",
    "Bytes",
    "Characters",
    "Corpus",
    "Document",
    "FitCharacters",
    "FitWords",
    "Split",
    "Stream",
    "Table",
    "TextFile",
    "Words",
    "documents",
    "open_source",
    "prefetch",
    "prepare",
    "prepare_share",
    "prepare_source",
    "prepare_texts",
]
