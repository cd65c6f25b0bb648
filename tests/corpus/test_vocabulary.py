import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlstm.corpus.vocabulary import Bytes, from_json
from mlstm.errors import InputError


@given(st.binary(max_size=300))
def test_decode_gives_back_what_encode_was_given(data):
    ids = Bytes().encode(data)
    assert ids.dtype == np.uint8
    assert Bytes().decode(ids.astype(np.int32)) == data


def test_ids_that_are_no_bytes_are_refused_rather_than_wrapped():
    with pytest.raises(InputError, match="256"):
        Bytes().decode([3, 256])


def test_a_saved_vocabulary_is_read_back():
    assert from_json(Bytes().to_json()) == Bytes()


@pytest.mark.parametrize("description", [{"kind": "runes"}, {}, None, 3, []])
def test_an_unknown_vocabulary_is_named(description):
    with pytest.raises(InputError, match="unknown"):
        from_json(description)
