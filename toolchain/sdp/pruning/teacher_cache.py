"""The teacher's outputs on disk: computed once for every training row, and read by all runs with the same teacher."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from sdp.data.batches import Collator, TokenizedSplit, length_sorted_batches
from sdp.data.rows_on_disk import row_lengths, unnamed_file
from sdp.distributed.collectives import any_rank, rank_slice, sum_parts, this_rank
from sdp.errors import ModelError
from sdp.losses.objective import Objective
from sdp.losses.representation import rows_of
from sdp.pipeline.files import read_arrays, write_arrays
from sdp.pipeline.progress import Reporter
from sdp.pruning.forward import Reader
from sdp.pruning.teacher import CachedTeacher, token_starts

LOGITS = "logits"
TOKEN_LOGITS = "token-logits"
TOKENS = "token"
"""How the names of outputs of every token begin."""
BATCH_SIZE = 64


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
        objective: the loss that reads the outputs; of every token only in a process that trains alone.
        cache: where the files are.
        device: where the teacher runs and where its outputs will be read.
        reporter: shows progress.

    Raises:
        ModelError: an output of the teacher is not finite.
    """
    read = Reader(model, objective)
    if not objective.needs_teacher_forward:
        return CachedTeacher(weights=read.weights)
    # Logits of rows cost nothing where the teacher runs anyway, and the next run may want them.
    logits = [LOGITS] if objective.one_prediction_a_row else [TOKEN_LOGITS] * objective.needs_logits
    names = [*logits, *map(str, objective.rows)]
    identity = rows_identity(split)
    paths = {name: cache.path(identity, name) for name in names}
    stored = {name: found for name in names if (found := _read(paths[name], name)) is not None}
    lacking = any_rank(*(name not in stored for name in names))
    missing = [name for name, lacks in zip(names, lacking, strict=True) if lacks]
    if missing:
        cache.folder.mkdir(parents=True, exist_ok=True)
        for name, output in _ask(model, read, split, collator, objective, missing, device, reporter).items():
            if this_rank() == 0:
                write_arrays(paths[name], {name: output.numpy()})
            # Of every token it is mapped from the file that was just written.
            found = _read(paths[name], name) if name.startswith(TOKENS) else None
            stored[name] = output if found is None else found
    rows = {name: output.to(device) for name, output in stored.items() if not name.startswith(TOKENS)}
    return CachedTeacher(
        logits=rows.get(LOGITS),
        rows={key: rows[str(key)] for key in objective.rows if str(key) in rows},
        tokens={key: stored[str(key)] for key in objective.rows if str(key) not in rows},
        token_logits=stored.get(TOKEN_LOGITS),
        starts=token_starts(row_lengths(split.rows)),
        weights=read.weights,
    )


def _read(path: Path, name: str) -> Tensor | None:
    array = read_arrays(path).get(name)
    return None if array is None else torch.from_numpy(array)


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
    """Run the teacher over every row; missing name -> [N, ...] in the order of the split, on the CPU.

    float32; for outputs of every token [T, ...] in half precision. Each rank runs it over its share of the batches.
    """
    model.eval()
    stored: dict[str, Tensor] = {}
    keys = [key for key in objective.rows if str(key) in missing]
    starts = token_starts(row_lengths(split.rows))
    batches = list(length_sorted_batches(split, BATCH_SIZE))
    mine = batches[rank_slice(len(batches))]
    with torch.no_grad(), reporter.task("teacher", len(mine)) as task:
        # A rank without a share runs one batch to learn the shape of its zeros.
        for done, indices in enumerate(mine or batches[:1], start=1):
            batch = collator([split[index] for index in indices])
            inputs = {k: v.to(device) for k, v in batch.items() if k not in ("labels", "index")}
            output = read(model, inputs)
            real = inputs["attention_mask"].bool()
            outputs = {str(key): rows_of(output, inputs["attention_mask"], key) for key in keys}
            if output.logits is not None:
                outputs |= {LOGITS: output.logits} if LOGITS in missing else {}
                outputs |= {TOKEN_LOGITS: output.logits[real]} if TOKEN_LOGITS in missing else {}
            for name, values in outputs.items():
                of_tokens = name.startswith(TOKENS)
                if name not in stored:
                    stored[name] = _room(starts[-1] if of_tokens else len(split), values.shape[1:], of_tokens=of_tokens)
                if mine:
                    places = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in indices])
                    stored[name][places if of_tokens else indices] = _finite(name, values.to("cpu", stored[name].dtype))
            task.update(done)
    sum_parts(stored)
    return stored


def _room(count: int, shape: torch.Size, *, of_tokens: bool) -> Tensor:
    """Zeros to fill; for outputs of every token, which may be many, on the disk."""
    if not of_tokens:
        return torch.zeros(count, *shape)
    return torch.from_numpy(np.memmap(unnamed_file(), np.float16, "w+", shape=(count, *shape)))


def _finite(name: str, values: Tensor) -> Tensor:
    if not values.isfinite().all():
        hint = "Fine-tune anew with a lower learning rate, or take another pretrained model."
        if values.dtype == torch.float16:
            hint = "Set runtime.teacher_cache_gb = 0: it then runs at every step, and nothing is rounded to half."
        raise ModelError("the teacher's outputs are not finite numbers", where=name, hint=hint)
    return values
