"""Groups of tags."""

import pytest

from mlstm.errors import InputError
from probing.tasks.tags import check_grouping, group_tag


@pytest.mark.parametrize(
    ("tags", "group"),
    [
        ("VB VBD VBG VBN VBP VBZ VBD+VB", "VB"),
        ("JJ JJR JJS", "JJ"),
        ("NN NNS NN+NNS", "NN"),
        ("NNP NNPS", "NNP"),
        ("RB RBR RBS", "RB"),
        ("DT RP MD IN . , `` '' WRB PRP$ VBD+RB NN+NNP", "OTHER"),
    ],
)
def test_concept_neurons_groups_open_classes_and_leaves_the_rest(tags, group):
    assert {group_tag(tag, "concept_neurons") for tag in tags.split()} == {group}


def test_without_a_grouping_a_tag_is_its_own_class():
    assert group_tag("VBD+RB", None) == "VBD+RB"


def test_an_unknown_grouping_is_answered_with_those_there_are():
    with pytest.raises(InputError, match="'penn': it is one of concept_neurons, or none"):
        check_grouping("penn")
