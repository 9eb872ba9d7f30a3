"""Choose the inputs of a model, and the padding of shorter rows in a batch.

Fine-tuning writes the result into the tokenizer's files. Training, evaluation and export read it there; measurements,
golden inputs and predictions take what the exported file declares.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from sdp.data.rows_on_disk import TokenRow
from sdp.errors import ModelError
from sdp.evaluation.torch_network import torch_network
from sdp_onnx.deploy.tokenization import INPUT_NAMES, Padding, Side, TextTokenizer

*REQUIRED, TYPES = INPUT_NAMES
# As a share of the largest logit: sums in another order, not another answer.
_SAME = 1e-2
# The least data.max_length: every model has so many positions.
_SHORTEST_LIMIT = 8


def fit_tokenizer(tokenizer: TextTokenizer, model: PreTrainedModel) -> TextTokenizer:
    """Return the tokenizer with the model's inputs, and with padding that does not change its outputs.

    Args:
        tokenizer: the model's, with the inputs and the padding of its own files.
        model: with its head, in any mode; it is left as it is.

    Returns:
        a tokenizer over the same tokenizer.json, whose length limit is still to be set.

    Raises:
        ModelError: the model takes no text, no attention mask, or too few token types; or what it answers depends on
            the padding, wherever that is.
    """
    inputs = model_inputs(model, tokenizer)
    sides: tuple[Side, Side] = ("left", "right") if tokenizer.padding.side == "left" else ("right", "left")
    for side in sides:
        padding = Padding(*_padding_token(tokenizer, model), tokenizer.padding.type_id, side)
        fitted = TextTokenizer(tokenizer.backend, inputs, tokenizer.named, padding, tokenizer.cut_side)
        if _padding_changes_nothing(model, fitted):
            return fitted
    what = f"what {type(model).__name__} answers for a text depends on how far the text is padded in its batch"
    raise ModelError(
        what, where=str(model.config.name_or_path), hint="Choose another model: this one cannot be served."
    )


def model_inputs(model: PreTrainedModel, tokenizer: TextTokenizer) -> tuple[str, ...]:
    """Return the names of the tokenizer's outputs that are inputs of the model.

    Token types are left out where the model has no parameter for them, or knows only one.

    Raises:
        ModelError: the model takes no input_ids or no attention_mask, or has fewer token types than the tokenizer.
    """
    accepted, where = inspect.signature(model.forward).parameters, type(model).__name__
    for name in REQUIRED:
        if name not in accepted:
            hint = "Choose an encoder of text that attends to the tokens of its mask."
            raise ModelError(f"the model takes no {name}", where=where, hint=hint)
    known = getattr(model.config, "type_vocab_size", None)
    if TYPES not in accepted or TYPES not in tokenizer.inputs or (known is not None and known < 2):
        return tuple(REQUIRED)
    (pair,) = tokenizer.encode([("a", "a")])
    given = max(pair.inputs[TYPES]) + 1
    if known is not None and given > known:
        what = f"the tokenizer gives {given} token types, and the model has {known}"
        raise ModelError(what, where=where, hint="They do not belong together: copy the model's folder again.")
    return tokenizer.inputs


def pieces_beyond(tokenizer: TextTokenizer, model: PreTrainedModel) -> bool:
    """Whether the tokenizer has pieces that the model has no embeddings for, such as tokens that were added to it."""
    return max(tokenizer.backend.get_vocab(with_added_tokens=True).values(), default=-1) >= _embeddings(model)


def require_embeddings(model: PreTrainedModel, rows: Iterable[TokenRow], where: str, split: str = "") -> None:
    """Require an embedding in the model for each piece in tokenized rows.

    A tokenizer may have more pieces than the model, such as a mask that no text holds.

    Args:
        model: the model.
        rows: the rows.
        where: the model's folder, for messages.
        split: what the rows are called there.

    Raises:
        ModelError: it has not, and the row would break off the training.
    """
    known = _embeddings(model)
    for number, row in enumerate(rows, start=1):
        largest = max(row["input_ids"], default=-1)
        if largest >= known:
            place = f" at {split} row {number:,}" if split else ""
            what = f"the tokenizer gives piece {largest:,}{place}, and the model has embeddings for {known:,}"
            hint = (
                "Where tokens were added to the tokenizer alone: model.resize_token_embeddings(len(tokenizer)) in "
                "transformers, and save both. Otherwise copy the model's folder again."
            )
            raise ModelError(what, where=where, hint=hint)


def _embeddings(model: PreTrainedModel) -> int:
    table: Any = model.get_input_embeddings()
    return len(table.weight)


def _padding_token(tokenizer: TextTokenizer, model: PreTrainedModel) -> tuple[int, str]:
    """Return id and name of the padding token: the tokenizer's, or else the model's; any masked token works."""
    if "pad_token" in tokenizer.named and tokenizer.padding.id < _embeddings(model):
        return tokenizer.padding.id, tokenizer.padding.token
    own = getattr(model.config, "pad_token_id", None)
    token_id = own if isinstance(own, int) and 0 <= own < _embeddings(model) else 0
    return token_id, tokenizer.backend.id_to_token(token_id) or tokenizer.padding.token


def _padding_changes_nothing(model: PreTrainedModel, tokenizer: TextTokenizer) -> bool:
    """Whether a short row gets the same logits alone and in a batch with a longer one."""
    tokenizer.cut_at(_SHORTEST_LIMIT)
    short, long = (row.inputs for row in tokenizer.encode([("a",), ("a " * _SHORTEST_LIMIT,)]))
    network = torch_network(model)
    alone, padded = (tokenizer.pad(rows) for rows in ([short], [short, long]))
    expected, found = (
        network({name: torch.from_numpy(values) for name, values in batch.items()})[0] for batch in (alone, padded)
    )
    if found.ndim == 2:
        found = found[padded["attention_mask"][0] == 1]
    if not np.isfinite(expected).all():
        # Damaged weights, which training finds.
        return True
    return float(np.abs(found - expected).max()) <= _SAME * float(np.abs(expected).max())
