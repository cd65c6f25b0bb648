"""What is asked: labelled data, exact in bytes. A task's name is its flag, function and file."""

from probing.tasks.labelled import LabelledData, LabelledDocument, Labels, every_byte, stored
from probing.tasks.source_code import source_code

__all__ = [
    "LabelledData",
    "LabelledDocument",
    "Labels",
    "every_byte",
    "source_code",
    "stored",
]
