"""What is asked: labelled data, exact in bytes. A task's name is its flag, function and file."""

from probing.tasks.labelled import LabelledData, LabelledDocument
from probing.tasks.source_code import source_code

__all__ = ["LabelledData", "LabelledDocument", "source_code"]
