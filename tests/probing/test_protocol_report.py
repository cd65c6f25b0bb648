import dataclasses
import re
import xml.etree.ElementTree as ElementTree

import pytest

from probing import results
from probing.protocols.radford import Mistake
from probing.views import figures, inline, protocol_report
from probing.views.figures import radford


@pytest.fixture(scope="module")
def page(radford_report):
    drawn = {name: figures.svg(figure) for name, figure in figures.of(radford_report).items()}
    return protocol_report.page("radford", radford_report, drawn)


def test_the_page_has_what_is_printed_every_figure_and_fetches_nothing(page, radford_report):
    assert page.rstrip().endswith("</html>")
    assert str(radford_report).splitlines()[0] in page
    assert page.count("<svg") == page.count("</svg>") == 3
    assert "threshold +0.250" in page
    assert not re.search(r"https?:|@import|<script|<img|src=", page)


def test_the_page_lists_what_both_tell_wrongly_with_the_texts_escaped(page):
    assert "alert(1)" in page
    assert "&lt;script&gt;" in page
    assert "é “quoted”" in page
    for text in ("P(good) 0.020", "P(good) 0.900", "towards good −0.650", "towards good +0.050"):
        assert text in page


def test_it_says_how_many_mistakes_there_are_of_which_some_are_shown(radford_report):
    report = dataclasses.replace(
        radford_report, mistakes=(Mistake("one", "bad", 0.9),), neuron_mistakes=()
    )
    page = protocol_report.page("radford", report, {})
    assert "all neurons: 1 of 1 shown" in page
    assert "neuron 0.c[2]: 0 of 2 shown" in page
    assert "<h2>Figures" not in page


def test_the_ids_of_figures_on_one_page_differ_and_every_reference_is_to_one_of_them(page):
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids)) > 100
    referred = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)
    assert {one or other for one, other in referred} <= set(ids)
    assert any(other for _, other in referred)  # the hatch of the positive documents


def test_a_figure_within_a_page_is_the_same_figure_without_a_style_for_the_whole_page(
    radford_report,
):
    svg = figures.svg(radford.weights(radford_report))
    fragment = inline.fragment(svg, "weights")
    assert "<style" in svg
    assert "<style" not in fragment
    whole, part = ElementTree.fromstring(svg), ElementTree.fromstring(fragment)
    for tag in ("path", "use", "text"):
        drawn = whole.findall(f".//{{http://www.w3.org/2000/svg}}{tag}")
        assert len(part.findall(f".//{tag}")) == len(drawn) > 0
    assert part.get("viewBox") == whole.get("viewBox")


def test_other_protocols_have_a_page_too(
    concept_neurons_report, diagnostic_report, full_probe_report, tmp_path
):
    for name, report in (
        ("concept_neurons", concept_neurons_report),
        ("full_probe", full_probe_report),
        ("diagnostic", diagnostic_report),
    ):
        written = results.write_published(tmp_path, name, report)
        text = written.report.read_text("utf-8")
        assert f"<h1>{name}</h1>" in text
        assert text.count("<svg") == len(written.figures) >= 2
        for figure in written.figures:
            assert (tmp_path / "figures" / f"{figure}.png").exists()
    assert "=quote, &quot;x&quot;" in text


def test_without_figures_none_is_drawn(radford_report, tmp_path):
    written = results.write_published(tmp_path, "radford", radford_report, figures=False)
    assert written.figures == ()
    assert not (tmp_path / "figures").exists()
    assert "<svg" not in written.report.read_text("utf-8")
