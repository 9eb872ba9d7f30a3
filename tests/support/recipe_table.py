"""recipes/README.md from the recipes themselves. Run this file to write it again; a test fails when that is due."""

from __future__ import annotations

from pathlib import Path

from sdp.recipe import Recipe, load_recipe
from sdp.recipe.base import TrainingSection
from sdp.training.steps import USUAL_EPOCHS

FOLDER = Path(__file__).parents[2] / "recipes"
PAGE = FOLDER / "README.md"

HEAD = """# Recipes

One file describes one model's pipeline; `sdp run recipes/NAME.toml` runs it. A comment at the top of each names what
it needs, the commands, and the origin of its settings: fine-tuning settings are those of the model's or benchmark's
authors, pruning settings are ours. Files in `base/` hold the keys that several recipes share.

[Every key, with its values, default and meaning](REFERENCE.md).

This table is generated from the recipes by `python tests/support/recipe_table.py`. It holds no results.

| recipe | model | task | score | evaluated on | fine-tuning | pruning |
|---|---|---|---|---|---|---|
"""


def shipped_recipes() -> list[Path]:
    """The recipes that can be run, in the order of the table."""
    return sorted(FOLDER.glob("*.toml"))


def row(path: Path) -> str:
    """A recipe's line of the table."""
    recipe = load_recipe(path)
    model = recipe.model.name.rpartition(":")[2].removesuffix("/model").rpartition("/")[2]
    if recipe.vocabulary is not None:
        model += f", {recipe.vocabulary.size:,} pieces"
    task = recipe.task.name or "its own"
    metrics = ", ".join((recipe.task.score, *recipe.task.also))
    cells = [
        f"[{path.stem}]({path.name})",
        model,
        f"{task} ({recipe.task.problem_type})",
        metrics,
        _evaluated(recipe),
        f"{_length(recipe.finetune)}, {recipe.finetune.learning_rate:g}, "
        f"batch {recipe.finetune.batch_size}, length {recipe.data.max_length}",
        f"{recipe.prune.sparsity:.0%} {recipe.prune.pattern}, {_length(recipe.prune)}, "
        f"{recipe.prune.learning_rate:g}; {' + '.join(loss.name for loss in recipe.prune.losses)}",
    ]
    return f"| {' | '.join(cells)} |"


def _length(section: TrainingSection) -> str:
    if section.steps is not None:
        return f"{section.steps:,} steps"
    if section.epochs is not None:
        return f"{section.epochs:g} epochs"
    return f"{USUAL_EPOCHS:g} epochs, at least {section.least_steps:,} steps"


def _evaluated(recipe: Recipe) -> str:
    known = recipe.task.known
    split = "test" if recipe.data.docstrings is not None or (known is not None and known.test) else "dev"
    if recipe.task.subset_names:
        return f"{split}, {' and '.join(recipe.task.subset_names)}"
    languages = len(recipe.task.languages)
    return f"{split}, {languages} languages" if languages > 1 else split


def page() -> str:
    """The whole page."""
    return HEAD + "".join(f"{row(path)}\n" for path in shipped_recipes())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
