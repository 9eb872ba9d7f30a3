"""Fully sharded training (FSDP2): every rank holds a shard of each weight, its gradient and its optimizer state.

A mask applies to the shard of a rank. Scores and evaluations need full weights: at a mask update all ranks gather them,
and rank 0 gathers a copy of the model for evaluation.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

from sdp.compat.accelerate import is_sharded_checkpoint, shard_on_cpu
from sdp.distributed.collectives import rank_count, this_rank
from sdp.errors import UsageError
from sdp.models.layers import layer_classes
from sdp.recipe.sections import RuntimeSection


def is_sharded(runtime: RuntimeSection) -> bool:
    """Whether this run is sharded; a single process never is."""
    return runtime.parallel == "fsdp" and rank_count() > 1


def local(tensor: Tensor) -> Tensor:
    """Return this rank's shard of a tensor, sharing its memory; the tensor itself where it is not sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """Gather a sharded tensor; all ranks must call this. Returns the tensor itself where it is not sharded."""
    if not isinstance(tensor, DTensor):
        return tensor
    gathered: Tensor = tensor.full_tensor()
    return gathered.detach()


def part_like(tensor: Tensor, sharded: Tensor) -> Tensor:
    """Return the part of a full tensor that corresponds to this rank's shard of a tensor of the same shape."""
    if not isinstance(sharded, DTensor):
        return tensor
    return distribute_tensor(tensor, sharded.device_mesh, sharded.placements, src_data_rank=None).to_local()


def whole_weights(weights: Mapping[str, nn.Parameter]) -> Mapping[str, Any]:
    """Apply `whole` to each weight."""
    return {name: whole(weight) for name, weight in weights.items()}


def require_shardable(runtime: RuntimeSection, obstacle: str | None = None, hint: str = "") -> None:
    """Require that a run can be sharded.

    Args:
        runtime: the recipe's [runtime].
        obstacle: a setting that needs full tensors, as a message; None without one.
        hint: the settings that can be sharded.

    Raises:
        UsageError: there is an obstacle, or batches are computed in parts.
    """
    if obstacle is None and runtime.accumulation > 1:
        obstacle = "runtime.accumulation runs the network several times a step (more processes do the same)"
    if obstacle is not None:
        hint = f'Leave runtime.parallel at "ddp". {hint}'.rstrip()
        raise UsageError(obstacle, where='runtime.parallel = "fsdp"', hint=hint)


def require_own_checkpoint(checkpoint: Path, *, sharded: bool) -> None:
    """Require that a checkpoint's run had the same sharding: otherwise its optimizer state has another form.

    Raises:
        UsageError: it had not.
    """
    was = is_sharded_checkpoint(checkpoint)
    if was != sharded:
        kind = 'as "fsdp" under torchrun' if was else 'without "fsdp"'
        hint = f"Go on as it was, or delete {checkpoint.parent} to start this stage anew."
        raise UsageError(f"the interrupted attempt trained {kind}", where="runtime.parallel", hint=hint)


def shard_settings(model: PreTrainedModel) -> dict[str, Any]:
    """Return Trainer's settings of sharding: the encoder's layers one by one, and the rest."""
    return {"version": 2, "transformer_layer_cls_to_wrap": layer_classes(model), "state_dict_type": "FULL_STATE_DICT"}


def let_accelerate_shard() -> None:
    """Let the next Accelerator shard on CPUs as well."""
    # The pooled representation is a view of what the model returns, and nothing is changed in place.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    shard_on_cpu()


class WholeModel:
    """The model in training in a form for evaluation and saving: a full copy on rank 0 where it is sharded.

    Args:
        trained: the model, not sharded yet.
        runtime: section that decides whether it will be sharded.
    """

    def __init__(self, trained: PreTrainedModel, runtime: RuntimeSection) -> None:
        self._trained = trained
        self._sharded = is_sharded(runtime)
        copied = self._sharded and this_rank() == 0
        self.model: PreTrainedModel = copy.deepcopy(trained) if copied else trained

    def refresh(self) -> None:
        """Update the copy; all ranks must call this.

        Raises:
            RuntimeError: the model should be sharded and is not.
        """
        if not self._sharded:
            return
        for name, parameter in self._trained.named_parameters():
            if not isinstance(parameter, DTensor):
                raise RuntimeError(f"{name} is not sharded")
            gathered = whole(parameter)
            if this_rank() == 0:
                with torch.no_grad():
                    self.model.get_parameter(name).copy_(gathered)

    def evaluated_by(self, metric: Callable[[], float | None]) -> Callable[[], float | None]:
        """Wrap a metric of `model` for all ranks: rank 0 updates the copy and computes it, the others return 0."""

        def evaluate() -> float | None:
            self.refresh()
            return metric() if this_rank() == 0 else 0.0

        return evaluate
