"""Text to token streams: sources, prepared corpora on disk, truncated-BPTT windows."""

from mlstm.corpus.reading import Corpus, Split
from mlstm.corpus.records import prepare_share, prepare_texts
from mlstm.corpus.shards import open_source, prepare, prepare_source
from mlstm.corpus.sources import Document, TextFile, documents
from mlstm.corpus.stream import Batch, Stream, prefetch
from mlstm.corpus.vocabulary import Bytes, Table

__all__ = [
    "Batch",
    "Bytes",
    "Corpus",
    "Document",
    "Split",
    "Stream",
    "Table",
    "TextFile",
    "documents",
    "open_source",
    "prefetch",
    "prepare",
    "prepare_share",
    "prepare_source",
    "prepare_texts",
]
