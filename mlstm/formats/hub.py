"""Models on the Hugging Face hub, through huggingface_hub where it is installed: hf:owner/name."""

from __future__ import annotations

from pathlib import Path

from mlstm.errors import InputError

_WEIGHTS = ("npy", "npz", "safetensors", "pt", "pth", "bin", "pkl", "h5", "hdf5", "json", "csv")


def fetched(name: str) -> Path:
    """The folder, or file, of hf:owner/name or hf:owner/name:file in the hub's own cache.

    Raises InputError where the package is not installed, the model cannot be had, or the name is
    none.
    """
    repository, _, file = name.removeprefix("hf:").partition(":")
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise InputError(f"{name}: a model on the hub is hf:owner/name, or hf:owner/name:file")
    try:
        from huggingface_hub import snapshot_download  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            f"{name}: huggingface_hub is not installed (pip install huggingface_hub); or download "
            "the model and give its path"
        ) from None
    wanted = [file] if file else [f"*.{kind}" for kind in _WEIGHTS]
    try:
        folder = Path(snapshot_download(repository, allow_patterns=wanted))
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(
            f"{name}: cannot be had from the hub ({said}); or download it and give its path"
        ) from None
    place = folder / file if file else folder
    if not place.exists():
        raise InputError(f"{name}: the model has no file {file!r}")
    return place
