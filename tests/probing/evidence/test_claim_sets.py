import dataclasses
import json

import jax
import numpy as np

import probing
from probing.evidence.claim_sets import Claims, matched


def turned(model):
    """The same network with its units in the opposite order."""
    parameters = jax.tree.map(np.array, model.parameters)
    layer = parameters["layers"]["0"]
    for name in ("wx", "wh", "b"):
        layer[name] = layer[name][..., ::-1].copy()
    layer["wh"] = layer["wh"][::-1].copy()
    return dataclasses.replace(model, parameters=parameters, origin="turned", step=9, seed=1)


def test_the_same_unit_is_found_in_another_place_and_the_steps_make_a_curve(planted, digits):
    first = dataclasses.replace(planted, step=3, seed=1)
    models = [first, turned(planted)]
    claim = probing.verify(first, None, digits, "digit", draws=39)
    other = dataclasses.replace(claim, neuron="0.c[10]", step=9)
    claims = Claims((other, claim), matched(models, [claim, other], digits))
    (match,) = claims.matches
    assert (match.partner, match.same) == ("0.c[10]", True)
    assert match.correlation > 0.99
    saved = json.loads(claims.to_json())
    assert [row["step"] for row in saved["emergence"]] == [3, 9]
    assert saved["verdicts"]["supported"] == 0
    assert saved["matches"][0]["same"] is True
    assert len(saved["claims"]) == 2
    assert "of 2 models: supported in 0" in str(claims)
