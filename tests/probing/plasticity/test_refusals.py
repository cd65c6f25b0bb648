"""What cannot be asked of a study is one line, before anything is written."""

import pytest

from mlstm.errors import InputError
from probing.plasticity.study import plasticity

ASKED = {"concept": "keyword", "prune": "2", "steps": 4, "every": 2}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"concept": "strings"}, "concept 'strings': the classes of source_code are string"),
        ({"units": "0.x[1]"}, 'no site "0.x" in this model'),
        ({"units": "0.c[16]"}, 'no units 16 at site "0.c"'),
        ({"units": "0.c[0-15]"}, "leave nothing"),
        ({"prune": "0"}, "prune 0: it is from 1 to 16"),
        ({"prune": "1.5"}, "a share above 0 and at most 1"),
        ({"prune": "16"}, "all units of 0.c leave nothing"),
        ({"prune": "2", "ranking": "best"}, "ranking 'best': it is one of auc"),
        ({"prune": "2", "sites": "0.i"}, "are gates of others"),
        ({"prune": "9", "twins": ("random",)}, "leave 7 others: too few"),
        ({"measured": "0.f"}, "saliency is told of h, c and m"),
        ({"twins": ("none",)}, "twin 'none': it is one of"),
        ({"seeds": 0}, "seeds is 0: it is 1 or more"),
    ],
)
def test_what_cannot_be_asked_is_one_line(base_run, data, tmp_path, changes, said):
    with pytest.raises(InputError) as met:
        plasticity(base_run, data, tmp_path / "study", **ASKED | changes)
    assert said in str(met.value)
    assert "\n" not in str(met.value)
    assert not list((tmp_path / "study").glob("*"))
