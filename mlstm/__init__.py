"""Train byte-level recurrent language models, and run them.

    model = mlstm.load("runs/quickstart")
    for (text,) in mlstm.generate(model, b"def ", 200): ...
    print(mlstm.evaluate(model, mlstm.open_source("text.txt").split("test")))

Names are imported when they are first used: `import mlstm` costs nothing and touches no device.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlstm.classifier import Classifier as Classifier
    from mlstm.classifier_files import load_classifier as load_classifier
    from mlstm.corpus.reading import Corpus as Corpus
    from mlstm.corpus.shards import open_source as open_source
    from mlstm.errors import InputError as InputError
    from mlstm.evaluation import compare as compare
    from mlstm.evaluation import evaluate as evaluate
    from mlstm.formats.safetensors import save as save
    from mlstm.loading import load as load
    from mlstm.model.config import ModelConfig as ModelConfig
    from mlstm.model.sampling import generate as generate
    from mlstm.model.scoring import Score as Score
    from mlstm.runs import corpus_of as corpus_of
    from mlstm.trained import Model as Model

_HOMES = {
    "Classifier": "mlstm.classifier",
    "Corpus": "mlstm.corpus.reading",
    "InputError": "mlstm.errors",
    "Model": "mlstm.trained",
    "ModelConfig": "mlstm.model.config",
    "Score": "mlstm.model.scoring",
    "compare": "mlstm.evaluation",
    "corpus_of": "mlstm.runs",
    "evaluate": "mlstm.evaluation",
    "generate": "mlstm.model.sampling",
    "load": "mlstm.loading",
    "load_classifier": "mlstm.classifier_files",
    "open_source": "mlstm.corpus.shards",
    "save": "mlstm.formats.safetensors",
}

__all__ = [
    "Classifier",
    "Corpus",
    "InputError",
    "Model",
    "ModelConfig",
    "Score",
    "compare",
    "corpus_of",
    "evaluate",
    "generate",
    "load",
    "load_classifier",
    "open_source",
    "save",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mlstm' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
