"""What a neuron does: ablate it, or edit it, and count what that costs on a concept's bytes.

    python -m launch.effects --model=runs/quickstart --task=source_code --concept=string
    python -m launch.effects --model=runs/quickstart --concept=string --neuron="0.c[17]" --curves
    python -m launch.effects --model=runs/reviews --task=sentiment --data=sst/ --edit="0.c[9]=-1"
    python -m launch.effects --model=runs/quickstart --concept=string --edits=edits.json

Without a neuron or an edit all neurons of --sites are screened by one gradient on train documents,
the best --verify are ablated, and the best of these is looked at on test documents, as --neuron is.
Of one neuron or several together it tells bits per byte on the concept's bytes and elsewhere, the
distributions of next bytes and the concept's probe, under ablation by the mean and by resampled
values, beside all other neurons of the site that vary, or matched random sets; of one also how long
it remembers a push, and what reads it. An edit is compared with the same done to other units.
--curves ablates the first k neurons, and all but these, in the order of the sweep. --text
attributes the neuron's value after a text, or without --neuron the probability of the text's last
byte, to its bytes, and does nothing else.

Prints the tables; writes effects-WHAT.json and figures/ (--nofigures leaves them out) to the output
folder; of a text attribution-WHAT.json, where --output is given.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from absl import flags

from launch import edits, naming, program, tasks
from launch.progress import ProgressLines
from mlstm.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from mlstm.model.edits import Edit
    from mlstm.trained import Model
    from probing.tasks import LabelledData

_MODEL = flags.DEFINE_string("model", None, naming.MODEL, required=True)
_STEP = flags.DEFINE_integer("step", None, "Which checkpoint (default: the best, else the newest).")
_MODEL_SEED = flags.DEFINE_integer("model_seed", None, "Which model of a population, by its seed.")
tasks.define()
_CONCEPT = flags.DEFINE_string("concept", None, "Which concept of the task.")
_NEURON = flags.DEFINE_multi_string(
    "neuron", [], 'A neuron, as "0.c[17]"; repeated, they are ablated together.'
)
_SITES = flags.DEFINE_string("sites", None, "Sites to sweep, as 0.c,0.h (default: the primary).")
_KIND = flags.DEFINE_multi_enum(
    "kind",
    ["mean", "resample"],
    ["mean", "resample", "zero"],
    "How neurons are ablated; sweeps and curves take the first.",
)
_VERIFY = flags.DEFINE_integer("verify", 32, "Neurons of a sweep to ablate exactly.", 1)
_CURVES = flags.DEFINE_bool("curves", False, "Drop-k and keep-k curves of the site, too.")
_SETS = flags.DEFINE_integer("sets", 100, "Random sets, not matched, for each k of the curves.", 20)
_TEXT = flags.DEFINE_string("text", None, "A text whose bytes are attributed to, alone.")
_BYTES = flags.DEFINE_integer("bytes", 1 << 16, "Of documents to read, about.", 256)
_COMPARED = flags.DEFINE_integer(
    "compared_bytes", 1 << 14, "Of these, for sweeps, curves and controls, which are many.", 256
)
_CONTROLS = flags.DEFINE_integer(
    "controls",
    None,
    "Other neurons, drawn at random (default: all), or matched sets (default: 100); 0: none.",
    0,
)
_SEED = flags.DEFINE_integer("seed", 0, "Of controls, random sets and resampled values.", 0)
_FIGURES = flags.DEFINE_bool("figures", True, "Draw the results; --nofigures does not.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for results (default: MODEL/effects/TASK).")
flags.adopt_module_key_flags(edits)

NAMING = (
    "text", "sites", "kind", "verify", "curves", "sets", "bytes", "compared_bytes", "controls",
    "seed", "edits", "step", "model_seed", *tasks.FLAGS,
)  # fmt: skip
BESIDE_TEXT = (
    "concept", "sites", "kind", "verify", "curves", "sets", "bytes", "compared_bytes", "controls",
    "seed", "figures", "task", *tasks.FLAGS,
)  # fmt: skip
UNITS = {"pushing": "pushes"}  # else bytes or tokens


def main(_) -> None:
    from mlstm.corpus.files import user_path
    from mlstm.loading import load_one
    from mlstm.model import sites
    from mlstm.output import check_folder, write_whole
    from probing.evidence.effects.marked import named

    asked = edits.read()
    _check_flags(asked)
    workdir = user_path(_MODEL.value)
    model = load_one(workdir, _STEP.value, _MODEL_SEED.value)
    for neuron in _NEURON.value:
        sites.check_neuron(model.config, neuron)
    names = sites.check_sites(model.config, _SITES.value)
    if _TEXT.value is not None:
        _attribution(model, _TEXT.value.encode("utf-8", "surrogateescape"))
        return
    data = tasks.read(workdir)
    concept = named(data, _CONCEPT.value)
    output = naming.output_folder(_OUTPUT.value, workdir, "effects", data.task)
    check_folder(output)
    found = _effects(model, data, concept, asked, names)
    path = output / f"{_name(concept, asked)}.json"
    write_whole(path, json.dumps([json.loads(each.to_json()) for each in found], indent=2) + "\n")
    print(f"results  {path}")
    if _FIGURES.value:
        _draw(found, output / "figures" / _name(concept, asked))


def _effects(
    model: Model, data: LabelledData, concept: str, asked: list[Edit], names: tuple[str, ...]
) -> list[Any]:
    """All results in the order in which they are printed."""
    import probing
    from mlstm.model import sites

    found: list[Any] = []

    def show(result: Any) -> Any:
        print(result, end="\n\n", flush=True)
        found.append(result)
        return result

    fewer = min(_BYTES.value, _COMPARED.value)
    kinds = tuple(dict.fromkeys(_KIND.value))
    steps = "bytes" if model.vocabulary.bytewise else "tokens"
    with ProgressLines(UNITS, steps) as progress:
        neurons, swept = _NEURON.value, []
        if neurons:
            names = (str(sites.parse_neuron(neurons[0]).site),)
        if not asked and (not neurons or _CURVES.value):
            for name in names:
                of = probing.sweep(
                    model,
                    data,
                    concept,
                    site=name,
                    kind=kinds[0],
                    verify=_VERIFY.value,
                    bytes=fewer,
                    seed=_SEED.value,
                    progress=progress,
                )
                swept.append(show(of))
        if not neurons and not asked:
            best = max((each.verified[0] for each in swept), key=lambda v: v.on)
            neurons = [best.neuron]
        show(
            probing.effect(
                model,
                asked or neurons,
                data,
                concept,
                kinds=kinds,
                bytes=_BYTES.value,
                compared_bytes=_COMPARED.value,
                controls=_CONTROLS.value,
                seed=_SEED.value,
                progress=progress,
            )
        )
        if len(neurons) == 1:
            progress("pushing", 0, 1)
            try:
                show(probing.pulse(model, neurons[0], data, seed=_SEED.value))
            except InputError as error:  # of short documents, say: the rest is there
                print(f"no pulse of {neurons[0]}: {error}", end="\n\n", flush=True)
        for of in swept if _CURVES.value else ():
            show(
                probing.curves(
                    model,
                    data,
                    of.ranking(),
                    concept,
                    site=of.site,
                    kind=of.ablation,
                    sets=_SETS.value,
                    bytes=fewer,
                    seed=_SEED.value,
                    progress=progress,
                )
            )
    return found


def _attribution(model: Model, text: bytes) -> None:
    import probing
    from mlstm.corpus.files import user_path
    from mlstm.output import check_folder

    output = user_path(_OUTPUT.value) if _OUTPUT.value else None
    if output:
        check_folder(output)
    found = probing.attribute(model, text, _NEURON.value[0] if _NEURON.value else -1)
    print(found)
    if output:
        path = output / f"{naming.named(['attribution', *_NEURON.value], NAMING)}.json"
        found.save(path)
        print(f"results  {path}")


def _draw(found: list[Any], folder: Path) -> None:
    from probing.views import figures

    drawn = [name for each in found for name in figures.write(each, folder)]
    if drawn:
        print(f"figures  {folder}")


def _check_flags(asked: list[Edit]) -> None:
    """InputError for a flag that has nothing to say beside the others."""
    for one, other, why in (
        (_NEURON.value, asked, "--neuron ablates, --edit and --edits do what they say"),
        (_NEURON.value, _SITES.value, "a neuron has its site"),
        (asked, _SITES.value, "an edit has its site"),
        (asked, _CURVES.value, "curves are of ablations in the order of a sweep"),
        (asked, _KIND.present, "a kind is one of ablation"),
        (asked, _TEXT.value is not None, "a text is attributed to under no edit"),
        (len(_NEURON.value) > 1, _TEXT.value is not None, "one neuron's value is attributed"),
    ):
        if one and other:
            raise InputError(f"two flags exclude each other: {why}")
    swept = not asked and (not _NEURON.value or _CURVES.value)
    for silent, names, beside in (
        (_TEXT.value is not None, BESIDE_TEXT, "--text"),
        (not _CURVES.value, ("sets",), "no --curves"),
        (not swept, ("verify",), "no sweep: --neuron without --curves, or an edit, has none"),
    ):
        for name in names:
            if silent and flags.FLAGS[name].present:
                raise InputError(f"--{name} says nothing with {beside}")


def _name(concept: str, asked: list[Edit]) -> str:
    """Of the files: what is asked otherwise has another name."""
    return naming.named(["effects", concept, *_NEURON.value, *map(str, asked)], NAMING)


def run() -> None:
    program.run(main)


if __name__ == "__main__":
    run()
