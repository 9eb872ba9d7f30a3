"""The cells of a study: every combination of the varied values, with every seed, each a recipe of its own.

A cell's key is a hash of all that decides its result except the code: settings, seed and the inputs' own hashes, and
no place on this machine. Settings at their default are left out, so that finished cells stay valid when a later version
adds a setting; `cell.read_cell` compares the settings themselves, so that a changed default makes a cell run again.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdp.errors import RecipeError
from sdp.pipeline.runner import input_identities
from sdp.pipeline.stages import Stage, settings_of, stages_of
from sdp.recipe import Recipe, load_recipe
from sdp.recipe.override import COMMAND_LINE
from sdp.study.vary import LAST_STAGE, Axis, Baseline, Value

KEY_LENGTH = 16

Identities = dict[str, dict[str, str]]
Arm = tuple[str, ...]


@dataclass(frozen=True)
class StudyCell:
    """One combination of values with one seed.

    Attributes:
        arm: the label of each axis's value, in the order of the axes.
        seed: of the recipe.
        overrides: of the recipe file, all of them.
        varied: the ones that belong to the arm.
        recipe: what runs.
        inputs: hashes of model, data and whatever else comes from outside.
        key: names the cell's result.
        teacher: names the fine-tuning, which cells share.
    """

    arm: Arm
    seed: int
    overrides: tuple[str, ...]
    varied: tuple[str, ...]
    recipe: Recipe
    inputs: Identities
    key: str
    teacher: str

    def title(self, axes: Sequence[Axis]) -> str:
        """The cell as a person reads it."""
        return f"{arm_title(self.arm, axes)}, seed {self.seed}"

    def labels(self, axes: Sequence[Axis]) -> dict[str, str]:
        """Axis -> label."""
        return {axis.name: label for axis, label in zip(axes, self.arm, strict=True)}


@dataclass(frozen=True)
class Grid:
    """The cells of a study.

    Attributes:
        axes: the varied keys.
        cells: every combination with every seed, the seeds outermost.
        baseline: the value that the others of its axis are compared with.
    """

    axes: tuple[Axis, ...]
    cells: tuple[StudyCell, ...]
    baseline: Baseline | None = None

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.cells[0].recipe.name

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return max(cell.seed for cell in self.cells) + 1

    def find(self, key: str) -> StudyCell | None:
        """The cell with a key."""
        return next((cell for cell in self.cells if cell.key == key), None)

    def partner(self, arm: Arm) -> Arm | None:
        """The arm that another is compared with; None for the baseline itself, and without one."""
        if self.baseline is None:
            return None
        labels = (
            self.baseline.label if axis.name == self.baseline.axis else label
            for axis, label in zip(self.axes, arm, strict=True)
        )
        partner = tuple(labels)
        return partner if partner != arm else None


def arm_title(arm: Arm, axes: Sequence[Axis]) -> str:
    """An arm as a person reads it."""
    return ", ".join(f"{axis.name}={label}" for axis, label in zip(axes, arm, strict=True)) or "the recipe"


def cell_stages(recipe: Recipe) -> tuple[Stage, ...]:
    """The stages that a cell runs."""
    return stages_of(recipe, LAST_STAGE)


def result_key(recipe: Recipe, stages: Iterable[Stage], inputs: Identities) -> str:
    """Hash of all that decides the result of some stages except the code."""
    ingredients = {"seed": recipe.seed, "settings": settings_of(recipe, stages, defaults=False), "inputs": inputs}
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()[:KEY_LENGTH]


def _teacher_key(recipe: Recipe, inputs: Identities) -> str:
    """Hash of all that decides the fine-tuning, which reads nothing that only pruning reads."""
    read = {name: hashes for name, hashes in inputs.items() if name not in ("start", "teacher", "unlabeled")}
    return result_key(recipe, stages_of(recipe, "finetune"), read)


def make_grid(
    recipe_file: Path,
    axes: Sequence[Axis],
    seeds: int,
    fixed: Sequence[str],
    *,
    baseline: Baseline | None = None,
    download: bool = True,
) -> Grid:
    """Make all cells, the seeds outermost, so that every arm has its first result early.

    Args:
        recipe_file: the recipe.
        axes: the varied keys.
        seeds: number of seeds.
        fixed: overrides of all cells alike.
        baseline: the value that the others of its axis are compared with.
        download: fetch a hub model that is not here yet; otherwise a missing one is an error.

    Raises:
        RecipeError: a recipe of the grid is wrong, or two arms are the same; all problems in one message.
        UsageError: model or data cannot be used.
    """
    arms = list(itertools.product(*(axis.values for axis in axes)))
    _check_recipes(recipe_file, axes, [(tuple(v.label for v in arm), _overrides(fixed, arm, 0)) for arm in arms])
    input_hashes = _InputHashes(download=download)
    cells = []
    for seed, arm in itertools.product(range(seeds), arms):
        overrides = _overrides(fixed, arm, seed)
        recipe = load_recipe(recipe_file, overrides)
        inputs = input_hashes(recipe)
        cells.append(
            StudyCell(
                arm=tuple(value.label for value in arm),
                seed=seed,
                overrides=overrides,
                varied=tuple(override for value in arm for override in value.overrides),
                recipe=recipe,
                inputs=inputs,
                key=result_key(recipe, cell_stages(recipe), inputs),
                teacher=_teacher_key(recipe, inputs),
            )
        )
    _refuse_equal_arms(cells, axes)
    return Grid(tuple(axes), tuple(cells), baseline)


def _overrides(fixed: Sequence[str], arm: Iterable[Value], seed: int) -> tuple[str, ...]:
    return (*fixed, *(override for value in arm for override in value.overrides), f"seed={seed}")


def _check_recipes(recipe_file: Path, axes: Sequence[Axis], arms: Sequence[tuple[Arm, tuple[str, ...]]]) -> None:
    """Load the recipe of every arm, and raise one error with all their problems, each with the arms that have it."""
    messages: dict[Arm, str] = {}
    for arm, overrides in arms:
        try:
            load_recipe(recipe_file, overrides)
        except RecipeError as error:
            messages[arm] = str(error)
    if not messages:
        return
    if len(messages) == len(arms) and len(set(messages.values())) == 1:
        # The varied keys are not the cause.
        raise RecipeError(messages[arms[0][0]])
    problems: dict[str, list[Arm]] = {}
    for arm, message in messages.items():
        for line in message.splitlines()[1:] or [message]:
            problems.setdefault(line.strip().removeprefix(f"{COMMAND_LINE}: "), []).append(arm)
    lines = []
    for line, found in problems.items():
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        where = f" (arm {arm_title(found[0], axes)}{more})" if len(found) < len(arms) else ""
        lines.append(line + where)
    count = f"{len(lines)} problems" if len(lines) > 1 else "a problem"
    raise RecipeError("\n  ".join([f"{count} in the recipes of this study ({recipe_file})", *lines]))


def _refuse_equal_arms(cells: Sequence[StudyCell], axes: Sequence[Axis]) -> None:
    seen: dict[str, StudyCell] = {}
    for cell in cells:
        other = seen.setdefault(cell.key, cell)
        if other is not cell:
            titles = f"{arm_title(other.arm, axes)} and {arm_title(cell.arm, axes)}"
            raise RecipeError(f"two arms are the same recipe: {titles}", where="--vary", hint="Remove one of them.")


class _InputHashes:
    """Hashes of what cells read, computed once for all that read the same."""

    def __init__(self, *, download: bool) -> None:
        self._download = download
        self._known: dict[str, Identities] = {}

    def __call__(self, recipe: Recipe) -> Identities:
        # Whether a pruning can be gone on from, and learned from a teacher, depends on the settings of the next one.
        prune = {"prune"} if recipe.prune.start is not None or recipe.prune.teacher is not None else set()
        same = json.dumps(recipe.model_dump(mode="json", include={"model", "vocabulary", "task", "data", *prune}))
        if same not in self._known:
            self._known[same] = input_identities(recipe, download=self._download)
        return self._known[same]
