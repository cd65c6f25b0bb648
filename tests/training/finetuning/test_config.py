"""Settings of a wrong type are named before anything is read."""

import pytest

from mlstm.errors import InputError
from mlstm.training.finetuning import FinetuneConfig


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("seed", 1.5, "a whole number"),
        ("batch", 2.0, "a whole number"),
        ("epochs", 1.5, "a whole number"),
        ("limit", True, "a whole number"),
        ("freeze", None, "a whole number"),
        ("learning_rate", "1", "a number"),
        ("dropout", None, "a number"),
        ("clip", False, "a number"),
        ("optimizer", 3, "a word"),
        ("schedule", ["linear"], "a word"),
        ("sizes", 8, "a tuple of whole numbers"),
        ("sizes", [8], "a tuple of whole numbers"),
        ("sizes", (8.0,), "a tuple of whole numbers"),
        ("sizes", (True,), "a tuple of whole numbers"),
        ("sites", "0.c", "a tuple of names"),
        ("sites", (0,), "a tuple of names"),
        ("poolings", "mean", "a tuple of names"),
    ],
)
def test_a_setting_of_another_type_is_named(name, value, wanted):
    with pytest.raises(InputError) as caught:
        FinetuneConfig(**{name: value}).check()
    assert str(caught.value) == f"{name} is {value!r}: it has to be {wanted}"


def test_a_whole_number_is_a_number_too():
    config = FinetuneConfig(clip=1, weight_decay=0, sizes=(8,), sites=("0.c",), poolings=("min",))
    assert config.check() is config
