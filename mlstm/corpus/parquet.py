"""The rows of a .parquet file, some at a time. Needs pyarrow, the extra "parquet"."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlstm.errors import InputError

_ROWS = 4096  # at a time: of rows of a kilobyte a few megabytes


def columns(path: Path) -> list[str]:
    """The names of the columns. Raises InputError."""
    with _open(path) as file:
        return list(file.schema_arrow.names)


def rows(path: Path, names: list[str]) -> Iterator[tuple[Any, ...]]:
    """The values of these columns, row for row. Raises InputError."""
    import pyarrow

    with _open(path) as file:
        try:
            for batch in file.iter_batches(batch_size=_ROWS, columns=names, use_threads=False):
                yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise _damaged(path, error) from error


def _open(path: Path):
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(
            f"{path}: reading .parquet needs pyarrow: pip install 'mlstm[parquet]'"
        ) from None
    try:
        return pyarrow.parquet.ParquetFile(path, memory_map=True)
    except FileNotFoundError:
        raise InputError(f"{path}: cannot be read: No such file or directory") from None
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    said = " ".join(str(error).split())[:200]
    return InputError(f"{path}: damaged, cut short, or not a .parquet file ({said}); get it again")
