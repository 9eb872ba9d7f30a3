"""transformers' Trainer, subclassed once: our loss, and masks that hold.

Order of events in a step: forward of the student (and of a live teacher), loss, backward, the criterion's look at the
gradients, gradients of pruned weights set to zero, clipping, optimizer step, pruned weights set to zero again, mask
update if one is due, checkpoint if one is due. A checkpoint therefore always holds weights and masks that agree.
"""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import (
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint

from sdp.console import Task
from sdp.errors import StageError, StoppedError
from sdp.losses.objective import Objective
from sdp.training.forward import Reader
from sdp.training.masked_weights import MaskedWeights
from sdp.training.sampler import LengthGroupedSampler
from sdp.training.teacher import Teacher
from sdp.training.term_means import TermMeans

COMPLETE = "complete.json"


class SdpTrainer(Trainer):
    """Trainer with a distillation objective and, for pruning, masked weights."""

    def __init__(
        self,
        model: PreTrainedModel,
        args: TrainingArguments,
        *,
        objective: Objective,
        teacher: Teacher | None = None,
        masked: MaskedWeights | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, args, **options)
        # The objective is a mean over a batch. Trainer would take it for a sum over all accumulated batches that the
        # model has divided already, and would not divide it by their number.
        self.model_accepts_loss_kwargs = False
        self._objective = objective
        self._read = Reader(model, objective)
        self._terms = TermMeans()
        self._teacher = teacher
        self._masked = masked

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The objective on a batch, a mean over its rows; `training_step` divides by the number of accumulated ones."""
        index, labels = inputs.pop("index"), inputs.pop("labels")
        student = self._read(model, inputs)
        said = self._teacher.outputs(inputs, index) if self._teacher is not None else None
        loss, terms = self._objective(student, labels, inputs["attention_mask"], said)
        if not torch.isfinite(loss):
            parts = ", ".join(f"{name} {value.item():.3g}" for name, value in terms.items())
            raise StageError(
                f"the loss became {loss.item()} at step {self.state.global_step + 1} ({parts})",
                hint="Lower the learning rate or the weight of the losses.",
            )
        self._terms.add(terms)
        return (loss, {"logits": student.logits}) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the mean of every unweighted term beside the loss that they make up."""
        super().log({**logs, **self._terms.take()} if "loss" in logs else logs, start_time)

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Forward and backward, with the masked weights told of both.

        The criterion sees gradients once a step: after the last of the accumulated batches, reduced over all devices.
        """
        if self._masked is None:
            return super().training_step(model, inputs, num_items_in_batch)
        step = self.state.global_step + 1
        self._masked.before_forward(step)
        loss = super().training_step(model, inputs, num_items_in_batch)
        if self.accelerator.sync_gradients:
            self._masked.after_backward(step)
        return loss

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        rows: Any = train_dataset if train_dataset is not None else self.train_dataset
        lengths = [len(row["input_ids"]) for row in rows.rows]
        return LengthGroupedSampler(lengths, self._train_batch_size, self.args.seed)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        if self._masked is not None:
            self._masked.save(Path(output_dir or str(self.args.output_dir)))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self._masked is not None:
            self._masked.load(Path(resume_from_checkpoint))


class StepCallback(TrainerCallback):
    """Progress, checkpoints by the clock, mask updates, the training curve, and a clean stop on a signal."""

    def __init__(
        self,
        task: Task,
        checkpoint_seconds: float,
        *,
        masked: MaskedWeights | None = None,
        update_masks: Callable[[int], dict[str, float] | None] | None = None,
        evaluate: Callable[[], float] | None = None,
        observe: Callable[[int], dict[str, Any] | None] | None = None,
    ) -> None:
        self._task = task
        self._checkpoint_seconds = checkpoint_seconds
        self._masked = masked
        self._update_masks = update_masks
        self._evaluate = evaluate
        self._observe = observe
        self._last_checkpoint = time.monotonic()
        self._note = ""
        self.stop_requested = False

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Hold the pruned weights at zero."""
        if self._masked is not None:
            self._masked.enforce()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Update masks, then ask for a checkpoint where one is due or a signal came."""
        if self._update_masks is not None and (record := self._update_masks(state.global_step)) is not None:
            state.log_history.append({"step": state.global_step, "epoch": state.epoch or 0.0, **record})
            self._note = f"{record['sparsity']:.0%} zeros"
        if self._observe is not None and (seen := self._observe(state.global_step)) is not None:
            entry: dict[str, Any] = {"step": state.global_step, "epoch": state.epoch or 0.0, "analysis": seen}
            state.log_history.append(entry)
        self._task.update(state.global_step, self._note)
        due = time.monotonic() - self._last_checkpoint >= self._checkpoint_seconds
        if (due and state.global_step < state.max_steps) or self.stop_requested:
            control.should_save = True
        if self.stop_requested:
            control.should_training_stop = True
        return control

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Mark the checkpoint as whole: a killed process leaves half-written folders behind."""
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        (folder / COMPLETE).write_text(json.dumps({"step": state.global_step}))
        self._last_checkpoint = time.monotonic()

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Add a point of the dev metric to the curve."""
        if self._evaluate is not None:
            state.log_history.append({"step": state.global_step, "epoch": state.epoch or 0.0, "dev": self._evaluate()})


def last_complete_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end, or None; half-written ones are removed."""
    while folder.is_dir() and (found := get_last_checkpoint(str(folder))):
        if (Path(found) / COMPLETE).exists():
            return Path(found)
        shutil.rmtree(found)
    return None


@contextmanager
def stop_on_signal(callback: StepCallback) -> Iterator[None]:
    """Turn the first Ctrl-C or SIGTERM into a checkpoint and a clean stop after the current step."""

    def request(number: int, frame: FrameType | None) -> None:
        if callback.stop_requested:
            raise KeyboardInterrupt
        callback.stop_requested = True

    previous = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if callback.stop_requested:
        raise StoppedError("stopped; a checkpoint was saved", hint="The same command resumes where it stopped.")
