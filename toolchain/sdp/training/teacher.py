"""What the unpruned network says: computed once for every training row where that is possible, live otherwise."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from sdp.console import Reporter
from sdp.data.batches import Collator, TokenizedSplit, length_sorted_batches
from sdp.losses.objective import NetworkOutput, Objective
from sdp.losses.representation import represent


def forward(model: torch.nn.Module, inputs: Mapping[str, Tensor], *, hidden: bool) -> NetworkOutput:
    """Run a network on a batch; `hidden` asks for the last layer's hidden states too."""
    outputs = model(**inputs, output_hidden_states=hidden)
    return NetworkOutput(outputs.logits, outputs.hidden_states[-1] if hidden else None)


class LiveTeacher:
    """Runs the teacher on every batch, without gradient and without dropout."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model.eval().requires_grad_(False)

    def outputs(self, inputs: Mapping[str, Tensor], index: Tensor) -> NetworkOutput:
        """The teacher's logits and hidden states on a batch."""
        with torch.no_grad():
            return forward(self._model, inputs, hidden=True)


@dataclass(frozen=True)
class CachedTeacher:
    """The teacher's stored logits, [N, C], and representations, [N, d] (absent where no loss reads them)."""

    logits: Tensor
    rows: Tensor | None

    def outputs(self, inputs: Mapping[str, Tensor], index: Tensor) -> NetworkOutput:
        """The teacher's stored words on the rows of a batch."""
        rows = None if self.rows is None else self.rows[index]
        return NetworkOutput(self.logits[index], rows=rows)


Teacher = LiveTeacher | CachedTeacher


def cached_teacher(
    model: PreTrainedModel,
    split: TokenizedSplit,
    collator: Collator,
    objective: Objective,
    path: Path,
    device: torch.device,
    reporter: Reporter,
) -> CachedTeacher:
    """Read the teacher's words on every training row from `path`, computing and writing them first if need be.

    Args:
        model: the teacher.
        split: the training rows.
        collator: pads a batch.
        objective: says which representation is read.
        path: a safetensors file whose name identifies teacher, rows and representation.
        device: where the teacher runs and where its words will be read.
        reporter: shows progress.
    """
    if not path.exists():
        tensors = _ask(model, split, collator, objective, device, reporter)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        save_file(tensors, temporary)
        temporary.replace(path)
    tensors = load_file(path, device=str(device))
    return CachedTeacher(tensors["logits"], tensors.get("rows"))


def _ask(
    model: PreTrainedModel,
    split: TokenizedSplit,
    collator: Collator,
    objective: Objective,
    device: torch.device,
    reporter: Reporter,
) -> dict[str, Tensor]:
    model.eval()
    settings = objective.cross_correlation
    stored: dict[str, list[Tensor]] = {"logits": [], "rows": []}
    order: list[int] = []
    batches = list(length_sorted_batches(split, 64))
    with torch.no_grad(), reporter.task("teacher", len(batches)) as task:
        for done, indices in enumerate(batches, start=1):
            batch = collator([split[index] for index in indices])
            inputs = {k: v.to(device) for k, v in batch.items() if k not in ("labels", "index")}
            output = forward(model, inputs, hidden=settings is not None)
            stored["logits"].append(output.logits.float().cpu())
            if settings is not None and output.hidden is not None:
                rows = represent(output.hidden, inputs["attention_mask"], settings.representation)
                stored["rows"].append(rows.float().cpu())
            order.extend(indices)
            task.update(done)
    back = torch.argsort(torch.tensor(order))
    return {name: torch.cat(parts)[back].contiguous() for name, parts in stored.items() if parts}
