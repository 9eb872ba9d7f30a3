"""Masks on disk: one safetensors file, a uint8 tensor for each weight, 1 where it is kept."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sdp.errors import ModelError
from sdp.pruning.masks import Masks

FILE_NAME = "masks.safetensors"


def save_masks(masks: Masks, folder: Path) -> Path:
    """Write masks.safetensors into a folder."""
    path = folder / FILE_NAME
    save_file({name: mask.to("cpu", torch.uint8).contiguous() for name, mask in masks.items()}, path)
    return path


def load_masks(folder: Path) -> Masks:
    """Read masks.safetensors from a folder, as bool tensors.

    Raises:
        ModelError: the file is missing or damaged, or holds something else than masks.
    """
    path = folder / FILE_NAME
    try:
        stored = load_file(path)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ModelError(f"the masks cannot be read: {error}", where=str(path), hint="Prune again.") from None
    for name, mask in stored.items():
        if mask.dtype != torch.uint8 or bool((mask > 1).any()):
            raise ModelError("a mask holds other values than 0 and 1", where=f"{path}: {name}", hint="Prune again.")
    return {name: mask.bool() for name, mask in stored.items()}
