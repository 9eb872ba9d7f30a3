"""Fully sharded training (FSDP2): every rank holds a part of each weight, of its gradient and its optimizer state.

A mask acts on the part that a rank holds. What needs whole weights, scores and evaluations, gathers them: scores at a
mask update on all ranks, one copy of the model for evaluation on rank 0.
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
from sdp.distributed.collectives import this_rank
from sdp.distributed.sums import rank_count
from sdp.errors import UsageError
from sdp.models.layers import layer_classes
from sdp.recipe.sections import RuntimeSection


def is_sharded(runtime: RuntimeSection) -> bool:
    """Whether this run is to be sharded; a single process has all of everything anyway."""
    return runtime.parallel == "fsdp" and rank_count() > 1


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this rank holds, sharing its memory; the tensor itself where it is not sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """A sharded tensor with the parts of all ranks, which all call this; the tensor itself where it is not sharded."""
    if not isinstance(tensor, DTensor):
        return tensor
    gathered: Tensor = tensor.full_tensor()
    return gathered.detach()


def part_like(tensor: Tensor, sharded: Tensor) -> Tensor:
    """The part of a whole tensor that lies where this rank holds its part of a sharded one of the same shape."""
    if not isinstance(sharded, DTensor):
        return tensor
    return distribute_tensor(tensor, sharded.device_mesh, sharded.placements, src_data_rank=None).to_local()


def whole_weights(weights: Mapping[str, nn.Parameter]) -> Mapping[str, Any]:
    """`whole` of each."""
    return {name: whole(weight) for name, weight in weights.items()}


def require_shardable(runtime: RuntimeSection, obstacle: str | None = None, hint: str = "") -> None:
    """See that a run can be sharded.

    Args:
        runtime: of the recipe.
        obstacle: what else needs more than the part that a process has, in words.
        hint: what can be sharded.

    Raises:
        UsageError: there is an obstacle, or batches are computed in parts.
    """
    if obstacle is None and runtime.accumulation > 1:
        obstacle = "runtime.accumulation runs the network several times a step (more processes do the same)"
    if obstacle is not None:
        hint = f'Leave runtime.parallel at "ddp". {hint}'.rstrip()
        raise UsageError(obstacle, where='runtime.parallel = "fsdp"', hint=hint)


def require_own_checkpoint(checkpoint: Path, *, sharded: bool) -> None:
    """See that a checkpoint is of a run that was sharded as this one is: their optimizer states are stored otherwise.

    Raises:
        UsageError: it is not.
    """
    was = is_sharded_checkpoint(checkpoint)
    if was != sharded:
        kind = 'as "fsdp" under torchrun' if was else 'without "fsdp"'
        hint = f"Go on as it was, or delete {checkpoint.parent} to start this stage anew."
        raise UsageError(f"the interrupted attempt trained {kind}", where="runtime.parallel", hint=hint)


def shard_settings(model: PreTrainedModel) -> dict[str, Any]:
    """How Trainer is to shard: the encoder's layers one by one, and the rest."""
    return {"version": 2, "transformer_layer_cls_to_wrap": layer_classes(model), "state_dict_type": "FULL_STATE_DICT"}


def let_accelerate_shard() -> None:
    """Let the next Accelerator shard on CPUs as well."""
    # The pooled representation is a view of what the model returns, and nothing is changed in place.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    shard_on_cpu()


class WholeModel:
    """The model in training as something that can be evaluated and saved: a plain copy on rank 0 where it is sharded.

    Args:
        trained: the model, not sharded yet.
        runtime: holds whether it will be.
    """

    def __init__(self, trained: PreTrainedModel, runtime: RuntimeSection) -> None:
        self._trained = trained
        self._sharded = is_sharded(runtime)
        copied = self._sharded and this_rank() == 0
        self.model: PreTrainedModel = copy.deepcopy(trained) if copied else trained

    def refresh(self) -> None:
        """Bring the copy up to date; all ranks call this.

        Raises:
            RuntimeError: the model was to be sharded, and is not.
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
        """A metric of `model`, for all ranks to call: up to date and computed on rank 0, 0 on the others."""

        def evaluate() -> float | None:
            self.refresh()
            return metric() if this_rank() == 0 else 0.0

        return evaluate
