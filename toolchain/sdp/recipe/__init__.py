"""Recipes: one TOML file declares one model's pipeline. `load_recipe` reads it, `sections` defines its content."""

from sdp.recipe.load import load_recipe
from sdp.recipe.sections import Recipe

__all__ = ["Recipe", "load_recipe"]
