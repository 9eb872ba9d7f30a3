"""Outputs of the unpruned network: computed once for every training row where possible, live otherwise."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from sdp.data.batches import Collator, TokenizedSplit, length_sorted_batches
from sdp.distributed.collectives import any_rank, rank_slice, sum_parts, this_rank
from sdp.errors import ModelError
from sdp.losses.network_output import NetworkOutput, RowsKey
from sdp.losses.objective import Objective
from sdp.losses.representation import rows_of
from sdp.pipeline.files import read_arrays, write_arrays
from sdp.pipeline.progress import Reporter
from sdp.pruning.forward import Reader

LOGITS = "logits"
BATCH_SIZE = 64


class LiveTeacher:
    """Runs the teacher on every batch, without gradient and without dropout.

    Args:
        model: the teacher.
        objective: the loss that reads the outputs.
        bf16: compute its products in bfloat16, as a student's that is trained so. In float32 it would take as long as
            the student's forward and backward pass together.
    """

    def __init__(self, model: PreTrainedModel, objective: Objective, *, bf16: bool = False) -> None:
        self._model = model.eval().requires_grad_(False)
        self._read = Reader(model, objective)
        self._bf16 = bf16

    def outputs(self, inputs: Mapping[str, Tensor], index: Tensor) -> NetworkOutput:
        """Return the teacher's outputs for a batch."""
        # Not inference mode: its tensors cannot take part in the student's backward pass.
        with torch.no_grad(), torch.autocast(self._model.device.type, torch.bfloat16, enabled=self._bf16):
            return self._read(self._model, inputs)


@dataclass(frozen=True)
class CachedTeacher:
    """The teacher's stored outputs for N training rows, and its weights; absent where no loss reads them.

    Attributes:
        logits: [N, C].
        rows: representations, [N, d] each.
        weights: prunable weights by name.
    """

    logits: Tensor | None = None
    rows: Mapping[RowsKey, Tensor] = field(default_factory=dict)
    weights: Mapping[str, Tensor] = field(default_factory=dict)

    def outputs(self, inputs: Mapping[str, Tensor], index: Tensor) -> NetworkOutput:
        """Return the teacher's stored outputs for the rows of a batch."""
        return NetworkOutput(
            None if self.logits is None else self.logits[index],
            stored={key: rows[index] for key, rows in self.rows.items()},
            weights=self.weights,
        )


Teacher = LiveTeacher | CachedTeacher


@dataclass(frozen=True)
class TeacherCache:
    """A folder with a file for everything the teacher was asked about a list of rows.

    Runs with other losses share it: each reads what it needs and adds what is not there yet.

    Attributes:
        folder: where the files are.
        teacher: identifies the teacher's weights.
    """

    folder: Path
    teacher: str

    def path(self, rows: str, name: str) -> Path:
        """The file of the logits or of one representation; its name identifies teacher and tokenized rows too."""
        return self.folder / f"teacher-{self.teacher}-{rows}-{name}.safetensors"


def rows_identity(split: TokenizedSplit) -> str:
    """A hash of tokenized rows and of their order."""
    digest = hashlib.sha256()
    for row in split.rows:
        for name in sorted(row):
            digest.update(f"{name} {len(row[name])} ".encode())
            digest.update(np.asarray(row[name], dtype=np.int32).tobytes())
    return digest.hexdigest()[:16]


def cached_teacher(
    model: PreTrainedModel,
    split: TokenizedSplit,
    collator: Collator,
    objective: Objective,
    cache: TeacherCache,
    device: torch.device,
    reporter: Reporter,
) -> CachedTeacher:
    """Read the teacher's outputs for every training row from a cache; compute and store missing ones.

    Args:
        model: the teacher.
        split: the training rows.
        collator: pads a batch.
        objective: the loss that reads the outputs.
        cache: where the files are.
        device: where the teacher runs and where its words will be read.
        reporter: shows progress.

    Raises:
        ModelError: an output of the teacher is not finite.
    """
    read = Reader(model, objective)
    if not objective.needs_teacher_forward:
        return CachedTeacher(weights=read.weights)
    # Logits cost nothing where the teacher runs anyway, and the next run may want them.
    names = [LOGITS] * objective.one_prediction_a_row + [str(key) for key in objective.rows]
    identity = rows_identity(split)
    paths = {name: cache.path(identity, name) for name in names}
    found = {name: read_arrays(path).get(name) for name, path in paths.items()}
    stored = {name: torch.from_numpy(words) for name, words in found.items() if words is not None}
    lacking = any_rank(*(name not in stored for name in names))
    missing = [name for name, lacks in zip(names, lacking, strict=True) if lacks]
    if missing:
        cache.folder.mkdir(parents=True, exist_ok=True)
        outputs = _ask(model, read, split, collator, objective, missing, device, reporter)
        for name in missing:
            stored[name] = outputs[name]
            if not outputs[name].isfinite().all():
                hint = "Fine-tune anew with a lower learning rate, or take another pretrained model."
                raise ModelError("the teacher's outputs are not finite numbers", where=name, hint=hint)
            if this_rank() == 0:
                write_arrays(paths[name], {name: outputs[name].numpy()})
    placed = {name: words.to(device) for name, words in stored.items()}
    return CachedTeacher(placed.get(LOGITS), {key: placed[str(key)] for key in objective.rows}, read.weights)


def _ask(
    model: PreTrainedModel,
    read: Reader,
    split: TokenizedSplit,
    collator: Collator,
    objective: Objective,
    missing: list[str],
    device: torch.device,
    reporter: Reporter,
) -> dict[str, Tensor]:
    """Run the teacher over every row; missing name -> [N, ...] in the order of the split, float32, on the CPU.

    Each rank runs it over its share of the batches.
    """
    model.eval()
    stored: dict[str, Tensor] = {}
    keys = [key for key in objective.rows if str(key) in missing]
    batches = list(length_sorted_batches(split, BATCH_SIZE))
    mine = batches[rank_slice(len(batches))]
    with torch.no_grad(), reporter.task("teacher", len(mine)) as task:
        # A rank without a share runs one batch to learn the shape of its zeros.
        for done, indices in enumerate(mine or batches[:1], start=1):
            batch = collator([split[index] for index in indices])
            inputs = {k: v.to(device) for k, v in batch.items() if k not in ("labels", "index")}
            output = read(model, inputs)
            outputs = {str(key): rows_of(output, inputs["attention_mask"], key) for key in keys}
            if LOGITS in missing and output.logits is not None:
                outputs[LOGITS] = output.logits
            for name, values in outputs.items():
                if name not in stored:
                    stored[name] = torch.zeros(len(split), *values.shape[1:])
                if mine:
                    stored[name][indices] = values.float().cpu()
            task.update(done)
    sum_parts(stored)
    return stored
