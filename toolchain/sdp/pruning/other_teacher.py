"""Learning from another network than the unpruned one (`prune.teacher`), which reads texts with a tokenizer of its own.

What it gives for a row (logits, a mean of hidden states) needs no common tokens. What it gives for every token needs
the student's own, and that is checked on all rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from sdp.data.batches import Collator, TokenizedSplit
from sdp.data.rows import TaskData
from sdp.data.rows_on_disk import TokenRow
from sdp.errors import RecipeError
from sdp.losses.network_output import NetworkOutput, RowsKey
from sdp.losses.representation import rows_of
from sdp.models.inputs import fit_tokenizer, pieces_beyond, require_embeddings
from sdp.models.load import load_classifier
from sdp.models.tokenizer import load_tokenizer
from sdp.pruning.teacher import LiveTeacher, Teacher, at_tokens
from sdp.pruning.teacher_source import KEY, locate_teacher, teacher_head
from sdp.recipe.benchmark_tasks import has_token_logits
from sdp.recipe.sections import Recipe
from sdp.training.inputs import DevMetric
from sdp_onnx.deploy.tokenization import TextTokenizer


@dataclass(frozen=True)
class OtherNetwork:
    """The network that `prune.teacher` names.

    Attributes:
        model: with its trained head, on the device.
        tokenizer: its own, with the padding that it needs.
        data: the task's data, its classes in the order of this network's outputs.
        classes: for each class of the student the place of its output here, [C]; None where there is one score.
    """

    model: PreTrainedModel
    tokenizer: TextTokenizer
    data: TaskData
    classes: Tensor | None

    def dev_metric(self, recipe: Recipe) -> DevMetric:
        """Its metric on the dev rows."""
        return DevMetric(self.model, self.data.development, self.tokenizer, Collator(self.tokenizer), recipe)


def load_other(recipe: Recipe, data: TaskData, device: torch.device) -> OtherNetwork:
    """Load the teacher of a recipe, which names one.

    Args:
        recipe: the recipe.
        data: the task's data, its classes in the student's order.
        device: where it runs.

    Raises:
        UsageError: it cannot be loaded, or it is no network for this task.
    """
    folder = locate_teacher(recipe)
    head = teacher_head(recipe, folder, data.own_label_names)
    model = load_classifier(folder, recipe.task.problem_type, device)
    own = load_tokenizer(folder.path, words=recipe.task.problem_type == "tagging")
    classes = [head.labels.index(name) for name in data.label_names]
    return OtherNetwork(
        model.eval(),
        fit_tokenizer(own, model),
        data.in_order(head.labels) if head.labels else data,
        torch.tensor(classes, device=device) if classes else None,
    )


def on_another_scale(scores: NDArray[np.float32], labels: NDArray[np.float32]) -> bool:
    """Whether scores are farther from the labels than their mean is: a correlation, the usual metric, does not show it.

    Args:
        scores: [N, 1].
        labels: [N].
    """
    return bool(np.square(scores[:, 0] - labels).mean() > labels.var())


class OtherTeacher:
    """Gives another network's outputs as the student's losses read them: its layers' numbers, its order of classes.

    Args:
        teacher: the network; it gives logits and stored rows.
        rows: the rows that losses compare, as the student has them -> as the teacher has them.
        classes: as in `OtherNetwork`.
    """

    def __init__(self, teacher: Teacher, rows: Mapping[RowsKey, RowsKey], classes: Tensor | None) -> None:
        self._teacher = teacher
        self._rows = rows
        self._classes = classes

    def outputs(self, inputs: Mapping[str, Tensor], index: Tensor) -> NetworkOutput:
        """Return the teacher's outputs for a batch."""
        given = self._teacher.outputs(inputs, index)
        logits = given.logits
        if logits is not None and self._classes is not None:
            logits = logits[..., self._classes]
        return NetworkOutput(logits, stored={own: given.stored[other] for own, other in self._rows.items()})


class OwnTokens:
    """Runs a network on the rows of a batch as its own tokenizer made them.

    Args:
        network: the network.
        split: all rows, with its tokens.
        collator: pads a batch of them.
        rows: what it is read for.
    """

    def __init__(
        self, network: LiveTeacher, split: TokenizedSplit, collator: Collator, rows: Sequence[RowsKey]
    ) -> None:
        self._network = network
        self._split = split
        self._collator = collator
        self._rows = rows

    def outputs(self, inputs: Mapping[str, Tensor], index: Tensor) -> NetworkOutput:
        """Return the network's outputs for a batch; those of tokens at the places of the student's."""
        # Without rows, a batch of none, of any length.
        batch = self._collator([self._split[row] for row in index.tolist() or [0]])
        own = {
            name: values[: len(index)].to(index.device)
            for name, values in batch.items()
            if name not in ("labels", "index")
        }
        given, mask = self._network.outputs(own, index), own["attention_mask"]
        logits = given.logits
        if logits is not None and logits.dim() == 3:
            logits = at_tokens(logits[mask.bool()], inputs["attention_mask"])
        return NetworkOutput(logits, stored={key: rows_of(given, mask, key) for key in self._rows})


def require_known_pieces(network: OtherNetwork, rows: Sequence[TokenRow]) -> None:
    """Require an embedding in the network for each piece that its tokenizer makes of the rows.

    Raises:
        ModelError: it has not.
    """
    if pieces_beyond(network.tokenizer, network.model):
        require_embeddings(network.model, rows, KEY, "train")


def require_same_tokens(
    recipe: Recipe, rows: Sequence[TokenRow], others: Sequence[TokenRow], own: TextTokenizer, other: TextTokenizer
) -> None:
    """Require that both tokenizers split all rows into the same pieces, whatever their ids.

    Args:
        recipe: the recipe, some of whose losses compare tokens.
        rows: as the student's tokenizer made them.
        others: as the teacher's made them.
        own: the student's tokenizer.
        other: the teacher's.

    Raises:
        RecipeError: a row has other pieces.
    """
    number = differing_row(rows, others, own, other)
    if number is None:
        return
    what = f"its tokenizer splits training row {number + 1:,} into other pieces than the model's"
    hint = f"{recipe.task.problem_type.capitalize()} needs a teacher with the same tokenizer."
    if not has_token_logits(recipe.task.problem_type):
        hint = 'Losses of rows need no common tokens: kld; cosine and cross-correlation with representation = "mean".'
    raise RecipeError(what, where=f"{KEY} = {recipe.prune.teacher}", hint=hint)


def differing_row(
    rows: Sequence[TokenRow], others: Sequence[TokenRow], own: TextTokenizer, other: TextTokenizer
) -> int | None:
    """The number of the first row that two tokenizers split into other pieces, from 0; None where there is none."""
    ids = own.backend.get_vocab(with_added_tokens=True)
    pieces = other.backend.get_vocab(with_added_tokens=True)
    translated = np.full(max(pieces.values()) + 1, -1, dtype=np.int64)
    for piece, place in pieces.items():
        translated[place] = ids.get(piece, -1)
    for number, (row, another) in enumerate(zip(rows, others, strict=True)):
        if not np.array_equal(row["input_ids"], translated[another["input_ids"]]):
            return number
    return None
