"""The JSON Schema of a recipe, for editors (such as Even Better TOML)."""

from __future__ import annotations

from typing import Any

from sdp.recipe.losses import LOSSES
from sdp.recipe.sections import Recipe


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe file: the sections, plus `extends`.

    No key is required, because an extended recipe may set it. Only a loss needs its name: arrays are replaced whole.
    """
    schema = Recipe.model_json_schema()
    losses = {row.settings.__name__ for row in LOSSES.values()}
    for part in (schema, *(section for name, section in schema["$defs"].items() if name not in losses)):
        part.pop("required", None)
    schema["title"] = "sdp recipe"
    schema["properties"]["extends"] = {
        "type": "string",
        "description": "Another recipe, relative to this file; keys of this file override its keys.",
    }
    return schema
