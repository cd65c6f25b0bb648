"""Bits per byte of a text under a trained model, beside bz2 and xz on the same bytes.

python -m launch.evaluate --model=runs/quickstart                       # the run's own test split
python -m launch.evaluate --model=runs/quickstart --data=book.txt       # a file, all of it
python -m launch.evaluate --model=runs/quickstart --data=data/reviews --split=validation
"""

from pathlib import Path

from absl import flags

from launch import program
from launch.progress import ProgressLine
from mlstm.errors import InputError

_MODEL = flags.DEFINE_string("model", None, "Workdir of a training run.", required=True)
_STEP = flags.DEFINE_integer("step", None, "Which checkpoint (default: the best, else the newest).")
_DATA = flags.DEFINE_string(
    "data", None, "A file or a folder of text, or a prepared corpus (default: the run's own)."
)
_SPLIT = flags.DEFINE_enum(
    "split", None, ["train", "validation", "test"], "Which part of a corpus (default: test)."
)
_RESET_EVERY = flags.DEFINE_integer(
    "reset_every", 0, "Forget the state before each N bytes; 0 carries it through the text."
)
_JSON = flags.DEFINE_string("json", None, "Write the figures to this file as well.")


def find_text(workdir: str, data: str | None, split: str | None):
    """The split to score and its name for people. Raises InputError."""
    from mlstm import loading
    from mlstm.corpus import manifest, shards

    data = data or str(loading.corpus_of(workdir))
    if data == shards.sources.PYTHON_STDLIB or (Path(data).expanduser() / manifest.NAME).exists():
        split = split or "test"
        return shards.open_source(data).split(split), f"{data} ({split})"
    if split is not None:
        raise InputError(f"--split={split}: {data} is not a prepared corpus, it is scored whole")
    return shards.open_source(data, splits=(1, 0, 0)).split("train"), data


def main(_) -> None:
    import mlstm
    from mlstm.output import check_folder, write_whole

    figures = Path(_JSON.value).expanduser() if _JSON.value else None
    if figures:
        check_folder(figures.parent)
    model = mlstm.load(_MODEL.value, _STEP.value)
    split, text = find_text(_MODEL.value, _DATA.value, _SPLIT.value)
    with ProgressLine("scoring and compressing", "bytes") as progress:
        result = mlstm.compare(
            model, split, text=text, reset_every=_RESET_EVERY.value, progress=progress
        )
    print(result)
    if figures:
        write_whole(figures, result.to_json() + "\n")


def run() -> None:
    program.run(main)


if __name__ == "__main__":
    run()
