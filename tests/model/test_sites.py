"""Names of sites and neurons."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlstm.errors import InputError
from mlstm.model import language_model as lm
from mlstm.model.edits import parse_edit
from mlstm.model.sites import Neuron, Site, check_site, parse_neuron, parse_site, primary, sites

CONFIG = lm.ModelConfig(hidden=8, layers=2)


@given(st.integers(0, 99), st.sampled_from("hcmifou"), st.integers(0, 9999))
def test_a_name_is_read_back_as_what_it_names(layer, name, unit):
    neuron = Neuron(Site(layer, name), unit)
    assert parse_site(str(neuron.site)) == neuron.site
    assert parse_neuron(str(neuron)) == neuron


@given(
    st.text(max_size=12)
    | st.lists(st.sampled_from(["0", "17", ".", "c", "[", "]", "=", "+", "-"])).map("".join)
)
def test_any_text_is_read_as_what_it_says_or_refused(text):
    for parse in (parse_site, parse_neuron, parse_edit):
        try:
            read = str(parse(text))
        except InputError:
            continue
        assert str(parse(read)) == read


def test_sites_of_a_model_and_the_primary_one():
    assert sites(CONFIG)[:7] == ("0.m", "0.i", "0.f", "0.o", "0.u", "0.c", "0.h")
    assert primary(CONFIG) == "1.c"
    assert "0.m" not in sites(lm.ModelConfig(cell="lstm"))


def test_an_unknown_site_lists_those_that_there_are():
    with pytest.raises(InputError, match=r"1\.c, 1\.h"):
        check_site(CONFIG, "0.z")
