"""Which neurons of a trained model follow which concepts, beside a random twin.

    python -m launch.probe --model=runs/quickstart --task=source_code    # the run's own test split
    python -m launch.probe --model=runs/quickstart --data=src/ --sites=0.c,0.h --output=probes/src
    python -m launch.probe --model=runs/reviews --task=sentiment --data=sst/ --protocol=radford
    python -m launch.probe --model=runs/reviews --task=part_of_speech --data=treebank/ \
        --protocol=full_probe

Prints a table and a coloured sample; writes results.json, neurons.csv, neurons_concepts.csv,
report.html and figures/ (SVG and PNG; --nofigures leaves them out) to the output folder.
--store=FOLDER keeps the states too, at all labelled positions; their size is printed first.
--mesh=8x1 splits the text over eight devices; of several processes the first one prints and writes.
With --protocol it runs a published protocol instead, on one device, prints what that prints, and
writes PROTOCOL.json, PROTOCOL.csv, PROTOCOL.html and figures/. full_probe, of all neurons and what
they are compared with, is none that was published.
"""

from absl import flags

from launch import naming, parallel, program, tasks
from launch.progress import ProgressLine
from mlstm.errors import InputError

PROTOCOLS = ("radford", "concept_neurons", "diagnostic", "full_probe")

_MODEL = flags.DEFINE_string("model", None, naming.MODEL, required=True)
_STEP = flags.DEFINE_integer("step", None, "Which checkpoint (default: the best, else the newest).")
_MODEL_SEED = flags.DEFINE_integer("model_seed", None, "Which model of a population, by its seed.")
tasks.define()
_PROTOCOL = flags.DEFINE_enum("protocol", None, PROTOCOLS, "A published protocol, by name.")
_ROWS = flags.DEFINE_integer(
    "probe_rows", 20_000, "Protocols on positions: about how many of each split are kept.", 100
)
_CONCEPT = flags.DEFINE_string(
    "concept", None, "full_probe: the class told from its absence, where classes may overlap."
)
_TWINS = flags.DEFINE_integer("twins", 3, "full_probe: how many random models, seeds 0, 1 ...", 0)
_SITES = flags.DEFINE_string("sites", None, "States to score, as 0.c,0.h (default: the primary).")
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "Folder for the results (default: MODEL/probe/TASK; of a population MODEL/probe/TASK/seedN).",
)
_TWIN_SEED = flags.DEFINE_integer("twin_seed", 0, "Seed of the random twin's parameters.")
_DRAWS = flags.DEFINE_integer(
    "draws", 199, "Draws of permuted labels that p is taken from; 0 leaves p out.", 0
)
_CONTROLS = flags.DEFINE_bool(
    "controls", True, "The surface model and the control task; --nocontrols leaves them out."
)
_FIGURES = flags.DEFINE_bool(
    "figures", True, "Draw the result too, as OUTPUT/figures/*.svg and *.png; --nofigures does not."
)
_STORE = flags.DEFINE_string(
    "store", None, "Also write the states at all labelled positions to this new folder."
)
_STORED_AS = flags.DEFINE_enum(
    "stored_as", "float32", ["float32", "float16"], "How --store writes a state."
)
_SHOW = flags.DEFINE_string("show", None, "The concept that the coloured sample shows.")
_COLOUR = flags.DEFINE_enum(
    "colour", "auto", ["auto", "24bit", "256", "none"], "How the sample is coloured."
)
flags.adopt_module_key_flags(parallel)


def main(_) -> None:
    from mlstm.corpus.files import user_path
    from mlstm.loading import load_one
    from mlstm.output import check_folder
    from mlstm.runs import is_run
    from probing import results
    from probing.states.activations import check_sites

    workdir = user_path(_MODEL.value)
    parallel.join()
    mesh = parallel.mesh()
    if _PROTOCOL.value and mesh:
        raise InputError("--protocol runs on one device of one process: leave out --mesh")
    if _STORE.value and mesh:
        raise InputError("--store is written by one device of one process: leave out --mesh")
    _check_flags()
    model = load_one(workdir, _STEP.value, _MODEL_SEED.value)
    names = check_sites(model, _SITES.value or None)
    if _PROTOCOL.value and len(names) > 1:
        raise InputError(f"--protocol={_PROTOCOL.value} takes one site, not {', '.join(names)}")
    data = tasks.read(workdir)
    if _SHOW.value and _SHOW.value not in data.concepts:
        raise InputError(f"--show={_SHOW.value}: the concepts are {', '.join(data.concepts)}")
    inside = results.folder_of(workdir, flags.FLAGS.task, model) if is_run(workdir) else workdir
    output = naming.output_folder(_OUTPUT.value, workdir, *inside.relative_to(workdir).parts)
    check_folder(output)
    if _STORE.value:
        _store(user_path(_STORE.value), model, data, names)
    if _PROTOCOL.value:
        _published(_PROTOCOL.value, model, data, names, output)
    else:
        _table(workdir, model, data, names, output, mesh)


def _check_flags() -> None:
    """InputError for a flag that says nothing to what was asked for."""
    protocol = _PROTOCOL.value
    for flag in (_CONCEPT, _TWINS):
        if flag.present and protocol != "full_probe":
            raise InputError(f"--{flag.name} says nothing without --protocol=full_probe")
    if _ROWS.present and protocol in (None, "radford"):
        raise InputError("--probe_rows says nothing to the table, nor to radford: both read all")
    controls = () if protocol == "radford" else (_TWIN_SEED, _CONTROLS)
    for flag in (_DRAWS, *controls, _SHOW, _COLOUR):
        if flag.present and protocol:
            raise InputError(f"--{flag.name} says nothing to --protocol={protocol}")
    if _STORED_AS.present and not _STORE.value:
        raise InputError("--stored_as says nothing without --store")


def _store(folder, model, data, names) -> None:
    """Write the states, after their size was printed."""
    from probing.states.store import write_store

    with ProgressLine("storing states", "bytes") as progress:
        kind = _STORED_AS.value
        write_store(folder, model, data, names, kind, announce=_tell, progress=progress)


def _published(protocol: str, model, data, names, output) -> None:
    """Run a published protocol, on one site."""
    from probing import protocols, results
    from probing.tasks.cleaned import for_model

    if not model.vocabulary.bytewise and data.unit != "document":
        for note in for_model(model, data).token_notes:
            _tell(f"note: {note}")
    given = {"rows": _ROWS.value}
    if protocol == "radford":
        given = {"controls": _CONTROLS.value, "twin_seed": _TWIN_SEED.value}
    if protocol == "full_probe":
        given |= {"concept": _CONCEPT.value, "twins": _TWINS.value, "tell": _tell}
    with ProgressLine(protocol, "parts") as progress:
        report = getattr(protocols, protocol)(
            model, data, site=names[0], progress=progress, **given
        )
    written = results.write_published(output, protocol, report, figures=_FIGURES.value)
    print(report)
    _say(written, written.figures, output)


def _tell(line: str) -> None:
    print(line, flush=True)


def _table(workdir, model, data, names, output, mesh) -> None:
    """Score every neuron, and write the report."""
    import probing
    from mlstm import job
    from mlstm.runs import validation_curve
    from probing import results
    from probing.evidence.significance import NullSums
    from probing.states.activations import FOLDS
    from probing.states.statistics import Statistics
    from probing.views import terminal

    units, sites = model.config.hidden, len(names)
    counted = Statistics.nbytes(units, FOLDS, len(data.classes), len(data.numbers))
    said = f"histograms and moments in {FOLDS} folds take {counted * sites / 1e6:,.1f} MB"
    if _DRAWS.value:
        summed = NullSums.nbytes(_DRAWS.value, units, len(data.concepts))
        said += f", the sums of {_DRAWS.value} draws {summed * sites / 1e6:,.1f} MB"
    _tell(said)
    with ProgressLine("scoring neurons", "bytes") as progress:
        table = probing.score_neurons(
            model,
            data,
            names,
            twin_seed=_TWIN_SEED.value,
            draws=_DRAWS.value,
            controls=_CONTROLS.value,
            mesh=mesh,
            progress=progress if job.is_first() else None,
        )
    curve = validation_curve(workdir, model.seed)
    facts = {}
    if curve:
        best = min(bits for _, bits in curve)
        facts["bits per byte"] = f"{best:.3f} on validation text, the best of the training"
    written = results.write(output, model, data, table, facts=facts, curve=curve, mesh=mesh)
    if not job.is_first():
        return
    print(table)
    shown = [e for e in written.examples if _SHOW.value in (None, e.row.concept)]
    if shown:
        print("\n" + terminal.example(shown[0], table, colours=terminal.depth(_COLOUR.value)))
    else:
        print(f"\nno passage of the test documents shows {_SHOW.value or 'any concept'}")
    _say(written, results.draw(output, table) if _FIGURES.value else (), output)


def _say(written, figures, output) -> None:
    """Where a person finds what was written."""
    print(f"\nresults  {written.json}\nreport   {written.report}")
    if figures:
        print(f"figures  {output / 'figures'}")


def run() -> None:
    program.run(main)


if __name__ == "__main__":
    run()
