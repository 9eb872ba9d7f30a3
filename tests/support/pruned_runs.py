"""What tests read of runs whose network became smaller."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file


def set_options(*settings: str) -> list[str]:
    """The options that override keys of a recipe."""
    return [word for setting in settings for word in ("--set", setting)]


def read(path: Path) -> dict[str, Any]:
    """A JSON file."""
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def linear_weights(folder: Path) -> int:
    """Elements of the linear weights in the layers of a stage's model."""
    weights = load_file(folder / "model.safetensors")
    return sum(own.numel() for name, own in weights.items() if ".layer." in name and own.dim() == 2)
