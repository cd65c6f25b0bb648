import json

import pytest

pytestmark = pytest.mark.slow


def test_the_quickstart_ends_with_five_lines_and_a_report(launch, tmp_path):
    flags = "--config=quickstart:tiny", f"--workdir={tmp_path / 'run'}"
    result = launch("quickstart", *flags)
    assert result.returncode == 0, result.stderr.decode()
    lines = result.stdout.decode().splitlines()[-5:]
    assert [line.split("  ")[0] for line in lines] == [
        "held-out text",
        "string neuron",
        "comment neuron",
        "indentation neuron",
        "report",
    ]
    record = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert f"{record['bits_per_byte']:.3f} bits per byte" in lines[0]
    report = tmp_path / "run" / "probe" / "source_code" / "report.html"
    assert str(report) in lines[4]
    assert f"{record['bits_per_byte']:.3f} on the test split" in report.read_text()
    again = launch("quickstart", *flags)
    assert again.stdout.decode().splitlines()[-5:] == lines
