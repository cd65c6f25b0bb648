"""Names of sites and neurons, and edits written with them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlstm.errors import InputError
from mlstm.model import language_model as lm
from mlstm.model.edits import edits, parse_edit
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


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("2.c[0]=1", 'no site "2.c"'),
        ("0.q[0]=1", "0.m, 0.i"),
        ("0.c[8]=1", "0 to 7"),
        ("0.c=1", "not a neuron"),
        ("0.c[1]", "not an edit"),
        ("0.c[1]=one", '"one"'),
        ("0.c[1]=inf", "not a number below"),
        ("0.c[1]=1e39", "not a number below"),
        ("0.c[99999999999]=1", "not a neuron"),
        ("0.c[1]-=2", "not a neuron"),
    ],
)
def test_an_edit_that_cannot_be_says_what_would_be_right(text, part):
    with pytest.raises(InputError) as error:
        edits(CONFIG, [text])
    assert part in str(error.value)


def test_edits_of_one_neuron_are_applied_in_their_order():
    made = edits(CONFIG, ["0.c[1]=2", "0.c[1]+=1", "0.c[1]*=3", "0.c[2]*=0.5", "1.h[0]+=4"])
    assert made is not None
    keep, add = np.asarray(made["0.c"]["keep"]), np.asarray(made["0.c"]["add"])
    np.testing.assert_array_equal(keep, [1, 0, 0.5, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(add, [0, 9, 0, 0, 0, 0, 0, 0])
    assert float(made["1.h"]["add"][0]) == 4
    assert edits(CONFIG, []) is None
    one = edits(CONFIG, "1.h[0]=4")
    assert one is not None
    assert float(one["1.h"]["add"][0]) == 4


def test_an_unknown_site_lists_those_that_there_are():
    with pytest.raises(InputError, match=r"1\.c, 1\.h"):
        check_site(CONFIG, "0.z")


def test_an_edit_acts_on_what_it_names():
    import jax

    config = lm.ModelConfig(hidden=8)
    parameters = lm.init_parameters(config, jax.random.key(0))
    ids = jax.random.randint(jax.random.key(1), (5, 2), 0, 256)
    output = lm.forward(
        config,
        parameters,
        ids,
        lm.initial_state(config, 2),
        edits=edits(config, ["0.c[3]=0.25", "0.h[4]*=0"]),
        emit=("0.c", "0.h", "0.o"),
    )
    np.testing.assert_array_equal(output.emitted["0.c"][..., 3], 0.25)
    np.testing.assert_allclose(
        output.emitted["0.h"][..., 3], output.emitted["0.o"][..., 3] * np.tanh(0.25), rtol=1e-6
    )
    np.testing.assert_array_equal(output.hidden[..., 4], 0)
    np.testing.assert_array_equal(output.state[0]["h"][:, 4], 0)
