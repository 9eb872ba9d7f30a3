"""Masks on disk: one safetensors file, a uint8 tensor for each weight, 1 where it is kept."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from sdp.pruning.masks import Masks

FILE_NAME = "masks.safetensors"


def save_masks(masks: Masks, folder: Path) -> Path:
    """Write masks.safetensors into a folder."""
    path = folder / FILE_NAME
    save_file({name: mask.to("cpu", torch.uint8).contiguous() for name, mask in masks.items()}, path)
    return path


def load_masks(folder: Path) -> Masks:
    """Read masks.safetensors from a folder, as bool tensors."""
    return {name: mask.bool() for name, mask in load_file(folder / FILE_NAME).items()}
