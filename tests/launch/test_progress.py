import pytest

from launch import progress
from launch.progress import ProgressLine, ProgressLines


@pytest.fixture
def clock(monkeypatch):
    """The time, which a test sets."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_off_a_terminal_there_is_a_line_every_ten_seconds(clock, capsys):
    with ProgressLine("reading", "bytes") as line:
        for second in range(26):
            clock[0] = second
            line(1000 * second, 100_000)
    assert capsys.readouterr().err.splitlines() == [
        "reading: 10,000 of 100,000 bytes, 1,000 bytes/s, 90 s left",
        "reading: 20,000 of 100,000 bytes, 1,000 bytes/s, 80 s left",
    ]


def test_of_what_has_just_begun_no_time_left_is_said_and_short_things_are_named(clock, capsys):
    with ProgressLines({"fitting": "fits"}) as told:
        for second, (what, done) in enumerate([("reading", 0), ("reading", 9), ("fitting", 0)]):
            clock[0] = 6 * second
            told(what, done, 10)
        clock[0] = 30
        told("fitting", 5, 10)
    assert capsys.readouterr().err.splitlines() == [
        "fitting: 0 of 10 fits",
        "fitting: 5 of 10 fits, 0.28 fits/s, 18 s left",
    ]
