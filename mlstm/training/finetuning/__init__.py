"""Fine-tuning a language model as a classifier of labelled texts.

made = finetune(mlstm.load(RUN), train, dev, labelling, FinetuneConfig(), folder="reviews")
made.classifier.predict_proba(["It was great."])
"""

from mlstm.training.finetuning.config import FinetuneConfig
from mlstm.training.finetuning.examples import Examples
from mlstm.training.finetuning.loop import Finetuned, finetune
from mlstm.training.finetuning.metrics import Measured, measured

__all__ = ["Examples", "FinetuneConfig", "Finetuned", "Measured", "finetune", "measured"]
