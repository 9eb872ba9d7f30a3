"""Properties of a model by its name, or by its files where they are on this machine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from sdp.check.plan import part_plans
from sdp.errors import NotDownloadedError
from sdp.init.recipe_text import SPARSITY
from sdp.models.parts import count_parts, encoder_shape
from sdp.models.positions import model_positions
from sdp.models.source import ModelFolder, locate_model
from sdp.recipe.sections import ModelSection, Recipe

# Encoders up to this width take, and need, larger steps.
_SMALL = 512
_SMALL_NAMES = ("minilm", "tiny", "mini", "small")
# For a model that is not downloaded; in many the embeddings dominate, and pruning the rest saves little.
_UNKNOWN_RATIO = 0.95
_MARGIN, _STEP = 0.03, 0.05


@dataclass(frozen=True)
class KnownModel:
    """The properties of a model that a new recipe depends on.

    Attributes:
        name: hub id, folder or package.
        folder: its folder; None where it is not on this machine.
        positions: the longest input that it takes; None where unknown.
        small: whether it is narrow.
    """

    name: str
    folder: ModelFolder | None
    positions: int | None
    small: bool

    def size_ratio(self) -> float:
        """A threshold for the size of the exported file: the predicted ratio with a margin."""
        if self.folder is None:
            return _UNKNOWN_RATIO
        content = {"name": "x", "model": {"name": "x"}, "task": {"name": "sst2"}, "prune": {"sparsity": SPARSITY}}
        recipe = Recipe.model_validate(content)
        plans = part_plans(count_parts(self.folder), recipe)
        ratio = sum(part.bytes_after for part in plans) / max(1, sum(part.bytes_before for part in plans))
        return round(math.ceil((ratio + _MARGIN) / _STEP) * _STEP, 2)


def known_model(name: str) -> KnownModel:
    """Look a model up without downloading it.

    Args:
        name: hub id, folder (relative to the working folder) or package.

    Raises:
        ModelError: it is on this machine and cannot be used.
    """
    try:
        own = str(Path(name).resolve()) if Path(name).is_dir() else name
        folder = locate_model(ModelSection(name=own), download=False)
    except NotDownloadedError:
        return KnownModel(name, None, None, any(part in name.lower() for part in _SMALL_NAMES))
    width, _ = encoder_shape(folder)
    return KnownModel(name, folder, model_positions(folder.path), width is not None and width <= _SMALL)
