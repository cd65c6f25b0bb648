"""Put a neuron to doses while the model writes: does it write more of the concept?

    python -m launch.steer --model=runs/quickstart --task=source_code --concept=string
    python -m launch.steer --model=runs/reviews --task=sentiment --data=sst/ --neuron="0.c[2388]"

Doses are quantiles of the neuron's own distribution over train documents. Every dose, of the neuron
and of matched others at the same place of theirs, goes on from the same beginnings of test
documents with the same random numbers, and what is written is judged: by the task's own labelling
function, or by a classifier of what people wrote. Prints the dose-response, its slope among those
of the matched neurons, bits per byte under the unedited model, and some of the texts; writes
steer-CONCEPT.json and the figure (.svg and .png) to the output folder.

Without --neuron it is the one that tells the concept best on train documents, and the slope is
expected to have the sign of their correlation; of a named neuron both signs count. --direction=
FILE.npy steers along a vector of one site's states, as `coef_` of a probe is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from absl import flags

from launch import naming, program, tasks
from launch.progress import ProgressLine, ProgressLines
from mlstm.errors import InputError

if TYPE_CHECKING:
    from mlstm.trained import Model
    from probing.evidence.steering import Steering
    from probing.tasks import LabelledData

_MODEL = flags.DEFINE_string("model", None, naming.MODEL, required=True)
_STEP = flags.DEFINE_integer("step", None, "Which checkpoint (default: the best, else the newest).")
_MODEL_SEED = flags.DEFINE_integer("model_seed", None, "Which model of a population, by its seed.")
tasks.define()
_CONCEPT = flags.DEFINE_string("concept", None, "Which concept of the task.")
_NEURON = flags.DEFINE_string("neuron", None, 'The neuron, as "0.c[17]" (default: the best).')
_DIRECTION = flags.DEFINE_string("direction", None, "A .npy file: a direction of raw states.")
_SITE = flags.DEFINE_string("site", None, "Of the direction, or to choose the neuron from: 0.c.")
_HOW = flags.DEFINE_enum(
    "how", None, ["set", "add"], "Put the value to the dose (neurons), or add to it (directions)."
)
_PHASE = flags.DEFINE_enum(
    "phase", "generation", ["prompt", "generation", "both"], "While what is going on it is edited."
)
_DOSES = flags.DEFINE_list("doses", ["0.05", "0.25", "0.5", "0.75", "0.95"], "Quantiles, 0 to 1.")
_PROMPTS = flags.DEFINE_integer("prompts", 24, "Beginnings of test documents to go on from.")
_PROMPT_BYTES = flags.DEFINE_integer(
    "prompt_bytes", None, "Of each (default: a quarter of the median document, 256 at most)."
)
_PROMPT = flags.DEFINE_multi_string("prompt", None, "A text to go on from; may be repeated.")
_SAMPLES = flags.DEFINE_integer("samples", 2, "Texts for each prompt and dose.")
_LENGTH = flags.DEFINE_integer("length", 256, "Bytes of each.")
_TEMPERATURE = flags.DEFINE_float("temperature", 1.0, "Below 1 is bolder, 0 takes the likeliest.")
_CONTROLS = flags.DEFINE_integer(
    "controls", None, "Matched neurons, or random directions (default: 20 to 99, by their cost)."
)
_SHOW = flags.DEFINE_integer("show", 1, "Texts of each dose to print, 2 at most.", 0, 2)
_SEED = flags.DEFINE_integer("seed", 0, "Of prompts, samples, a classifier and directions.", 0)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for results (default: MODEL/steer/TASK).")

NAMING = (
    "direction", "site", "how", "phase", "doses", "prompts", "prompt_bytes", "prompt", "samples",
    "length", "temperature", "controls", "seed", "step", "model_seed", *tasks.FLAGS,
)  # fmt: skip
UNITS = {
    "preparing the judge": "judges",
    "writing": "tokens",
    "judging": "edits",
    "scoring fluency": "texts",
}


def main(_) -> None:
    import probing
    from mlstm.corpus.files import user_path
    from mlstm.loading import load_one
    from mlstm.model.sampling import Choice
    from mlstm.output import check_folder

    _check_flags()
    quantiles = _quantiles()
    workdir = user_path(_MODEL.value)
    model = load_one(workdir, _STEP.value, _MODEL_SEED.value)
    subject, vector = _subject(model)
    data = tasks.read(workdir)
    output = naming.output_folder(_OUTPUT.value, workdir, "steer", data.task)
    check_folder(output)
    expected = 0
    if subject is None:
        subject, expected = _best(model, data)
    options: dict[str, Any] = {"how": _HOW.value, "phase": _PHASE.value, "expected": expected}
    with ProgressLines(UNITS) as progress:
        found = probing.steer(
            model,
            subject,
            data,
            _CONCEPT.value,
            direction=vector,
            quantiles=quantiles,
            prompts=_prompts(),
            prompt_bytes=_PROMPT_BYTES.value,
            samples=_SAMPLES.value,
            length=_LENGTH.value,
            choice=Choice(_TEMPERATURE.value),
            controls=_CONTROLS.value,
            seed=_SEED.value,
            progress=progress,
            **options,
        )
    print(found, end="\n\n")
    print(_texts(found), end="")
    from probing.views import figures  # matplotlib takes a while, and only this needs it
    from probing.views.figures import steering

    name = _name(found)
    found.save(output / f"{name}.json")
    figures.save(steering.response(found), output, name)
    print(f"results  {output / name}.json, .svg, .png")


def _check_flags() -> None:
    """InputError for two flags of which one has nothing to say beside the other."""
    for one, other, why in (
        (_NEURON, _DIRECTION, "one thing is steered"),
        (_NEURON, _SITE, "a neuron has its site"),
        (_PROMPT, _PROMPT_BYTES, "it is the length of beginnings of test documents"),
    ):
        if one.value is not None and other.value is not None:
            raise InputError(f"--{one.name} and --{other.name} exclude each other: {why}")
    if _PROMPT.present and flags.FLAGS["prompts"].present:
        raise InputError("--prompt and --prompts exclude each other: prompts are given, or drawn")


def _quantiles() -> list[float]:
    found = []
    for text in _DOSES.value:
        try:
            found.append(float(text))
        except ValueError:
            raise InputError(
                f'--doses: "{text}" is no number; doses are quantiles from 0 to 1, as 0.05,0.5,0.95'
            ) from None
    return found


def _prompts() -> int | list[bytes]:
    if _PROMPT.value is None:
        return _PROMPTS.value
    return [text.encode("utf-8", "surrogateescape") for text in _PROMPT.value]


def _subject(model: Model):
    """The neuron or the direction's site, None where it has yet to be chosen; and the vector."""
    from mlstm.corpus.files import user_path
    from mlstm.model import sites
    from probing.evidence.subjects import check_direction, read_vectors

    if _NEURON.value:
        return str(sites.check_neuron(model.config, _NEURON.value)), None
    site = sites.check_sites(model.config, _SITE.value)[0]
    if not _DIRECTION.value:
        return None, None
    path = user_path(_DIRECTION.value)
    try:
        return site, check_direction(model, site, read_vectors(path)).vector
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _best(model: Model, data: LabelledData) -> tuple[str, int]:
    """The neuron that tells the concept best on train documents, and which way it points."""
    import probing
    from probing.evidence import choosing

    data = data.one(_CONCEPT.value)
    with ProgressLine("scoring neurons", "bytes") as progress:
        options: dict[str, Any] = {"twin_seed": None, "draws": 0, "controls": False}
        table = probing.score_neurons(model, data, _SITE.value, progress=progress, **options)
    own = choosing.neuron(table.best(data.concepts[0]), data.origin)
    return own.subject.name, own.direction


def _texts(found: Steering) -> str:
    """Some of the texts of each dose, each on one line."""
    lines = []
    shown: dict[object, int] = {}
    for example in found.examples:
        dose = example["dose"]
        shown[dose] = shown.get(dose, 0) + 1
        if shown[dose] <= _SHOW.value:
            name = "unedited" if dose is None else f"{dose:.1%}"
            end = example["prompt"][-24:]
            lines.append(f"--- {name}: ...{end!r} goes on\n{example['text']}\n")
    return "\n".join(lines) + ("\n" if lines else "")


def _name(found: Steering) -> str:
    """Of the files: what is asked otherwise has another name."""
    parts = ["steer", found.concept]
    if _NEURON.value:
        parts.append(found.subject)
    return naming.named(parts, NAMING)


def run() -> None:
    program.run(main)


if __name__ == "__main__":
    run()
