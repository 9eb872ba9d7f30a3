"""The longest input of a model, from its config.json alone, and the check of a recipe's lengths."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdp.errors import ModelError
from sdp.models.architectures import find_architecture
from sdp.models.source import ModelFolder
from sdp.pipeline.files import read_json
from sdp.recipe.bench import BenchSection
from sdp.recipe.sections import Recipe

# `pad_token_id` of every architecture that counts positions from it, where config.json names none.
_PADDING = 1


def position_limit(config: Mapping[str, Any]) -> int | None:
    """Tokens that a model can take, special tokens among them.

    Args:
        config: the content of a config.json.

    Returns:
        the limit; None where there is none (relative and rotary positions: those of ModernBERT go on beyond the
        `max_position_embeddings` that it was trained with), or where the architecture is unknown.
    """
    row = find_architecture(config.get("model_type"))
    rows = config.get("max_position_embeddings")
    if row is None or row.positions == "relative" or not isinstance(rows, int):
        return None
    if row.counted_if is not None:
        key, value = row.counted_if
        if config.get(key, value) != value:
            return None
    if row.positions == "table":
        return rows
    padding = config.get("pad_token_id")
    return rows - 1 - (padding if isinstance(padding, int) else _PADDING)


def model_positions(folder: Path) -> int | None:
    """Tokens that the model of a folder can take; None where there is no limit or none is known."""
    return position_limit(read_json(folder / "config.json") or {})


def fitting_lengths(bench: BenchSection, limit: int | None) -> BenchSection:
    """Return the benchmark without the default lengths that the model cannot take.

    Args:
        bench: the recipe's [bench].
        limit: tokens that the model can take; None without a limit.
    """
    if limit is None or "sequence_lengths" in bench.model_fields_set:
        return bench
    fitting = tuple(length for length in bench.sequence_lengths if length == "task" or length <= limit)
    return bench.model_copy(update={"sequence_lengths": fitting})


def require_positions(recipe: Recipe, folder: ModelFolder) -> None:
    """Require that the model can take inputs of the recipe's lengths.

    Raises:
        ModelError: `data.max_length`, or a length that [bench] names, is above the model's number of positions.
    """
    limit = model_positions(folder.path)
    if limit is None:
        return
    where = str(folder.path / "config.json")
    longest = recipe.data.max_length
    if longest > limit:
        what = f"the model can take {limit} tokens, and data.max_length is {longest}"
        raise ModelError(what, where=where, hint=f"Cut the texts: --set data.max_length={limit}.")
    lengths = fitting_lengths(recipe.bench, limit).sequence_lengths
    over = [str(length) for length in lengths if length != "task" and length > limit]
    if over:
        what = f"the model can take {limit} tokens, and bench.sequence_lengths has {', '.join(over)}"
        kept = [f'"{length}"' if length == "task" else str(length) for length in lengths if str(length) not in over]
        hint = f"Measure shorter inputs: --set 'bench.sequence_lengths=[{', '.join(kept) or limit}]'."
        raise ModelError(what, where=where, hint=hint)
