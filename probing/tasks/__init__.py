"""What is asked: labelled data, exact in bytes. A task's name is its flag, function and file."""

from probing.tasks.labelled import LabelledData, LabelledDocument, Labels, every_byte, stored
from probing.tasks.part_of_speech import part_of_speech
from probing.tasks.patterns import patterns
from probing.tasks.sentiment import sentiment
from probing.tasks.source_code import source_code
from probing.tasks.text_position import text_position
from probing.tasks.token_labels import token_labels

__all__ = [
    "LabelledData",
    "LabelledDocument",
    "Labels",
    "every_byte",
    "part_of_speech",
    "patterns",
    "sentiment",
    "source_code",
    "stored",
    "text_position",
    "token_labels",
]
