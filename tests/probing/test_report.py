import csv
import re
from html.parser import HTMLParser

import numpy as np
import pytest

import probing
from mlstm.errors import InputError
from probing import results
from probing.evidence.scores import Row
from probing.examples import choose, examples
from probing.views import report

VOID = {"meta", "br", "rect", "line", "circle"}


class Page(HTMLParser):
    """Checks nesting; gathers text and what would be fetched."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.fetched, self.ids, self.links = [], "", [], [], []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "data"):
                (self.links if str(value).startswith("#") else self.fetched).append(value)
            if name == "id":
                self.ids.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        while tag in self.open and self.open[-1] in ("th", "td", "p") and self.open[-1] != tag:
            self.open.pop()  # HTML closes these by itself
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def table(planted, digits):
    return probing.score_neurons(planted, digits, "0.c", draws=0, controls=False)


@pytest.fixture(scope="module")
def shown(planted, digits, table):
    return examples(planted, digits, table)


@pytest.fixture(scope="module")
def source(table, shown):
    return report.page(
        table, shown, facts={"bits": "<2.1>"}, curve=[(10, 5.0), (20, 4.0), (40, 3.5)]
    )


@pytest.fixture(scope="module")
def page(source):
    page = Page()
    page.feed(source)
    return page


def test_the_page_is_whole_and_fetches_nothing(page, source):
    assert page.open == []
    assert page.fetched == []
    assert not re.search(r"https?:|@import|url\(|<script", source)


def test_text_of_the_documents_and_names_is_escaped(page, source):
    assert "<doc" not in source
    assert "<b>text" not in source
    assert "<2.1>" in page.text
    assert "drawn <b>text</b>" in page.text


def test_every_concept_has_a_card_that_the_table_links_to(page, digits):
    assert len(page.links) == len(digits.concepts)
    assert {link[1:] for link in page.links} == set(page.ids)


def test_numbers_stand_under_a_line_of_their_own_after_any_last_class(page):
    never, place = (page.text.index(text) for text in ("not in the train split", "numbers: corr"))
    assert never < place


def test_every_column_of_the_table_is_explained_and_every_row_fills_them(source):
    table = source.split("<thead>")[1].split("</table>")[0]
    head, body = table.split("</thead>")
    heads = [re.sub("<[^>]*>", "", cell) for cell in re.split(r"<th[^>]*>", head)[1:]]
    for row in body.split("<tr")[1:]:
        spans = [int(n) for n in re.findall(r"colspan=(\d+)", row)]
        assert row.count("<td") - len(spans) + sum(spans) == len(heads)
    terms = " ".join(re.findall(r"<dt>(.*?)</dt>", source.split("<details")[1]))
    for name in set(heads) - {"concept", "neuron", "neuron twin"}:
        assert name in terms


def test_the_best_neuron_its_figure_and_its_twins_are_there(page, table):
    row = table.best("digit")
    assert f"{row.test:.3f}" in page.text
    assert f"{row.twin_test:.3f}" in page.text
    assert row.neuron in page.text


def test_the_interval_is_beside_the_figure_and_what_was_left_out_is_named(page, table):
    row = table.best("digit")
    assert f"{row.low:.3f}–{row.high:.3f}" in page.text
    assert f"{max(r.bound for r in table.rows() if r.metric == 'AUC'):.4f}" in page.text
    assert "controls left out" in page.text
    assert "no draws of the null" in page.text


def test_the_csv_files_read_back_as_the_table(planted, digits, tmp_path):
    scored = probing.score_neurons(planted, digits, "0.c", twin_seed=None, draws=9, controls=False)
    results.write(tmp_path, planted, digits, scored)
    with (tmp_path / "neurons.csv").open(newline="") as file:
        best = list(csv.DictReader(file))
    with (tmp_path / "neurons_concepts.csv").open(newline="") as file:
        every = {(row["neuron"], row["concept"]): row for row in csv.DictReader(file)}
    assert [row["concept"] for row in best] == list(digits.concepts)
    assert float(best[0]["p"]) == scored.best("digit").p
    assert best[0]["surface"] == ""
    assert len(every) == 16 * len(digits.concepts)
    found = every["0.c[5]", "digit"]
    assert float(found["auc"]) == scored.scores.auc[2, 5, 0]
    assert float(found["q"]) == scored.significance.q[5, 0]
    assert every["0.c[5]", "never"]["p"] == ""


def test_the_passage_shows_the_bytes_of_a_test_document_with_its_labels(shown, digits, planted):
    example = next(e for e in shown if e.row.concept == "digit")
    tested = {d.name: d for d in (digits.documents[i] for i in digits.indices("test"))}
    assert example.data in tested[example.document].data
    assert (example.labels == np.isin(list(example.data), list(b"0123"))).all()
    assert ((example.values > 0) == example.labels).all()


def test_underlined_characters_are_those_of_the_concept(source, shown):
    example = next(e for e in shown if e.row.concept == "digit")
    card = source.split('id="digit"')[1].split("</article>")[0]
    assert card.count(' on" title') == example.labels.sum()


def test_a_passage_is_chosen_by_labels_from_the_test_split(digits):
    found = choose(digits, ["coin", "never"])
    assert set(found) == {"coin"}
    passage = found["coin"]
    assert passage.document in digits.indices("test")
    coin = digits.labels(passage.document).classes[passage.start : passage.end, 1]
    assert coin.any()
    assert (passage.labels == coin).all()


def test_the_headline_is_the_class_that_leads_its_twin_most_on_train():
    def row(concept: str, train: float, twin_train: float, test: float, twin_test: float) -> Row:
        figures = {"direction": 1, "bound": 0.0, "cohen_d": 1.0, "correlation": 0.5}
        return Row(
            concept,
            "AUC",
            "0.c[1]",
            train=train,
            test=test,
            n_on=9,
            n_off=9,
            twin_neuron="0.c[2]",
            twin_train=twin_train,
            twin_test=twin_test,
            **figures,
        )

    easy, leading = row("easy", 0.95, 0.94, 0.95, 0.5), row("leading", 0.9, 0.6, 0.85, 0.6)
    for rows in ([easy, leading], [leading, easy]):
        headline = report._headline(rows)
        assert "“leading”" in headline
        assert "test AUC 0.85, a random twin’s best 0.60" in headline


@pytest.mark.parametrize(("absent", "kept"), [("on", "off"), ("off", "on")])
def test_a_histogram_shows_the_side_that_has_bytes_alone(table, absent, kept):
    unit = 5
    counts = table.summaries["0.c"].counts.copy()
    counts[:, 2:, :, 1] = 0 if absent == "on" else counts[:, 2:, :, 0]
    summary = table.summaries["0.c"]._replace(counts=counts)
    drawn = report._histogram(table, table.best("digit"), summary, unit)
    assert f"{kept}-area" in drawn
    assert f"{kept}-bars" in drawn
    assert f"{absent}-area" not in drawn
    assert f"{absent}-bars" not in drawn


def test_a_place_that_cannot_be_written_is_one_clear_error(table, shown, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        report.write(tmp_path / "file" / "report.html", table, shown)
