"""One training run, resumable: what fine-tuning and pruning have in common."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PrinterCallback, TrainingArguments

from sdp.compat.transformers import train_on_one_gpu
from sdp.data.batches import Collator, TokenizedSplit
from sdp.distributed.collectives import broadcast_number, rank_count, this_rank
from sdp.distributed.sharded import is_sharded, let_accelerate_shard, require_own_checkpoint, shard_settings
from sdp.errors import ModelError, UsageError
from sdp.pipeline.context import StageContext
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import CHECKPOINTS
from sdp.recipe.base import TrainingSection
from sdp.recipe.sections import Recipe, Tracker
from sdp.training.callback import StepCallback, last_good_checkpoint, require_finite, stop_on_signal
from sdp.training.checkpoints import checkpoint_step
from sdp.training.device import trains_in_bf16
from sdp.training.hooks import Hook, TrainingObjective
from sdp.training.steps import optimizer_steps
from sdp.training.trackers import FOLDER, follow, require_trackers
from sdp.training.trainer import SdpTrainer

# Trainer logs the checkpoint that it resumes from; sdp prints it itself.
logging.getLogger("transformers.trainer").setLevel(logging.ERROR)


@dataclass(frozen=True)
class TrainingRun:
    """Everything one run needs.

    Attributes:
        title: what the progress line is called.
        context: seed, runtime and reporter; checkpoints go into a folder "checkpoints" in its target.
        model: on `device`; trained in place.
        train: the rows to learn from.
        collator: pads a batch.
        objective: forward pass and loss.
        settings: how many steps, of how many rows, and the optimizer's.
        device: from `training_device`.
        evaluate: gives the dev metric (None where it is undefined) after each epoch; called on all ranks, and what it
            gives on rank 0 counts.
        hooks: what else takes part, in this order.
        unlabeled_share: share of the steps whose batch is of rows without labels, where there are any.
    """

    title: str
    context: StageContext
    model: PreTrainedModel
    train: TokenizedSplit
    collator: Collator
    objective: TrainingObjective
    settings: TrainingSection
    device: torch.device
    evaluate: Callable[[], float | None]
    hooks: tuple[Hook, ...] = ()
    unlabeled_share: float = 0.0

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.context.target / CHECKPOINTS


def train(run: TrainingRun) -> list[dict[str, Any]]:
    """Train from the newest whole checkpoint, or from the start.

    Returns:
        the log, one record an event: "step" and "epoch" with "loss", "dev", or what a hook returned.

    Raises:
        StoppedError: a signal came; a checkpoint was saved, unless the last step was over.
        OutOfTimeError: the context's deadline came; a checkpoint was saved.
        StageError: the loss or a weight is no longer finite.
    """
    recipe, reporter = run.context.recipe, run.context.reporter
    steps = optimizer_steps(run.train.labeled, run.settings)
    _require_a_row_each(run.settings.batch_size)
    checkpoint = _last_checkpoint(run.checkpoints, reporter)
    if checkpoint is not None:
        require_own_checkpoint(checkpoint, sharded=is_sharded(recipe.runtime))
        reporter.line(f"  resuming {run.title} from step {checkpoint_step(checkpoint)} of {steps}")
    if recipe.runtime.checkpointing:
        _checkpoint_layers(run.model)
    first = checkpoint_step(checkpoint) if checkpoint is not None else 0
    with (
        reporter.task(run.title, steps) as task,
        follow(_trackers(recipe), run.context.run.path / FOLDER / run.context.stage, first) as trackers,
    ):
        callback = StepCallback(
            task,
            recipe.runtime.checkpoint_seconds,
            hooks=run.hooks,
            evaluate=run.evaluate,
            deadline=run.context.deadline,
            trackers=trackers,
        )
        arguments = _arguments(run, steps)
        if is_sharded(recipe.runtime):
            let_accelerate_shard()
        trainer = SdpTrainer(
            run.model,
            arguments,
            objective=run.objective,
            hooks=run.hooks,
            parts=recipe.runtime.accumulation,
            unlabeled_share=run.unlabeled_share,
            train_dataset=run.train,
            data_collator=run.collator,
            callbacks=[callback, *trackers],
        )
        # It prints every log record as a dictionary; the reporter shows progress.
        trainer.remove_callback(PrinterCallback)
        _make_dropout_differ(recipe.seed)
        with stop_on_signal(callback):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    require_finite(run.model, steps, run.checkpoints)
    # Trainer's summary of the last attempt is no event.
    return [record for record in trainer.state.log_history if "train_runtime" not in record]


def _trackers(recipe: Recipe) -> tuple[Tracker, ...]:
    """Those of the recipe, on the rank that they follow."""
    require_trackers(recipe.runtime.report_to)
    return recipe.runtime.report_to if this_rank() == 0 else ()


def _last_checkpoint(folder: Path, reporter: Reporter) -> Path | None:
    """Find the checkpoint from which all ranks resume; rank 0 removes damaged ones."""
    found = last_good_checkpoint(folder, reporter) if this_rank() == 0 else None
    step = broadcast_number(checkpoint_step(found) if found is not None else 0)
    return folder / f"checkpoint-{step}" if step else None


def _checkpoint_layers(model: PreTrainedModel) -> None:
    # The second name belongs to transformers before 5.20.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    try:
        enable({"use_reentrant": False})
    except ValueError as error:
        raise ModelError(str(error), where="runtime.checkpointing", hint="Set it to false.") from None


def _require_a_row_each(batch_size: int) -> None:
    if batch_size < rank_count():
        what = f"a batch of {batch_size} rows cannot be shared out between {rank_count()} processes"
        raise UsageError(what, where="batch_size", hint="It counts the rows of one optimizer step, of all processes.")


def _make_dropout_differ(seed: int) -> None:
    """Let every rank drop other units of its rows; rank 0 those that it would drop alone."""
    if this_rank() > 0:
        torch.manual_seed(int(np.random.SeedSequence([seed, this_rank()]).generate_state(1)[0]))


def _arguments(run: TrainingRun, steps: int) -> TrainingArguments:
    settings, recipe = run.settings, run.context.recipe
    # Typed as the text that it was in older releases.
    sharded: Any = is_sharded(recipe.runtime)
    warmup = round(steps * settings.warmup)
    falling = None if settings.decay == 1 else min(max(1, round(steps * settings.decay)), steps - warmup)
    arguments = TrainingArguments(
        output_dir=str(run.checkpoints),
        max_steps=steps,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=warmup,
        adam_beta1=settings.betas[0],
        adam_beta2=settings.betas[1],
        lr_scheduler_type="linear" if falling is None else "warmup_stable_decay",
        lr_scheduler_kwargs={} if falling is None else {"num_decay_steps": falling, "decay_type": "linear"},
        seed=recipe.seed,
        bf16=trains_in_bf16(settings, run.device),
        use_cpu=run.device.type == "cpu",
        # Checkpoints are asked for by the clock, in StepCallback.
        save_strategy="no",
        logging_steps=max(1, steps // 100),
        run_name=f"{recipe.name}-{run.context.stage}",
        # Trackers are callbacks; Trainer would add those of all packages that are installed.
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
        # Set explicitly, because Trainer would change it with activation checkpointing: a pooler may be unused.
        ddp_find_unused_parameters=True,
        dataloader_pin_memory=run.device.type == "cuda",
        fsdp=sharded or None,
        fsdp_config=shard_settings(run.model) if sharded else None,
    )
    # One process trains on one GPU. Trainer would split batches, of that many times the size, over all that it sees:
    # the number of steps would be wrong, and what a hook reads of the classifier in pieces.
    train_on_one_gpu(arguments)
    return arguments
