"""One training run, resumable: what fine-tuning and pruning have in common."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PrinterCallback, TrainingArguments

from sdp.console import Reporter
from sdp.data.batches import Collator, TokenizedSplit
from sdp.losses.objective import Objective
from sdp.recipe.base import TrainingSection
from sdp.recipe.sections import Recipe
from sdp.run_folder import CHECKPOINTS
from sdp.steps import optimizer_steps
from sdp.training.callback import StepCallback, last_complete_checkpoint, require_finite, stop_on_signal
from sdp.training.device import trains_in_bf16
from sdp.training.masked_weights import MaskedWeights
from sdp.training.teacher import Teacher
from sdp.training.trainer import SdpTrainer

# Trainer says where it resumes from through this logger; sdp says it itself.
logging.getLogger("transformers.trainer").setLevel(logging.ERROR)


@dataclass(frozen=True)
class TrainingRun:
    """Everything one run needs.

    Attributes:
        title: what the progress line is called.
        model: on `device`; trained in place.
        train: the rows to learn from.
        collator: pads a batch.
        objective: the loss.
        settings: epochs, learning rate, batch size, weight decay, warm-up.
        folder: checkpoints go into a folder "checkpoints" in it.
        device: from `training_device`.
        evaluate: gives the dev metric after each epoch.
        teacher: the unpruned network, where the objective needs it.
        masked: the weights being pruned, where any are.
        update_masks: called with each step; changes the masks where due and returns what to log, or None.
        observe: called with each step after that; returns what to log as "analysis", or None.
    """

    title: str
    model: PreTrainedModel
    train: TokenizedSplit
    collator: Collator
    objective: Objective
    settings: TrainingSection
    folder: Path
    device: torch.device
    evaluate: Callable[[], float]
    teacher: Teacher | None = None
    masked: MaskedWeights | None = None
    update_masks: Callable[[int], dict[str, float] | None] | None = None
    observe: Callable[[int], dict[str, Any] | None] | None = None


def train(run: TrainingRun, recipe: Recipe, reporter: Reporter) -> list[dict[str, Any]]:
    """Train from the newest whole checkpoint, or from the start.

    Returns:
        the log, one record an event: "step" and "epoch" with "loss", "sparsity", "analysis" or "dev".

    Raises:
        StoppedError: a signal came; a checkpoint was saved, unless the last step was over.
        StageError: the loss or a weight is no longer finite.
    """
    steps = optimizer_steps(len(run.train), run.settings)
    checkpoint = last_complete_checkpoint(run.folder / CHECKPOINTS)
    if checkpoint is not None:
        reporter.line(f"  resuming {run.title} from step {checkpoint.name.removeprefix('checkpoint-')} of {steps}")
    with reporter.task(run.title, steps) as task:
        callback = StepCallback(
            task,
            recipe.runtime.checkpoint_seconds,
            masked=run.masked,
            update_masks=run.update_masks,
            evaluate=run.evaluate,
            observe=run.observe,
        )
        trainer = SdpTrainer(
            run.model,
            _arguments(run, recipe, steps),
            objective=run.objective,
            teacher=run.teacher,
            masked=run.masked,
            train_dataset=run.train,
            data_collator=run.collator,
            callbacks=[callback],
        )
        # It prints every log record as a dictionary; the reporter shows progress.
        trainer.remove_callback(PrinterCallback)
        with stop_on_signal(callback):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    require_finite(run.model, steps, run.folder / CHECKPOINTS)
    # Trainer's summary of the last attempt is no event.
    return [record for record in trainer.state.log_history if "train_runtime" not in record]


def _arguments(run: TrainingRun, recipe: Recipe, steps: int) -> TrainingArguments:
    settings = run.settings
    arguments = TrainingArguments(
        output_dir=str(run.folder / CHECKPOINTS),
        max_steps=steps,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=round(steps * settings.warmup),
        lr_scheduler_type="linear",
        seed=recipe.seed,
        bf16=trains_in_bf16(settings, run.device),
        use_cpu=run.device.type == "cpu",
        # Checkpoints are asked for by the clock, in StepCallback.
        save_strategy="no",
        logging_steps=max(1, steps // 100),
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=run.device.type == "cuda",
    )
    # One process trains on one GPU. Trainer would split batches, of that many times the size, over all that it sees:
    # the number of steps would be wrong, and what a hook reads of the classifier in pieces.
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    return arguments
