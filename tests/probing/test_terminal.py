import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probing.views import terminal
from probing.views.scale import Scale

SCALE = Scale(0.0, 1.0)
CODES = re.compile(r"\x1b\[[0-9;]*m")


@given(st.binary(max_size=60))
def test_glyphs_cover_any_bytes_once_in_order_and_nothing_in_them_is_a_control(data):
    values = np.arange(len(data), dtype=float)
    place = 0
    for glyph in terminal.glyphs(data, values):
        assert glyph.start == place < glyph.end
        assert glyph.value == pytest.approx(values[glyph.start : glyph.end].mean())
        assert glyph.text in "\n\t" or all(ord(c) >= 32 and ord(c) != 127 for c in glyph.text)
        place = glyph.end
    assert place == len(data)


def test_a_character_takes_the_mean_of_its_bytes_and_is_never_broken():
    shown = list(terminal.glyphs("aé日".encode(), np.array([0, 1, 3, 0, 3, 6.0])))
    assert [(g.text, g.value) for g in shown] == [("a", 0), ("é", 2), ("日", 3)]


def test_bytes_that_are_not_utf8_and_controls_are_written_as_escapes():
    text = terminal.coloured(b"a\xff\x1b[2J\x00", np.zeros(8), SCALE, colours="none")
    assert text == "a\\xff\\x1b[2J\\x00"


@given(st.text(alphabet="ab é日\n\t", max_size=200), st.integers(8, 40))
def test_no_line_is_wider_than_the_width_and_no_character_is_lost(text, width):
    data = text.encode()
    painted = terminal.coloured(data, np.linspace(-1, 1, len(data)), SCALE, width=width)
    plain = CODES.sub("", painted)
    for line in plain.split("\n"):
        assert sum(terminal._cells(c) for c in line.rstrip("¶")) <= width
    kept = plain.replace("\n", "").replace("¶", "").replace(" ", "")
    assert kept == re.sub(r"[ \n\t]", "", text)


def test_high_values_are_orange_low_ones_blue_and_every_line_ends_uncoloured():
    painted = terminal.coloured(b"lh\n", np.array([-1, 1, 0.0]), SCALE)
    low, high = re.findall(r"48;2;(\d+);(\d+);(\d+)m[lh]", painted)
    assert int(low[2]) > int(low[0])
    assert int(high[0]) > int(high[2])
    assert painted.endswith("\x1b[0m")
    assert "48;5;" in terminal.coloured(b"lh", np.array([-1, 1]), SCALE, colours="256")


def test_without_colour_strong_values_are_marked_below_the_text():
    text = terminal.coloured(b"abc", np.array([-1, 0, 1]), SCALE, colours="none")
    assert text == "abc\n- +"


def test_the_bar_says_the_numbers_of_its_ends_and_its_middle():
    for colours in ("24bit", "256", "none"):
        text = CODES.sub("", terminal.bar(Scale(0.25, 2), colours=colours))
        assert "+0.25" in text
        assert ("+2.25" in text and "-1.75" in text) or "+1.25" in text


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_colour_is_shown_where_a_terminal_can_and_nobody_forbade_it(monkeypatch):
    for name in ("NO_COLOR", "COLORTERM", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert terminal.depth("auto", io.StringIO()) == "none"
    assert terminal.depth("auto", Terminal()) == "256"
    monkeypatch.setenv("COLORTERM", "truecolor")
    assert terminal.depth("auto", Terminal()) == "24bit"
    monkeypatch.setenv("NO_COLOR", "1")
    assert terminal.depth("auto", Terminal()) == "none"
    assert terminal.depth("24bit", io.StringIO()) == "24bit"
