"""Bits per byte of a text under a trained model, beside bz2 and xz on the same bytes.

python -m launch.evaluate --model=runs/quickstart                       # the run's own test split
python -m launch.evaluate --model=runs/quickstart --data=book.txt       # a file, all of it
python -m launch.evaluate --model=runs/quickstart --data=data/reviews --split=validation

A text that is not prepared gets the model's vocabulary and cleaning. A model that others published
has no text of its own: name one with --data. Of a population every model is scored, or the one that
--model_seed chooses. --mesh=8x1 splits the text over eight devices; of several processes the first
one prints.
"""

from absl import flags

from launch import naming, parallel, program
from launch.progress import ProgressLine

_MODEL = flags.DEFINE_string("model", None, naming.MODEL, required=True)
_STEP = flags.DEFINE_integer("step", None, "Which checkpoint (default: the best, else the newest).")
_MODEL_SEED = flags.DEFINE_integer("model_seed", None, "Which model of a population, by its seed.")
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
flags.adopt_module_key_flags(parallel)


def main(_) -> None:
    import mlstm
    from mlstm import evaluation, job
    from mlstm.corpus.cleaning import otherwise
    from mlstm.corpus.files import user_path
    from mlstm.output import check_folder, write_whole

    workdir = user_path(_MODEL.value)
    figures = user_path(_JSON.value) if _JSON.value else None
    if figures:
        check_folder(figures.parent)
    parallel.join()
    mesh = parallel.mesh()
    model = mlstm.load(workdir, _STEP.value, seed=_MODEL_SEED.value)
    one = model[0] if isinstance(model, list) else model
    split, text = evaluation.open_text(_DATA.value or mlstm.corpus_of(workdir), _SPLIT.value, one)
    with ProgressLine("scoring and compressing", "bytes") as progress:
        result = mlstm.compare(
            model,
            split,
            text=text,
            reset_every=_RESET_EVERY.value,
            mesh=mesh,
            progress=progress if job.is_first() else None,
        )
    if not job.is_first():
        return
    print(result)
    # A prepared text is scored as it is.
    if note := otherwise(split.corpus.cleaning, one.cleaning):
        print(note)
    if figures:
        write_whole(figures, result.to_json() + "\n")


def run() -> None:
    program.run(main)


if __name__ == "__main__":
    run()
