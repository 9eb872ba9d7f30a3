"""transformers' Trainer, subclassed once: our loss, our order of rows, and hooks.

Order of events in a step: the hooks' `before_forward`; forward, loss and backward; after the last of the accumulated
batches their `after_backward`; clipping and the optimizer's step; then, in `StepCallback`, their `after_optimizer_step`
and `after_step`, and a checkpoint if one is due. A checkpoint therefore holds what the hooks made of the step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, TrainingArguments

from sdp.compat.transformers import CheckpointTrainer
from sdp.data.rows_on_disk import row_lengths
from sdp.distributed.collectives import average_gradients, rank_slice
from sdp.errors import StageError
from sdp.losses.network_output import NetworkOutput
from sdp.training.attention import training_attention
from sdp.training.batch_parts import first_rows, read_in_parts
from sdp.training.callback import way_on
from sdp.training.hooks import Hook, TrainingObjective
from sdp.training.sampler import LengthGroupedSampler
from sdp.training.term_means import TermMeans


class SdpTrainer(CheckpointTrainer):
    """Trainer with an objective of ours, and hooks."""

    def __init__(
        self,
        model: PreTrainedModel,
        args: TrainingArguments,
        *,
        objective: TrainingObjective,
        hooks: Sequence[Hook] = (),
        parts: int = 1,
        unlabeled_share: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(model, args, **options)
        # The objective is a mean over a batch. Trainer would take it for a sum over all accumulated batches that the
        # model has divided already, and would not divide it by their number.
        self.model_accepts_loss_kwargs = False
        self._trained = model
        self._objective = objective
        self._terms = TermMeans()
        self._hooks = hooks
        self._parts = parts
        self._unlabeled_share = unlabeled_share

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The objective on a batch, a mean over its rows; `training_step` divides by the number of accumulated ones."""
        rows = rank_slice(len(inputs["index"]))
        output = self._forward(model, inputs, rows)
        inputs = {name: tensor[rows] for name, tensor in inputs.items()}
        index, labels = inputs.pop("index"), inputs.pop("labels")
        loss, terms = self._objective.loss(output, inputs, labels, index)
        if not torch.isfinite(loss):
            parts = ", ".join(f"{name} {value.item():.3g}" for name, value in terms.items())
            raise StageError(
                f"the loss became {loss.item()} at step {self.state.global_step + 1} ({parts})",
                hint=way_on(Path(str(self.args.output_dir))),
            )
        self._terms.add({"loss": loss.detach(), **terms})
        return (loss, {"logits": output.logits}) if return_outputs else loss

    def _forward(self, model: nn.Module, inputs: Mapping[str, Tensor], rows: slice) -> NetworkOutput:
        """The network's output on some rows of a batch."""
        # A rank without rows (in the last batch of an epoch) takes part in the step as well, and no model runs on none.
        count = rows.stop - rows.start
        shown = {
            name: tensor[rows if count else slice(1)]
            for name, tensor in inputs.items()
            if name not in ("index", "labels")
        }
        if self._parts > 1:
            # DistributedDataParallel reduces gradients after one forward pass; `training_step` does it after several.
            model = self._trained
        output = read_in_parts(partial(self._objective.forward, model), shown, self._parts)
        return output if count else first_rows(output, 0)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the mean of every unweighted term beside the loss that they make up, since the record before.

        Trainer's own mean of the loss would begin anew where a run resumes.
        """
        super().log({**logs, **self._terms.take()} if "loss" in logs else logs, start_time)

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Forward and backward, and the hooks around them.

        Gradients are given to hooks once a step: after the last of the accumulated batches, reduced over all devices.
        """
        step = self.state.global_step + 1
        for hook in self._hooks:
            hook.before_forward(step)
        # Layers that are computed again in the backward pass must be computed as in the forward one.
        with training_attention(self.args.device, inputs["input_ids"].shape[1], bf16=self.args.bf16):
            loss = super().training_step(model, inputs, num_items_in_batch)
        if self._parts > 1:
            average_gradients(self._trained.parameters())
        if self.accelerator.sync_gradients:
            for hook in self._hooks:
                hook.after_backward(step)
        return loss

    def get_train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Whole batches on every rank, the same as in a single process; `compute_loss` takes the rank's rows of each.

        Accelerate would share out batches, and fill up the last one with rows of the first. Rows are padded as in a
        single process, and any number of them can be shared out; no rank has fewer steps than another.
        """
        options: dict[str, Any] = {"collate_fn": self.data_collator, "pin_memory": self.args.dataloader_pin_memory}
        rows: Any = self.train_dataset
        size = self.args.train_batch_size
        lengths = row_lengths(rows.rows).tolist()
        sampler = LengthGroupedSampler(lengths, size, self.args.seed, rows.labeled, self._unlabeled_share)
        loader = DataLoader[dict[str, Tensor]](rows, size, sampler=sampler, **options)
        prepared: DataLoader[dict[str, Tensor]] = prepare_data_loader(
            loader, self.args.device, num_processes=1, process_index=0, put_on_device=True, rng_types=[]
        )
        return prepared

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Called when the model has the parameters that it is trained with; where it is sharded they are new ones."""
        if self.is_fsdp_enabled:
            for hook in self._hooks:
                hook.parameters_replaced(self._trained)
        return super().create_scheduler(num_training_steps, optimizer)

    def before_checkpoint(self) -> None:
        """Every rank gets the same means."""
        self._terms.even_out()

    def save_more(self, folder: Path) -> None:
        """Write the terms' means and what hooks store."""
        self._terms.save(folder)
        for hook in self._hooks:
            hook.save(folder)

    def load_more(self, folder: Path) -> None:
        """Read the terms' means and what hooks stored."""
        self._terms.load(folder, self.args.device)
        for hook in self._hooks:
            hook.load(folder)
