"""The unpruned network in training: it runs beside the student, or its stored outputs are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from sdp.losses.network_output import NetworkOutput, RowsKey
from sdp.losses.objective import Objective
from sdp.pruning.forward import Reader
from sdp.training.batch_parts import first_rows


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
        # A rank may have no rows of a batch, and no model runs on none.
        none = len(inputs["input_ids"]) == 0
        shown = {name: values.new_ones(1, values.shape[1]) for name, values in inputs.items()} if none else inputs
        # Not inference mode: its tensors cannot take part in the student's backward pass.
        with torch.no_grad(), torch.autocast(self._model.device.type, torch.bfloat16, enabled=self._bf16):
            output = self._read(self._model, shown)
        return first_rows(output, 0) if none else output


def token_starts(lengths: NDArray[np.int64] | Sequence[int]) -> NDArray[np.int64]:
    """Return the place of each row's first token where all stand one after the other, and their number, [N + 1]."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


@dataclass(frozen=True)
class CachedTeacher:
    """The teacher's stored outputs for N training rows of T tokens, and its weights; absent where no loss reads them.

    Attributes:
        logits: [N, C].
        rows: representations, [N, d] each.
        tokens: representations of every token, [T, d] each, in half precision, mapped from a file.
        token_logits: [T, C], the same.
        starts: from `token_starts`.
        weights: prunable weights by name.
    """

    logits: Tensor | None = None
    rows: Mapping[RowsKey, Tensor] = field(default_factory=dict)
    tokens: Mapping[RowsKey, Tensor] = field(default_factory=dict)
    token_logits: Tensor | None = None
    starts: NDArray[np.int64] = field(default_factory=lambda: token_starts([]))
    weights: Mapping[str, Tensor] = field(default_factory=dict)

    def outputs(self, inputs: Mapping[str, Tensor], index: Tensor) -> NetworkOutput:
        """Return the teacher's stored outputs for the rows of a batch."""
        stored = {key: rows[index] for key, rows in self.rows.items()}
        stored |= {key: self._of_tokens(values, index) for key, values in self.tokens.items()}
        logits = self.logits[index] if self.logits is not None else None
        if self.token_logits is not None:
            logits = at_tokens(self._of_tokens(self.token_logits, index), inputs["attention_mask"])
        return NetworkOutput(logits, stored=stored, weights=self.weights)

    def _of_tokens(self, values: Tensor, index: Tensor) -> Tensor:
        """Return what is stored of the tokens of some rows, float32 [their tokens, d]."""
        parts = [values[self.starts[row] : self.starts[row + 1]] for row in index.tolist()]
        return torch.cat(parts).to(index.device, torch.float32)


def at_tokens(values: Tensor, attention_mask: Tensor) -> Tensor:
    """Put values of a batch's real tokens, [their number, C], at their places in it, [B, L, C]; zeros elsewhere."""
    real = attention_mask.bool()
    placed = values.new_zeros(*real.shape, values.shape[1])
    placed[real] = values
    return placed


class Teacher(Protocol):
    """What the student learns from."""

    def outputs(self, inputs: Mapping[str, Tensor], index: Tensor) -> NetworkOutput:
        """Return the teacher's outputs for a batch: the student's inputs, and the numbers of its rows, [B]."""
