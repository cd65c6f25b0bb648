"""The records of files to a corpus: blocks to pieces by several processes, pieces to shards."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlstm.corpus import agreement, identity, sources, texts
from mlstm.corpus import manifest as manifests
from mlstm.corpus.files import user_path
from mlstm.corpus.fitting import Fit
from mlstm.corpus.folders import recover
from mlstm.corpus.preparing import assembling, comparing, crew, pieces
from mlstm.corpus.preparing.blocks import Survey, blocks
from mlstm.corpus.preparing.making import FileOf
from mlstm.corpus.preparing.pieces import Piece
from mlstm.corpus.preparing.request import TOLD, Request, with_splits
from mlstm.corpus.preparing.staging import Staging
from mlstm.corpus.preparing.worker import Made, Make
from mlstm.corpus.reading import Corpus
from mlstm.corpus.sources import TextFile
from mlstm.corpus.vocabulary import Vocabulary
from mlstm.errors import InputError

Progress = Callable[[int, int], None]
_UNEVEN = 1.5  # how much more than its part a share may have before files are cut
_JOINING = 4  # joining the pieces is told as a quarter of making them, which it is about


@dataclass(frozen=True)
class Waiting:
    """A share of the work is done, and the corpus is not: others are still at work."""

    folder: Path
    missing: tuple[int, ...]
    """The shares, from 0, that have not all of their pieces; none where another process is joining
    the pieces at this moment."""

    def __str__(self) -> str:
        if not self.missing:
            return f"{self.folder}: this share is done; another process is joining the pieces"
        shares = ", ".join(map(str, self.missing[:20])) + (", ..." if self.missing[20:] else "")
        return (
            f"{self.folder}: this share is done; of {len(self.missing)} others pieces are missing "
            f"({shares}). The last to end joins them; one that died is to be run again"
        )


def prepare_records(
    source: str | os.PathLike,
    folder: str | os.PathLike,
    request: Request,
    *,
    processes: int = 1,
    share: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> Corpus | Waiting:
    """As `corpus.prepare_texts`; with `share` = (i, n), the i-th of n shares of the work, of which
    the one that finds all pieces made joins them. Raises InputError."""
    folder = user_path(folder).absolute()
    if share is not None and not 0 <= share[0] < share[1]:
        raise InputError(f"share {share[0]} of {share[1]}: shares are 0 to {share[1] - 1}")
    if share is not None and request.overwrite:
        raise InputError("shares of one work cannot overwrite a corpus; remove it first")
    if processes < 1:
        raise InputError(f"{processes} processes do nothing; 1 is the least")
    files = with_splits(list(sources.documents(source)), request)
    _refuse_inside(source, folder)
    if corpus := there(source, folder, request, request.ids):
        return corpus
    return _Work(source, folder, request, files, processes, share, progress).run()


class _Work:
    def __init__(
        self,
        source: str | os.PathLike,
        folder: Path,
        request: Request,
        files: list[TextFile],
        processes: int,
        share: tuple[int, int] | None,
        progress: Progress | None,
    ):
        self.source, self.folder, self.request, self.files = source, folder, request, files
        self.processes, self.share, self.progress = processes, share, progress
        self.formats = [_readable(request.format_of, file, len(files)) for file in files]
        single = len(files) == 1
        self.described = [
            FileOf(str(file.path), file.path.name if single else file.name, format, file.split)
            for file, format in zip(files, self.formats, strict=True)
        ]
        key = [request.key(files, self.formats), comparing.key(request)]
        self.staging = Staging(folder, key)
        self.surveys: list[Survey | None] = [None] * len(files)
        self.whole_files = _balanced(files, share[1]) if share else None
        self.whole: dict[Path, bool] = {}  # of own pieces, whether they are
        self.done = self.skipped = 0

    def run(self) -> Corpus | Waiting:
        recover(self.folder)
        try:
            corpus = self._prepare()
        except (InputError, OSError):
            # Where there are no locks, another that was faster has removed the pieces.
            found = None if self.request.overwrite else self._there()
            if found is None:
                raise
            corpus = found
        if isinstance(corpus, Corpus):
            self.staging.remove()
        return corpus

    def _there(self) -> Corpus | None:
        return there(self.source, self.folder, self.request, self.request.ids)

    def _prepare(self) -> Corpus | Waiting:
        with self.staging.in_use():
            self._make_pieces()
            if self.share is not None and (missing := self._missing()):
                return Waiting(self.folder, missing)
            with self.staging.assembling(wait=self.share is None) as held:
                if not held:
                    return Waiting(self.folder, ())
                # Another that did the same may have been faster.
                return self._there() or self._join()

    def _make_pieces(self) -> None:
        total = sum(file.size for file in self.files)
        count = min(self.processes, max(1, total // self.request.block_bytes))
        for made in crew.results(self._tasks(), count):
            if made.error:
                raise InputError(made.error)
            self._check(made.file, made.number, made)
            self.whole[self.staging.piece(made.file, made.number)] = True
            self.done += made.size
            self._report(0)

    def _tasks(self) -> Iterator[Make]:
        """The blocks that are to be made; those whose pieces are there are skipped."""
        for number, (file, described) in enumerate(zip(self.files, self.described, strict=True)):
            if self.share and self.whole_files and self.whole_files[number] != self.share[0]:
                self.skipped += file.size
                continue
            survey = self.staging.survey(number)
            if survey and not survey.error and self._all_there(number, survey):
                self.skipped += file.size
                self.surveys[number] = survey
                continue
            survey = Survey()
            recipe = self.request.recipe(lines=described.format == "lines")
            for block in blocks(
                file.path,
                number,
                described.format,
                self.request.field,
                self.request.block_bytes,
                survey,
                self.request.headings,
            ):
                mine = self._mine(number, block.number)
                if not mine or self._is_there(number, block.number):
                    self.skipped += block.size
                    continue
                path = self.staging.piece(number, block.number)
                yield Make(block, described, recipe, path)
            self._check_survey(survey)
            self.surveys[number] = survey
            self.staging.write_survey(number, survey)

    def _mine(self, file: int, block: int) -> bool:
        if self.share is None or self.whole_files is not None:
            return True
        return (file + block) % self.share[1] == self.share[0]

    def _is_there(self, file: int, block: int) -> bool:
        """Whether a piece is there and whole. Only own ones are asked for: others' are compared
        with their sums when they are joined."""
        path = self.staging.piece(file, block)
        if path not in self.whole:
            piece = pieces.read(path)
            self.whole[path] = piece is not None
            if piece is not None:
                self._check(file, block, piece)
        return self.whole[path]

    def _all_there(self, file: int, survey: Survey) -> bool:
        return all(
            self._is_there(file, block) for block in range(survey.blocks) if self._mine(file, block)
        )

    def _missing(self) -> tuple[int, ...]:
        """The shares whose pieces are not all there."""
        assert self.share is not None
        there, shares = self.staging.finished(), self.share[1]
        found = set()
        for number in range(len(self.files)):
            survey = self.surveys[number] or self.staging.survey(number)
            if survey is None:
                found |= {self.whole_files[number]} if self.whole_files else set(range(shares))
                continue
            self.surveys[number] = survey
            for block in range(survey.blocks):
                if self.staging.piece(number, block).name not in there:
                    of_block = (number + block) % shares
                    found.add(self.whole_files[number] if self.whole_files else of_block)
        return tuple(sorted(found - {self.share[0]}))

    def _check(self, file: int, block: int, known: Made | Piece) -> None:
        """Raises InputError for broken records, as far as they end the work."""
        if not known.broken:
            return
        line, why = known.examples[0]
        described = self.described[file]
        said = f"{texts.place(described.path, line, described.format)}: {why}"
        if self.request.strict:
            raise InputError(said)
        if not known.records and known.broken > 1 and (file, block) == (0, 0):
            raise InputError(f"{said} (and so are all of the first {known.broken:,} records)")

    def _check_survey(self, survey: Survey) -> None:
        if survey.error and (self.request.strict or len(self.files) == 1):
            raise InputError(survey.error)

    def _check_all(self, found: Sequence[comparing.Found]) -> None:
        """What others have made is compared with its sums where it is looked into before it is
        joined, which does so again."""
        for each in found:
            unread = self.request.deduplicate_against and not self.whole.get(each.path)
            piece = (pieces.read if unread else pieces.header)(each.path)
            if piece is None:
                raise assembling.damaged(self.folder, each.path)
            self._check(each.file, each.number, piece)

    def _report(self, joined: float) -> None:
        if self.progress:
            total = sum(file.size for file in self.files) - self.skipped
            joining = sum(file.size for file in self.files) // _JOINING
            self.progress(self.done + int(joining * joined), total + joining)

    def _join(self) -> Corpus:
        surveys = [survey or Survey() for survey in self.surveys]
        found = []
        for number, survey in enumerate(surveys):
            self._check_survey(survey)
            if not survey.error:
                found += [
                    comparing.Found(self.staging.piece(number, block), number, block)
                    for block in range(survey.blocks)
                ]
        self._check_all(found)
        described = identity.describe(
            self.source, self.files, contents=[survey.sha256 for survey in surveys]
        )
        unreadable = [
            {"name": file.name, "error": survey.error}
            for file, survey in zip(self.files, surveys, strict=True)
            if survey.error
        ]
        return assembling.assemble(
            comparing.compared(found, self.staging, self.request, self.processes),
            self.folder,
            self.request,
            self.described,
            source=described | self.request.told(),
            unreadable=unreadable,
            report=self._report,
        )


def there(
    source: str | os.PathLike, folder: Path, request: Request, vocabulary: Vocabulary | Fit
) -> Corpus | None:
    """The corpus, where it is there already: made of the same text as it is asked for."""
    if not os.path.lexists(folder):
        return None
    settings = {
        "reset": request.reset,
        "fitted" if isinstance(vocabulary, Fit) else "vocabulary": vocabulary.to_json(),
        "cleaning": request.cleaning,
    }
    if request.overwrite or not manifests.is_in(folder):
        agreement.check_output(
            folder, request.overwrite, source={}, settings=settings, fractions=request.fractions
        )
        return None
    corpus = Corpus.open(folder)
    own, said = request.told(), corpus.manifest["source"]
    alike = all(corpus.manifest.get(name) == value for name, value in settings.items())
    alike = alike and corpus.manifest["fractions"] in (None, request.fractions)
    alike = alike and all(said.get(name) == own.get(name) for name in TOLD)
    if not alike or not identity.is_same(source, said):
        raise agreement.other(folder, corpus.manifest)
    if request.strict and (bad := corpus.manifest["skipped"]["unreadable"]):
        raise InputError(bad[0]["error"])
    return corpus


def _readable(format_of: Callable[[Path], str], file: TextFile, files: int) -> str:
    """The format; of a file among others that cannot be read any, which says so again."""
    try:
        return format_of(file.path)
    except InputError:
        if files == 1:
            raise
        return "lines"


def _refuse_inside(source: str | os.PathLike, folder: Path) -> None:
    text = os.path.realpath(user_path(source))
    if os.path.isdir(text) and Path(os.path.realpath(folder)).is_relative_to(text):
        raise InputError(f"{folder} lies inside the text {source}; name an output elsewhere")


def _balanced(files: Sequence[TextFile], shares: int) -> list[int] | None:
    """The share of each file, the largest first to who has least; None where files are too few or
    too unequal for that, and blocks are shared out instead."""
    sizes = [file.size for file in files]
    loads, found = [0] * shares, [0] * len(files)
    for number in sorted(range(len(files)), key=lambda number: -sizes[number]):
        least = loads.index(min(loads))
        found[number] = least
        loads[least] += sizes[number]
    return found if shares * max(loads) <= _UNEVEN * sum(loads) else None
