"""Read a model in any format that is known, say what it is, and write it in another.

    python -m launch.convert --input=model/                                  # what is it?
    python -m launch.convert --from=openai --input=model/ --output=runs/openai.safetensors
    python -m launch.convert --input=runs/reviews --to=openai --output=exported/
    python -m launch.convert --list                                          # published models

--input is a file or folder, the workdir of a run, hf:owner/name[:file] or published:NAME. --from is
recognised where it is not given; --option, --vocabulary and --cleaning say what a file does not.
--to is safetensors, one file of ours with a digest, which every program takes as --model; or a
format that others read, which holds what that format can.

Prints shape, parameters, vocabulary and cleaning, what was assumed, and the digest of the arrays
(sha256 over names, shapes and bytes), which a conversion does not change.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from absl import flags

from launch import naming, program
from launch.progress import ProgressLine
from mlstm.errors import InputError

if TYPE_CHECKING:
    from mlstm.formats.found import Found

_INPUT = flags.DEFINE_string("input", None, "The model.")
_FROM = flags.DEFINE_string("from", None, "Its format (default: recognised).")
_TO = flags.DEFINE_string("to", "safetensors", "The format of --output.")
_OUTPUT = flags.DEFINE_string("output", None, "Write it here.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Write over what is there.")
_OPTION = flags.DEFINE_multi_string(
    "option", [], "What a file does not say, as gates=ifog or forget_bias=0; may be repeated."
)
_VOCABULARY = flags.DEFINE_enum(
    "vocabulary",
    None,
    ["bytes", "printable", "offset_bytes", "amino_acids"],
    "What its ids are, where the file does not tell.",
)
_CLEANING = flags.DEFINE_enum(
    "cleaning", None, naming.CLEANINGS, "What its texts were put through, where it is known."
)
_STEP = flags.DEFINE_integer("step", None, "Which checkpoint of a run (default: the best).")
_MODEL_SEED = flags.DEFINE_integer("model_seed", None, "Which model of a population, by its seed.")
_LIST = flags.DEFINE_bool("list", False, "Print the published models that have names, no more.")


def main(_) -> None:
    from mlstm.formats import known, published

    if _LIST.value:
        print(published.table())
        return
    if not _INPUT.value:
        raise InputError("--input is needed: a model, as in --input=model/; or --list")
    if _OUTPUT.present:
        target, writer = _target(), known.named(_TO.value, writes=True)
    found, facts, form = _read(_INPUT.value)
    found = _told(found)
    print(_described(found, form))
    if not _OUTPUT.present:
        return
    lost = _lost(found, writer)
    if writer.NAME == "safetensors":
        writer.write(found, target, **facts)
    else:
        writer.write(found, target)
    print(f"output      {target} ({writer.NAME})")
    for note in lost:
        print(f"note        {note}")


def _target() -> Any:
    """The output's path; InputError where it is taken, or has no name."""
    from mlstm.corpus.files import user_path

    if not _OUTPUT.value:
        raise InputError("--output is empty: name a file or folder")
    target = user_path(_OUTPUT.value)
    if _TO.value == "safetensors" and target.suffix != ".safetensors":
        raise InputError(f"{target}: a model is saved as .safetensors; name the file so")
    taken = any(target.iterdir()) if target.is_dir() else target.exists()
    if taken and not _OVERWRITE.value:
        raise InputError(f"{target} is there already: name another output, or --overwrite")
    return target


def _read(name: str) -> tuple[Found, dict[str, Any], str]:
    """What the input holds, what a file of ours keeps of its training, and its format."""
    from mlstm.formats import known
    from mlstm.formats.found import Found
    from mlstm.loading import load_one, unknown
    from mlstm.runs import is_run

    if _FROM.value is None and is_run(name):
        model = load_one(name, _STEP.value, _MODEL_SEED.value)
        found = Found(model.config, model.parameters, model.vocabulary, model.cleaning)
        facts = {n: getattr(model, n) for n in ("step", "seed", "imported", "origin")}
        return found, facts, f"a training run, step {model.step}"
    for flag in (_STEP, _MODEL_SEED):
        if flag.present:
            raise InputError(f"--{flag.name} says nothing to what is no training run")
    with ProgressLine("fetching", "bytes") as progress:
        module, place = known.locate(name, progress)
    module = known.named(_FROM.value) if _FROM.value else module
    if module is None or (not place.exists() and known.recognised(place) is None):
        raise unknown(place)
    found = known.read(module, place, _options())
    facts = known.facts(module, place) or {"imported": True}
    return found, {"origin": name, **facts}, module.NAME


def _options() -> dict[str, str]:
    """--option by name. Raises InputError."""
    said = {}
    for text in _OPTION.value:
        name, _, value = text.partition("=")
        if not value:
            raise InputError(f"--option={text}: it is NAME=VALUE, as gates=ifog")
        said[name] = value
    return said


def _told(found: Found) -> Found:
    """With the vocabulary and the cleaning that the flags say. Raises InputError."""
    from mlstm.corpus import vocabulary
    from mlstm.formats.found import checked

    if _VOCABULARY.value:
        name = {"bytes": "Bytes"}.get(_VOCABULARY.value, _VOCABULARY.value)
        made = getattr(vocabulary, name)()
        found = checked(dataclasses.replace(found, vocabulary=made), "--vocabulary")
    return dataclasses.replace(found, cleaning=_CLEANING.value or found.cleaning)


def _lost(found: Found, writer: Any) -> list[str]:
    """What a format has no place for: a sentence each. InputError where its ids would be read as
    other symbols."""
    if not hasattr(writer, "tells"):
        return []
    vocabulary, cleaning = writer.tells(found.config)
    notes = []
    if vocabulary != found.vocabulary:
        if vocabulary.told:
            raise InputError(
                f"--to={writer.NAME}: its ids are read as {vocabulary}, and this model's are "
                f"{found.vocabulary}: save it as safetensors"
            )
        notes.append(
            f"{writer.NAME} has no vocabulary: {found.vocabulary} is lost, and read as untold"
        )
    if cleaning != found.cleaning:
        notes.append(
            f"{writer.NAME} has no cleaning: {found.cleaning} is lost, and read as {cleaning}; say "
            f"--cleaning={found.cleaning} when it is converted back"
        )
    return notes


def _described(found: Found, form: str) -> str:
    from mlstm.formats.safetensors import digest_of
    from mlstm.model import language_model

    config = found.config
    read = f"embedding {config.embedding}" if config.embedding else "one-hot input"
    lines = [
        f"format      {form}",
        f"model       {config.cell}, {config.layers} x {config.hidden} units, {read}, readout "
        f"{config.readout}{', weight norm' if config.weight_norm else ''}"
        f"{', residual sums' if config.residual else ''}",
        f"parameters  {language_model.parameter_count(config):,}",
        f"vocabulary  {found.vocabulary}",
        f"cleaning    {found.cleaning}",
        f"digest      {digest_of(found)}",
    ]
    return "\n".join([*lines, *(f"note        {note}" for note in found.notes)])


def run() -> None:
    program.run(main)


if __name__ == "__main__":
    run()
