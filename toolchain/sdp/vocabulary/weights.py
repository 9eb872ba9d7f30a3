"""Trim weights and config of a model folder to some of the pieces; every other tensor stays bit for bit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from sdp.errors import ModelError
from sdp.models.parts import vocabulary_tensors
from sdp.models.source import CODE_PATTERN, ModelFolder
from sdp.pipeline.json_file import write_json

INDEX_FILE = "model.safetensors.index.json"


def trim_weights(source: ModelFolder, target: Path, old_ids: Sequence[int]) -> None:
    """Copy a model folder's weights, and trim the tables over the vocabulary: row n is the old row old_ids[n].

    Args:
        source: the model folder.
        target: an existing folder for weights and model code.
        old_ids: the rows to keep.

    Raises:
        ModelError: there is no table of input embeddings, or it has fewer rows than the tokenizer has pieces.
    """
    tables = vocabulary_tensors(source)
    rows = next(iter(tables.values()))
    if max(old_ids) >= rows:
        what = f"the tokenizer has the piece {max(old_ids)}, and the embeddings have {rows} rows"
        raise ModelError(what, where=str(source.path), hint="Tokenizer and weights are of different models.")
    kept = torch.tensor(old_ids)
    for path in source.weight_files:
        with safe_open(path, framework="pt") as weights:
            tensors = {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118
            metadata = weights.metadata()
        for name in sorted(tensors.keys() & tables.keys()):
            tensors[name] = tensors[name].index_select(0, kept)
        save_file(tensors, target / path.name, metadata=metadata)
    for path in sorted(path for pattern in (INDEX_FILE, CODE_PATTERN) for path in source.path.glob(pattern)):
        shutil.copy(path, target)


def read_config(folder: ModelFolder) -> dict[str, Any]:
    """Read the config of a model folder.

    Raises:
        ModelError: it is damaged.
    """
    path = folder.path / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"not valid JSON: {error}", where=str(path)) from None
    if not isinstance(config, dict):
        raise ModelError("not a JSON object", where=str(path))
    return config


def token_ids(config: dict[str, Any]) -> dict[str, int]:
    """Return the token ids in a config: pad_token_id and similar keys."""
    return {key: value for key, value in config.items() if key.endswith("_token_id") and isinstance(value, int)}


def trim_config(config: dict[str, Any], target: Path, old_ids: Sequence[int]) -> None:
    """Write a model's config with the new number of pieces and the new ids."""
    new_ids = {old: new for new, old in enumerate(old_ids)}
    changed = {key: new_ids[value] for key, value in token_ids(config).items()}
    write_json(target / "config.json", {**config, "vocab_size": len(old_ids), **changed})
