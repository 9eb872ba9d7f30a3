"""A recipe's settings as they go out with a model: the names of files and folders, and not where they lie here."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from sdp.recipe.sections import Recipe

PLACES = (
    ("model", "name"),
    ("data", "dataset"),
    ("data", "train"),
    ("data", "dev"),
    ("data", "test"),
    ("vocabulary", "corpus"),
    ("prune", "start"),
)


def shareable(recipe: Recipe) -> dict[str, Any]:
    """The resolved recipe as JSON types, absolute paths cut down to their last part."""
    content = recipe.model_dump(mode="json")
    for section, key in PLACES:
        if content[section] is not None:
            value = content[section][key]
            content[section][key] = [_name(own) for own in value] if isinstance(value, list) else _name(value)
    return content


def _name(value: str | None) -> str | None:
    return PurePath(value).name if value is not None and PurePath(value).is_absolute() else value
