"""Private APIs of transformers, checked with 5.24."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel, Trainer, TrainingArguments


class CheckpointTrainer(Trainer):
    """Trainer whose checkpoints hold more than Trainer's own files: a subclass overrides three methods.

    Trainer's public callbacks hear of a checkpoint only after it is written, and none hears that one was loaded, which
    must come after the weights and before the first step.
    """

    def before_checkpoint(self) -> None:
        """Called on every rank before a checkpoint is written."""

    def save_more(self, folder: Path) -> None:
        """Write what else belongs to a checkpoint; called on the rank that writes, when the weights are written."""

    def load_more(self, folder: Path) -> None:
        """Read what `save_more` wrote; called on every rank, when the weights are loaded."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.before_checkpoint()
        super()._save_checkpoint(model, trial)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        if self.args.should_save:
            self.save_more(Path(output_dir or str(self.args.output_dir)))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.load_more(Path(resume_from_checkpoint))


def train_on_one_gpu(arguments: TrainingArguments) -> None:
    """Make one process train on one GPU, however many it sees.

    Trainer splits batches, of that many times the size, over all of them, and has no setting against it but hiding
    GPUs from the whole process, which is too late once torch has looked.
    """
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1


def class_of(auto: Any, config: PreTrainedConfig) -> type[PreTrainedModel]:
    """The class of model that an auto class, such as AutoModelForSequenceClassification, makes of a config.

    Raises:
        KeyError: it has none.
    """
    found: type[PreTrainedModel] = auto._model_mapping[type(config)]
    return found


def class_that_ends_with(whole: type[PreTrainedModel], finish: Callable[[PreTrainedModel], None]) -> Any:
    """Return a class like another class of model, whose models are changed as soon as they are made.

    `from_pretrained` of it makes a model, changes it, and then loads the weights that it has after that. There is no
    hook between the first two, and no initialization of weights: all of them are to be loaded.

    Args:
        whole: the other class.
        finish: changes a model.
    """

    def init(model: PreTrainedModel, config: PreTrainedConfig) -> None:
        whole.__init__(model, config)
        finish(model)

    own = {"__init__": init, "_init_weights": lambda _model, _module: None, "__module__": whole.__module__}
    return type(whole.__name__, (whole,), own)
