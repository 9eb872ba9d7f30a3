"""A recipe's settings in a form to publish with a model: names of files and folders without their paths."""

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
    ("data", "unlabeled"),
    ("vocabulary", "corpus"),
    ("prune", "start"),
    ("prune", "teacher"),
)


def shareable(recipe: Recipe) -> dict[str, Any]:
    """Return the resolved recipe as JSON types; of an absolute path only the last part."""
    content = recipe.model_dump(mode="json")
    for section, key in PLACES:
        if content[section] is not None:
            value = content[section][key]
            content[section][key] = [_name(own) for own in value] if isinstance(value, list) else _name(value)
    return content


def _name(value: str | None) -> str | None:
    return PurePath(value).name if value is not None and PurePath(value).is_absolute() else value
