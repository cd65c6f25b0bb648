"""launch.plasticity: flags that say nothing, input that cannot be, and a whole study."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mlstm.training import loop
from mlstm.training.config import Config, from_config_dict, to_dict

REFUSED = [
    ([], "--prune is needed: how many units, as 32, or which share, as 0.1"),
    (["--neurons=0.c[1]", "--prune=3"], "--prune says nothing beside --neurons"),
    (["--neurons=0.c[1]", "--ranking=auc"], "--ranking says nothing beside --neurons"),
    (["--neurons=0.c[1]", "--sites=0.c"], "--sites says nothing beside --neurons"),
    (["--prune=3", "--every=600"], "--every=600 is more than --steps=500"),
    (["--prune=3", "--warmup=600"], "--warmup=600 is longer than --steps=500"),
    (["--prune=3", "--learning_rate=0"], "--learning_rate=0: it is a number above 0"),
    (["--prune=3", "--fine"], "--fine says nothing to --task=source_code"),
    (["--prune=0"], "prune 0: it is from 1 to 8"),
    (["--prune=0.0"], "a share above 0 and at most 1"),
    (["--prune=1.0"], "all units of 0.c leave nothing"),
    (["--prune=3", "--sites=0.x"], 'no site "0.x" in this model'),
    (["--neurons=0.c[8]"], 'no units 8 at site "0.c": its units are 0 to 7'),
    (["--prune=3", "--ranking=best"], "ranking 'best': it is one of auc, probeless"),
]

ALL_OF_THEM = """
import contextlib, io, json, sys
from absl import flags
from launch import plasticity, program
for arguments in json.loads(sys.stdin.read()):
    sys.argv, said = ["plasticity", *arguments], io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            program.run(plasticity.main)
        except SystemExit as ended:
            code = ended.code
    flags.FLAGS.unparse_flags()
    print(json.dumps([code, said.getvalue()]))
"""


@pytest.fixture(scope="module")
def code(tmp_path_factory, write_code):
    folder = tmp_path_factory.mktemp("code")
    write_code(folder, 14)
    return folder


@pytest.mark.timeout(300)
def test_what_cannot_be_is_one_line_and_code_2(trained_run, code, tmp_path):
    given = f"--model={trained_run}", f"--data={code}", f"--output={tmp_path / 'out'}"
    done = subprocess.run(
        [sys.executable, "-c", ALL_OF_THEM],
        input=json.dumps([[*given, "--concept=keyword", *flags] for flags, _ in REFUSED]),
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    for (flags, said), (ended, line) in zip(REFUSED, found, strict=True):
        assert ended == 2, (flags, line)
        assert line.startswith("plasticity: error: "), (flags, line)
        assert said in line
        assert line.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_study_prints_a_table_and_writes_all_its_files(launch, code, tmp_path):
    tree = to_dict(Config())
    tree["model"] |= {"hidden": 16, "embedding": 4, "cell": "lstm", "layers": 2}
    tree["data"] |= {"source": str(code), "batch": 4, "window": 16, "splits": "0.5,0.2,0.3"}
    tree["train"] |= {"steps": 8}
    loop.run(from_config_dict(tree), tmp_path / "run")
    flags = (
        f"--model={tmp_path / 'run'}", "--concept=keyword", "--prune=0.1", "--sites=0.c,1.c",
        "--steps=2", "--every=1", "--seeds=1", "--rows=200", "--bytes=3000", "--twins=matched",
        "--learning_rate=0.01",
    )  # fmt: skip
    done = launch("plasticity", *flags)
    assert done.returncode == 0, done.stderr.decode()
    output = tmp_path / "run" / "plasticity" / "source_code-keyword"
    printed = done.stdout.decode()
    for part in ('plasticity of "keyword"', "matched", "best AUC", str(output / "plasticity.json")):
        assert part in printed
    saved = json.loads((output / "plasticity.json").read_text())
    assert [arm["arm"] for arm in saved["arms"]] == ["concept", "matched"]
    with (output / "plasticity_curves.csv").open() as file:
        assert {row["step"] for row in csv.DictReader(file)} == {"", "0", "1", "2"}
    for name in ("plasticity_curves", "plasticity_saliency", "plasticity_map"):
        assert (output / "figures" / f"{name}.svg").exists()
        assert (output / "figures" / f"{name}.png").exists()
    for arm in ("concept", "matched"):
        assert (output / f"plasticity_neurons-{arm}-0.csv").exists()
    again = launch("plasticity", *flags)
    assert "concept-0 is measured already" in again.stdout.decode()
    assert json.loads((output / "plasticity.json").read_text()) == saved
