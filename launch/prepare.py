"""Prepare a corpus: text in, a folder of shards with a manifest out.

    python -m launch.prepare --output=data/stdlib
    python -m launch.prepare --input=shakespeare.txt --output=data/shakespeare --splits=0.9,0.1,0
    python -m launch.prepare --input=folder_of_texts/ --output=data/texts

One file is cut by bytes into train, validation and test; of a folder each file is one document,
and the hash of its name says which split it belongs to. .gz, .xz and .zst are read through.
"""

import sys
import time

from absl import flags

from launch import program
from mlstm.errors import InputError

_INPUT = flags.DEFINE_string(
    "input", "python_stdlib", "A file, a folder, or python_stdlib, the embedded corpus."
)
_OUTPUT = flags.DEFINE_string("output", None, "The folder to make.", required=True)
_SPLITS = flags.DEFINE_string(
    "splits", None, "Fractions of train, validation and test (default: 0.9,0.05,0.05)."
)
_RESET = flags.DEFINE_enum(
    "reset", "document", ["document", "shard"], "At whose start a model's state is reset."
)
_STRICT = flags.DEFINE_bool(
    "strict", False, "End at the first file that cannot be read, instead of leaving it out."
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace a corpus that is there already.")


def main(_) -> None:
    from mlstm import corpus

    progress = ProgressLine()
    try:
        prepared = corpus.prepare_source(
            _INPUT.value,
            _OUTPUT.value,
            splits=_fractions(_SPLITS.value),
            reset=_RESET.value,
            strict=_STRICT.value,
            overwrite=_OVERWRITE.value,
            progress=progress,
        )
    finally:
        progress.end()
    skipped = prepared.manifest["skipped"]["unreadable"]
    for bad in skipped[:20]:
        print(f"warning: left out {bad['name']}: {bad['error']}", file=sys.stderr)
    if skipped[20:]:
        print(f"warning: and {len(skipped) - 20} more, see the manifest", file=sys.stderr)
    print(prepared)


class ProgressLine:
    """Megabytes, rate and time left on stderr, once it has taken a second."""

    def __init__(self):
        self.began = self.shown = time.monotonic()
        self.terminal = sys.stderr.isatty()
        self.every = 0.5 if self.terminal else 10.0
        self.drawn = False

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.began < 1 or (self.drawn and now - self.shown < self.every):
            return
        self.shown, self.drawn = now, True
        rate = max(1.0, done / (now - self.began))
        line = (
            f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB, {rate / 1e6:.1f} MB/s, "
            f"{max(0, total - done) / rate:.0f} s left"
        )
        print(
            f"\r{line:<60}" if self.terminal else line,
            end="" if self.terminal else "\n",
            file=sys.stderr,
            flush=True,
        )

    def end(self) -> None:
        if self.drawn and self.terminal:
            print(file=sys.stderr)


def _fractions(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"--splits={text}: three numbers are wanted, as in --splits=0.9,0.05,0.05"
        ) from None


def run() -> None:
    program.run(main)


if __name__ == "__main__":
    run()
