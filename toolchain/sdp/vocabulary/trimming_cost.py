"""Measure the cost of trimming the vocabulary: the fine-tuned model against itself with every piece.

The dense model was fine-tuned with the kept pieces alone. With the removed pieces, their pretrained embeddings and the
original tokenizer, it reads texts as the pretrained model does. Only rows whose tokens differ are run again; the two
models agree on all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from transformers import PreTrainedModel

from sdp.data.batches import Collator, TokenizedSplit
from sdp.data.rows import Split, TaskData
from sdp.errors import RunError
from sdp.evaluation.on_split import compare_models
from sdp.evaluation.predict import predict_logits
from sdp.evaluation.torch_network import torch_network
from sdp.models.load import load_finetuned
from sdp.models.parts import vocabulary_tensors
from sdp.models.source import ModelFolder, locate_model
from sdp.models.tokenizer import load_tokenizer, saved_tokenizer
from sdp.pipeline.artifacts.comparison import TrimmingCost
from sdp.pipeline.artifacts.vocabulary import KeptPieces
from sdp.pipeline.context import StageContext
from sdp.pipeline.stages import FINETUNE
from sdp.training.inputs import tokenize_split
from sdp_onnx.deploy.tokenization import TextTokenizer

_KEPT = ("metric", "rows", "mean_over", "models", "drop", "test", "part", "parts")


def trimming_cost(
    context: StageContext,
    data: TaskData,
    split: Split,
    rows: TokenizedSplit,
    trimmed: NDArray[np.float32],
    device: torch.device,
) -> TrimmingCost:
    """Compare the dense model with all pieces to the trimmed dense model.

    Args:
        context: the context of a recipe with [vocabulary] and a run with finished vocabulary and fine-tuning.
        data: the task's data.
        split: the N rows to evaluate on.
        rows: the same rows with the trimmed tokenizer.
        trimmed: the dense model's logits, [N, C]; for tagging, the logits of words.
        device: the device of the model.

    Returns:
        the comparison of the models "full" and "trimmed", with the number of rows whose tokens differ.
    """
    recipe, run = context.recipe, context.run
    folder, saved = locate_model(recipe.model), saved_tokenizer(run.stage(FINETUNE.folder))
    pretrained = load_tokenizer(
        folder.path, trust_remote_code=recipe.model.trust_remote_code, words=split.tags is not None
    )
    sizes = (found.backend.get_vocab_size() for found in (saved, pretrained))
    old_ids = kept_pieces(KeptPieces.path(run), *sizes)
    tokenizer = with_all_pieces(saved, pretrained, old_ids)
    whole = tokenize_split(split, tokenizer, recipe)
    changed = changed_rows(rows, whole, old_ids)
    full = trimmed.copy()
    if changed.any():
        model = load_finetuned(run.stage(FINETUNE.folder), device)
        restore_pieces(model, folder, old_ids)
        chosen = tokenize_split(split.where(changed), tokenizer, recipe)
        with context.reporter.task("all pieces, tokens", chosen.tokens) as task:
            network, batch = torch_network(model), recipe.evaluate.batch_size
            found = predict_logits(network, chosen, Collator(tokenizer), batch, task)
        full[split.predictions_in(changed)] = found
    cost = compare_models(recipe, data, split, rows, ("full", full), ("trimmed", trimmed))
    return TrimmingCost(changed_rows=int(changed.sum()), **{name: getattr(cost, name) for name in _KEPT})


def with_all_pieces(saved: TextTokenizer, pretrained: TextTokenizer, old_ids: NDArray[np.int64]) -> TextTokenizer:
    """Return the pretrained tokenizer with the inputs, truncation and padding of the fine-tuned one."""
    padding = replace(saved.padding, id=int(old_ids[saved.padding.id]))
    return TextTokenizer(pretrained.backend, saved.inputs, saved.named, padding, saved.cut_side)


def kept_pieces(path: Path, kept: int, whole: int) -> NDArray[np.int64]:
    """New id -> old id, [V].

    Args:
        path: the file of the vocabulary stage.
        kept: V, the number of pieces of the trimmed tokenizer.
        whole: the number of pieces of the pretrained one.

    Raises:
        RunError: the file is missing or damaged.
    """
    hint = "Delete the folder: the same command makes it again."
    found = KeptPieces.read(path, hint)
    if found is not None and len(found.old_ids) == kept and max(found.old_ids, default=0) < whole:
        return np.array(found.old_ids, dtype=np.int64)
    raise RunError(f"damaged: it is no list of {kept:,} pieces", where=str(path), hint=hint)


def changed_rows(trimmed: TokenizedSplit, whole: TokenizedSplit, old_ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return a mask of the rows that the two tokenizers encode differently, [N].

    A pair of an embedding changes with either of its texts, a question with any of its windows.
    """
    pairs = zip(_pieces(trimmed), _pieces(whole), strict=True)
    return np.array([[old_ids[ids].tolist() for ids in new] != old for new, old in pairs], dtype=bool)


def _pieces(split: TokenizedSplit) -> Iterator[list[list[int]]]:
    """Yield the ids of all that is tokenized of each row of a split."""
    tokenized = (row["input_ids"] for row in split.rows)
    if split.windows is None:
        sizes = [split.compared or 1] * (len(split) // (split.compared or 1))
    else:
        sizes = np.bincount(split.windows.owners, minlength=len(split.windows.split)).tolist()
    for size in sizes:
        yield list(islice(tokenized, size))


def restore_pieces(model: PreTrainedModel, pretrained: ModelFolder, old_ids: NDArray[np.int64]) -> None:
    """Restore the pretrained embeddings of removed pieces in a fine-tuned model, at their old ids.

    Args:
        model: its embedding table has a row for each kept piece, [V, D].
        pretrained: the model before trimming.
        old_ids: the pretrained id of each kept piece, [V].
    """
    name = next(iter(vocabulary_tensors(pretrained)))
    table: Any = model.get_input_embeddings()
    full = _tensor(pretrained, name).to(table.weight)
    full[torch.from_numpy(old_ids).to(full.device)] = table.weight.detach()
    table.weight = torch.nn.Parameter(full, requires_grad=False)
    table.num_embeddings = len(full)


def _tensor(folder: ModelFolder, name: str) -> torch.Tensor:
    for path in folder.weight_files:
        with safe_open(path, framework="pt") as weights:
            if name in weights.keys():  # noqa: SIM118 it is no mapping
                tensor: torch.Tensor = weights.get_tensor(name)
                return tensor
    raise KeyError(name)
