"""Training runs side by side: what differs in their configs, what they cost, how they went.

    python -m launch.compare --runs=runs/a,runs/b
    python -m launch.compare --runs=runs --output=comparison

A folder that is no run stands for the runs in it. Bytes, FLOPs and seconds are those of training,
from the log; a run that goes on is shown as far as it is. --output writes runs.csv, a row for each
run, comparison.json with the curves, and runs.svg and .png, bits per byte against steps, bytes,
FLOPs and seconds. Runs that were validated on different texts are shown with a warning; of one text
the bits per byte of any vocabularies compare.
"""

from absl import flags

from launch import program

_RUNS = flags.DEFINE_list("runs", None, "Workdirs, or folders of them.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "Write tables and a figure to this folder.")


def main(_) -> None:
    from mlstm.corpus.files import user_path
    from mlstm.output import check_folder, write_whole
    from mlstm.run_comparison import compare_runs, write_csv

    output = user_path(_OUTPUT.value) if _OUTPUT.value else None
    if output:
        check_folder(output)
    found = compare_runs(_RUNS.value)
    print(found)
    if output:
        from probing.views import figures

        write_whole(output / "runs.csv", write_csv(found.rows()))
        write_whole(output / "comparison.json", found.to_json() + "\n")
        drawn = figures.write(found, output)
        named = ["runs.csv", "comparison.json", *(f"{name}.svg" for name in drawn)]
        print(f"\n{output}: {', '.join(named)}")


def run() -> None:
    program.run(main)


if __name__ == "__main__":
    run()
