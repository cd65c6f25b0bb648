"""LEACE against the package of its authors."""

import numpy as np
import pytest

from probing.evidence.erasure import Covariances, leace

pytestmark = pytest.mark.peers

ROWS, UNITS = 1500, 20


def drawn(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """States, and the columns of a class, of four classes that exclude each other, of a number."""
    draw = np.random.default_rng(0)
    mixing = draw.normal(size=(UNITS, UNITS))
    y = draw.integers(0, 4, ROWS)
    x = draw.normal(size=(ROWS, UNITS)) @ mixing + draw.normal(size=(4, UNITS))[y] + 5
    columns = {
        "class": (y == 1)[:, None],
        "classes": y[:, None] == np.arange(4),
        "number": (x @ draw.normal(size=UNITS) + draw.normal(size=ROWS))[:, None],
    }
    return x, columns[kind].astype(float)


@pytest.mark.parametrize("shrinkage", [True, False])
@pytest.mark.parametrize("kind", ["class", "classes", "number"])
def test_leace_equals_concept_erasure(kind, shrinkage):
    torch = pytest.importorskip("torch", reason="needs the extra 'peers'")
    theirs = pytest.importorskip("concept_erasure", reason="needs the extra 'peers'")
    x, z = drawn(kind)
    # Its limit on the variance after erasure gives the guarantee up; ours has none.
    eraser = theirs.LeaceEraser.fit(
        torch.from_numpy(x),
        torch.from_numpy(z),
        shrinkage=shrinkage,
        constrain_cov_trace=False,
        svd_tol=1e-6,
    )
    expected = eraser(torch.from_numpy(x)).numpy()
    assert np.abs(expected - x).max() > 0.1, "a comparison of identities says nothing"
    ours = leace(Covariances.of(x, z), shrinkage=shrinkage)
    np.testing.assert_allclose(ours(x), expected, atol=1e-4)
    identity = np.eye(UNITS)
    np.testing.assert_allclose(identity + ours.into @ ours.out, eraser.P.numpy().T, atol=1e-4)
