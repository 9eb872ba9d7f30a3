"""Choices are made on dev, where the data has a test split that the recipe evaluates on: test is for what is chosen."""

from __future__ import annotations

from sdp.data.source import resolve_source
from sdp.errors import RecipeError
from sdp.recipe.sections import Recipe

ON_DEV = 'evaluate.split="dev"'
CHOSEN = "chosen"
"""Name of the run folder in which the chosen model is measured on test."""


def evaluates_on_test(recipe: Recipe) -> bool:
    """Whether the recipe evaluates on a test split.

    Raises:
        RecipeError: it asks for one, and the data has none.
    """
    docstrings, split = recipe.data.docstrings, recipe.evaluate.split
    has_test = docstrings.test > 0 if docstrings is not None else "test" in resolve_source(recipe).splits
    if split == "test" and not has_test:
        raise RecipeError("the data has no test split", where="evaluate.split", hint='Set it to "dev".')
    return has_test and split != "dev"
