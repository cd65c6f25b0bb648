import dataclasses
import itertools
import json
import re
from pathlib import Path

import pytest

from probing.evidence.claims import CausalCheck, Claim, Interval, decide

NAN = float("nan")
HELD, FAILED = CausalCheck(True, 0.01, 100), CausalCheck(False, 0.4, 100)
LEADS, TRAILS = Interval(0.1, 0.02, 0.2), Interval(0.1, -0.02, 0.2)


@pytest.mark.parametrize(
    ("p", "lead", "checks", "verdict"),
    [
        (0.2, LEADS, (HELD, HELD), "not significant"),
        (0.05, LEADS, (HELD, HELD), "not significant"),
        (NAN, LEADS, (HELD, HELD), "not significant"),
        (0.01, TRAILS, (HELD, HELD), "explained by a baseline"),
        (0.01, Interval(0.1, NAN, NAN), (HELD, HELD), "explained by a baseline"),
        (0.01, LEADS, (None, None), "correlational only"),
        (0.01, LEADS, (HELD, None), "correlational only"),
        (0.01, LEADS, (FAILED, HELD), "correlational only"),
        (0.01, LEADS, (HELD, HELD), "supported"),
    ],
)
def test_the_verdict_follows_the_rule_in_its_order(p, lead, checks, verdict):
    assert decide(p, lead, *checks) == verdict


def claim(verdict: str, **changes) -> Claim:
    fields = {
        "concept": "string",
        "metric": "AUC",
        "neuron": "0.c[5]",
        "direction": -1,
        "chosen": True,
        "task": "source_code",
        "model": "runs/a, step 3",
        "data": "src",
        "data_digest": "00",
        "documents": {"train": 4, "dev": 2, "test": 4},
        "positions": {"train": 400, "dev": 200, "test": 400},
        "tried": 512,
        "select": 0.9,
        "test": Interval(0.88, 0.8, 0.95),
        "cohen_d": 1.2,
        "p": 0.005,
        "draws": 199,
        "null": "labels shifted in a circle within each document",
        "majority": 0.8,
        "surface": Interval(0.7, 0.6, 0.8),
        "twin": Interval(0.6, 0.5, 0.7),
        "twin_neuron": "0.c[9]",
        "lead": Interval(0.18, 0.1, 0.3),
        "verdict": verdict,
    }
    return Claim(**(fields | changes))


def test_only_a_supported_claim_says_encodes():
    for verdict, printed in itertools.product(
        ("not significant", "explained by a baseline", "correlational only", "supported"),
        (str, Claim.to_json),
    ):
        assert ("encodes" in printed(claim(verdict))) == (verdict == "supported" and printed is str)


def test_the_json_has_the_causal_fields_empty_until_they_are_tested():
    plain = json.loads(claim("correlational only", cohen_d=NAN).to_json())
    assert plain["necessity"] is None
    assert plain["sufficiency"] is None
    assert plain["cohen_d"] is None
    assert plain["lead"] == {"value": 0.18, "lower": 0.1, "upper": 0.3}


def test_the_card_shows_every_figure_beside_its_control():
    card = str(claim("correlational only", overlap={"share": 0.25}))
    for figure in ("0.880 [0.800, 0.950]", "p = 0.0050", "0.700 [", "0.600 [", "0.180 [", "25.0%"):
        assert figure in card
    assert "not tested" in card
    assert "lower in the concept" in card


def test_the_protocol_tells_of_every_field_and_every_line_of_the_card():
    protocol = Path(__file__).parents[3] / "docs" / "protocol.md"
    rows = [line for line in protocol.read_text().splitlines() if line.startswith("| ")]
    fields = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[2])}
    assert fields | {"alpha"} == {field.name for field in dataclasses.fields(Claim)}
    told = {name.strip() for row in rows for name in row.split("|")[1].split(",")}
    some = {"balanced accuracy": 0.7}
    probes = dict.fromkeys(("all neurons", "one neuron", "other", "k neurons", "code"), some)
    full = {
        "probes": probes | {"direction": some, "best neuron": some},
        "ranks": {"place": {"AUC": 1}},
        "rotated": {"neuron": 0.6},
        "rows": {"train": 1, "dev": 1, "test": 1},
        "notes": ("x",),
    }
    of_direction = {"vector": {"sha256": "00", "norm": 1.0}, "twin_probe": Interval(0.6, 0.5, 0.7)}
    for more in (full, full | of_direction, full | {"metric": "r"}):
        for line in str(claim("supported", **more)).splitlines()[1:]:
            assert line.startswith("  ")
            assert any(line[2:].startswith(name) for name in told), line
