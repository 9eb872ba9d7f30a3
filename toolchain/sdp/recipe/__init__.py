"""Recipes: one TOML file declares one model's pipeline. `load_recipe` reads it, `sections` has its keys."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdp.recipe.load import load_recipe
    from sdp.recipe.sections import Recipe

__all__ = ["Recipe", "load_recipe"]
_MODULES = {"Recipe": "sdp.recipe.sections", "load_recipe": "sdp.recipe.load"}


def __getattr__(name: str) -> Any:
    """Import on first use: the tables of losses and criteria can be read before the sections are made from them."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
