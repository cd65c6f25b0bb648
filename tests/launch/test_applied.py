"""What a folder that classifies texts is taken for."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from launch import applied
from mlstm import classifier_files
from mlstm.classifier import BINARY, EXCLUSIVE, SEVERAL, Labelling
from mlstm.errors import InputError


@pytest.mark.parametrize(
    ("kind", "classes", "chance"),
    [(BINARY, "ab", 0.5), (EXCLUSIVE, "abcd", 0.25), (SEVERAL, "abcd", 0.5), (SEVERAL, "a", 0.5)],
)
def test_each_of_several_labels_is_as_likely_as_not(kind, classes, chance):
    labelling = Labelling(kind, tuple(classes)).check()
    classifier = SimpleNamespace(labelling=labelling, classes=list(classes))
    assert applied.Finetuned(cast(Any, classifier)).chance == chance


@pytest.mark.parametrize(
    "about", [b"", b"{", b"\xff", b"[]", b"{}", b'{"format": "fine-tuned"}', b"[" * 100_000]
)
def test_a_description_that_is_damaged_is_called_so(tmp_path, about):
    (tmp_path / classifier_files.ABOUT).write_bytes(about)
    (tmp_path / classifier_files.ARRAYS).write_bytes(b"")
    with pytest.raises(InputError, match=r"classifier.json: .*damaged"):
        applied.read(tmp_path, None, None, None)


@pytest.mark.parametrize("about", [b"{", b'{"format": "text classifier"}'])
def test_the_folder_of_a_probe_is_none_of_a_fine_tuning(tmp_path, about):
    (tmp_path / classifier_files.ABOUT).write_bytes(about)
    with pytest.raises(InputError, match="--model is needed"):
        applied.read(tmp_path, None, None, None)
