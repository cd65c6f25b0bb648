"""Features of texts: the states of a trained model after reading each, a row for a text.

python -m launch.encode --model=runs/quickstart --input=texts.txt --output=features.npy
python -m launch.encode --model=runs/amazon --input=reviews.csv --text_field=review \
    --sites=0.c,0.h --pooling=mean --cleaning=openai --output=features.safetensors

A .csv or .tsv has a header, a .jsonl has objects, and one field of each is the text; any other
file has a text on each line. The rows are in their order.
"""

from absl import flags

from launch import naming, parallel, program
from launch.progress import ProgressLine

_MODEL = flags.DEFINE_string("model", None, naming.MODEL, required=True)
_STEP = flags.DEFINE_integer("step", None, "Which checkpoint (default: the best, else the newest).")
_MODEL_SEED = flags.DEFINE_integer("model_seed", None, "Which model of a population, by its seed.")
_INPUT = flags.DEFINE_string(
    "input", None, "A file of texts, one a line, .csv, .tsv or .jsonl.", required=True
)
_TEXT_FIELD = flags.DEFINE_string(
    "text_field", "text", "Which field of a .csv, .tsv or .jsonl it is."
)
_SITES = flags.DEFINE_string("sites", None, "States to read, as 0.c,0.h (default: the primary).")
_POOLING = flags.DEFINE_enum(
    "pooling",
    "last",
    ["last", "mean", "max", "min"],
    "Of the positions of a text: the state after the last one, or a figure over all.",
)
_CLEANING = flags.DEFINE_enum(
    "cleaning", None, naming.CLEANINGS, "What is done to a text first (default: the model's own)."
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Write to this .npy or .safetensors file.", required=True
)
flags.adopt_module_key_flags(parallel)


def main(_) -> None:
    from mlstm import job
    from mlstm.corpus.files import user_path
    from mlstm.corpus.texts import read_texts
    from mlstm.feature_files import check_target, write_features
    from mlstm.loading import load_one
    from mlstm.model.sites import check_sites

    output = check_target(_OUTPUT.value)
    parallel.join()
    mesh = parallel.mesh()
    model = load_one(user_path(_MODEL.value), _STEP.value, _MODEL_SEED.value)
    sites = check_sites(model.config, _SITES.value)
    texts = read_texts(_INPUT.value, _TEXT_FIELD.value)
    unit = "bytes" if model.vocabulary.bytewise else "tokens"
    with ProgressLine("encoding", unit) as progress:
        found = model.encode(
            texts,
            sites,
            _POOLING.value,
            _CLEANING.value,
            mesh=mesh,
            progress=progress if job.is_first() else None,
        )
    if job.is_first():
        about = {
            "model": model.origin,
            "sites": ",".join(sites),
            "pooling": _POOLING.value,
            "cleaning": _CLEANING.value or model.cleaning,
        }
        write_features(output, found, about)
        print(f"{output}: {found.shape[0]:,} texts x {found.shape[1]:,} units")


def run() -> None:
    program.run(main)


if __name__ == "__main__":
    run()
