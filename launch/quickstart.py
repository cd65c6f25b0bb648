"""From nothing to the first named neurons: train, evaluate, sample, score, report.

    python -m launch.quickstart                 # run it again to go on where it stopped

It trains the config `quickstart` on the Python standard library, compares it with xz on held-out
text, lets it write, and finds the neurons that follow strings, comments and indentation. A training
that does not end well ends it, with the exit code of launch.train.
"""

import sys
from pathlib import Path
from typing import Any

from absl import flags

from launch import program
from launch.progress import ProgressLine

_CONFIG = program.config_flag(required=False)
_WORKDIR = flags.DEFINE_string("workdir", "runs/quickstart", "Folder of the run and its report.")


def main(_) -> int:
    import mlstm
    from launch import shipped
    from mlstm import evaluation as evaluations
    from mlstm.corpus.files import user_path
    from mlstm.output import write_whole
    from mlstm.training import config as configs
    from mlstm.training import interrupts, loop

    workdir = user_path(_WORKDIR.value)
    chosen: Any = _CONFIG.value or shipped.load("quickstart")
    config = configs.from_config_dict(chosen)

    _heading(f"1 of 4: training in {workdir}")
    result = loop.run(config, workdir)
    print(result)
    if result.ended == "not finite":
        return program.NOT_FINITE
    if not result.saved:
        print("quickstart: error: the state it ended with could not be saved", file=sys.stderr)
        return program.NOT_SAVED
    if result.ended == "interrupted":
        return interrupts.SAVED_AND_STOPPED

    _heading("2 of 4: bits per byte of the test split, which it has never seen")
    model = mlstm.load(workdir, seed=config.seed)
    corpus = mlstm.corpus_of(workdir)
    split, text = evaluations.open_text(corpus)
    with ProgressLine("scoring and compressing", "bytes") as progress:
        evaluation = mlstm.compare(model, split, text=text, progress=progress)
    print(evaluation)
    write_whole(workdir / "evaluation.json", evaluation.to_json() + "\n")

    _heading("3 of 4: what it writes, at temperature 0.7")
    blocks = mlstm.generate(model, b"def ", 400, temperature=0.7)
    written = b"def " + b"".join(block[0] for block in blocks)
    print(
        "".join(
            c if c.isprintable() or c in "\n\t" else "�" for c in written.decode("utf-8", "replace")
        )
    )

    _heading("4 of 4: which neurons follow which parts of the code")
    table, report = _probe(model, corpus, workdir, evaluation)
    print(table)
    which = f"--model={workdir}" + (f" --model_seed={model.seed}" if config.seeds > 1 else "")
    print("\n" + "\n".join(summary(evaluation, table, report, which)))
    return 0


def summary(evaluation, table, report: Path, which: str) -> list[str]:
    """The five lines that a person wants to read. `which`: the flags that name the model."""
    score, others = evaluation.score, evaluation.compressed
    best = [
        f"{concept.split()[0] + ' neuron':<20}{_neuron(table.best(concept))}"
        for concept in ("string", "comment", "indentation depth")
    ]
    return [
        f"{'held-out text':<20}{score.bits_per_byte:.3f} bits per byte"
        f"   (xz {others['xz']:.3f}, bz2 {others['bz2']:.3f} on the same bytes)",
        *best,
        f"{'report':<20}{report.resolve()}"
        f"   next: python -m launch.sample {which} --prompt='class '",
    ]


def _neuron(row) -> str:
    if not row.neuron:
        return "none: the text has too little of it"
    metric = "test AUC" if row.metric == "AUC" else "test r  "
    return f"{row.neuron:<11}{metric} {row.test:.3f}   (random twin's best {row.twin_test:.3f})"


def _probe(model, corpus: Path, workdir: Path, evaluation):
    import probing
    from mlstm.runs import validation_curve
    from probing import results

    data = probing.tasks.source_code(corpus)
    with ProgressLine("scoring neurons", "bytes") as progress:
        table = probing.score_neurons(model, data, progress=progress)
    bits, xz = evaluation.score.bits_per_byte, evaluation.compressed["xz"]
    written = results.write(
        results.folder_of(workdir, data.task, model),
        model,
        data,
        table,
        facts={"bits per byte": f"{bits:.3f} on the test split, xz {xz:.3f}"},
        curve=validation_curve(workdir, model.seed),
    )
    return table, written.report


def _heading(text: str) -> None:
    print(f"\n== {text}", flush=True)


def run() -> None:
    program.run(main)


if __name__ == "__main__":
    run()
