"""Whether a corpus that is there already is the one that is asked for, or may be written over."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlstm.corpus import identity, splitting
from mlstm.corpus import manifest as manifests
from mlstm.corpus.fitting import Fit
from mlstm.corpus.folders import writing
from mlstm.corpus.reading import Corpus
from mlstm.corpus.vocabulary import Vocabulary
from mlstm.errors import InputError


def check_output(
    folder: Path,
    overwrite: bool,
    *,
    source: dict[str, Any],
    settings: dict[str, Any],
    fractions: Sequence[float],
) -> None:
    """Refuses what must not be replaced, as far as it is known before any work is done."""
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise InputError(f"{folder} exists and is not a folder; name another output")
    names = set(os.listdir(folder))
    if not names:
        return
    if manifests.NAME not in names:
        raise InputError(
            f"{folder} exists, is not empty and is no prepared corpus; name another output"
        )
    found = manifests.read(folder)
    foreign = names - set(manifests.files(found)) - {manifests.NAME}
    if not overwrite:
        # A source that fixes its own split has no fractions.
        # The vocabulary that is still to be made is known by how it was asked for.
        alike = all(found.get(name) == value for name, value in settings.items())
        alike = alike and found["fractions"] in (None, list(fractions))
        if not alike or identity.differ(found["source"], source):
            raise other(folder, found)
    elif foreign:
        raise InputError(
            f"{folder} holds {min(foreign)}, which is no part of the corpus there; "
            "move it away or name another output"
        )


def adopt(new: Path, folder: Path, manifest: dict[str, Any]) -> None:
    """Leaves a corpus with the same contents where it is, but has its manifest tell of this run:
    its source, and what was left out. Raises InputError for one with others, or damaged."""
    found = manifests.read(folder)
    if found["digest"] != manifest["digest"]:
        raise other(folder, found)
    Corpus.open(folder).verify()
    if found != manifest:
        with writing(folder):
            os.replace(new / manifests.NAME, folder / manifests.NAME)


def other(folder: Path, found: dict[str, Any]) -> InputError:
    """For a corpus that is not the one that is asked for; `found` is its manifest."""
    return InputError(
        f"{folder} is a corpus with other contents or settings, prepared from "
        f"{identity.words(found['source'])}; overwrite it (--overwrite) or name another output"
    )


def with_settings(
    corpus: Corpus,
    splits: Sequence[float] | None,
    reset: str | None,
    vocabulary: Vocabulary | Fit | None,
    cleaning: str | None,
) -> Corpus:
    """The corpus, if it has the settings that were asked for."""
    if isinstance(vocabulary, Fit):
        if corpus.manifest.get("fitted") != vocabulary.to_json():
            raise InputError(
                f"{corpus.folder} was prepared with the vocabulary {corpus.vocabulary}, not with "
                f"{vocabulary}; prepare it again elsewhere"
            )
    elif vocabulary is not None and corpus.vocabulary != vocabulary:
        raise InputError(
            f"{corpus.folder} was prepared with the vocabulary {corpus.vocabulary}, not "
            f"{vocabulary}; prepare it again elsewhere"
        )
    if cleaning is not None and corpus.cleaning != cleaning:
        raise InputError(
            f"{corpus.folder} was prepared with the cleaning {corpus.cleaning!r}, not "
            f"{cleaning!r}; prepare it again elsewhere"
        )
    if reset is not None and corpus.reset != reset:
        raise InputError(
            f"{corpus.folder} was prepared with reset {corpus.reset!r}, not {reset!r}; "
            "prepare it again elsewhere"
        )
    if splits is not None and corpus.manifest["fractions"] != list(splitting.fractions(splits)):
        raise InputError(
            f"{corpus.folder} was prepared with splits {corpus.manifest['fractions']}, not "
            f"{list(splits)}; prepare it again elsewhere"
        )
    return corpus
