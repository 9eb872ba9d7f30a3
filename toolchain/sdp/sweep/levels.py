"""The levels of a sweep, each a recipe and a run folder of its own, that goes on from the level before it.

The first level is `sdp run` at that sparsity, bit for bit. Every other one starts from the weights and masks of the one
before (`prune.start`), with the same fine-tuned network as teacher: its sparsity rises from there by the recipe's
schedule in the share `prune.ramp` of its steps, and recovers in the rest. So each level is a whole training with a
learning rate of its own, which rises and falls again (learning-rate rewinding, arXiv 2003.02389), and ends recovered;
N levels cost one fine-tuning and N trainings, and the k-th level has had k of them, where a plain run of its sparsity
has one. With pattern = "structured" each level is pruned from the dense network: units are chosen for a target at once.

Choosing a level is a choice, so it is made on dev where the data has a test split that the recipe evaluates on; only
the chosen level is then measured there, once. Without one, levels are judged and chosen on the same rows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from sdp.choice.held_out import CHOSEN, ON_DEV, evaluates_on_test
from sdp.choice.run import Prepared
from sdp.data.identity import count_rows
from sdp.distributed.ranks import require_one_process
from sdp.errors import RecipeError
from sdp.pipeline.run_folder import RunFolder, absolute, check_results_folder
from sdp.pipeline.runner import input_identities, plan
from sdp.pipeline.stages import PRUNE, stages_of
from sdp.recipe import load_recipe
from sdp.recipe.override import override_key
from sdp.sweep.artifacts import FrontierReport
from sdp.training.steps import optimizer_steps

SPARSITY_KEY = "prune.sparsity"
OPTION = "--sparsity"
# Levels are compared; `sdp ship FOLDER` ships one of them.
LAST_STAGE = "report"


@dataclass(frozen=True)
class Level(Prepared):
    """One sparsity of a sweep, as asked for."""

    sparsity: float


@dataclass(frozen=True)
class Sweep:
    """The levels of a sweep in rising order, and the folder that they are in.

    Attributes:
        recipe_file: the recipe.
        overrides: of all levels alike (`--set`).
        levels: at least one.
        out: the sweep's folder.
        held_out: whether levels are judged on dev, and the chosen one then on test.
    """

    recipe_file: Path
    overrides: tuple[str, ...]
    levels: tuple[Level, ...]
    out: Path
    held_out: bool

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.levels[0].recipe.name

    def chosen(self, level: Level) -> Level:
        """A level as the recipe evaluates it, in a run folder beside the levels."""
        overrides = tuple(override for override in level.overrides if override != ON_DEV)
        recipe = load_recipe(self.recipe_file, overrides)
        return Level(self.recipe_file, overrides, recipe, RunFolder(self.out / CHOSEN), level.sparsity)


def parse_levels(text: str) -> tuple[float, ...]:
    """Read `--sparsity S1,S2,...`.

    Raises:
        RecipeError: not numbers between 0 and 1 in rising order.
    """
    where = f"{OPTION} {text}"
    try:
        levels = tuple(float(piece) for piece in text.split(","))
    except ValueError:
        hint = f"For example {OPTION} 0.5,0.7,0.8,0.9"
        raise RecipeError("does not have the form S1,S2,...", where=where, hint=hint) from None
    wrong = [level for level in levels if not 0 < level < 1]
    if wrong:
        raise RecipeError(f"{wrong[0]:g} is not between 0 and 1", where=where)
    if any(level >= following for level, following in pairwise(levels)):
        rising = ",".join(f"{level:g}" for level in sorted(set(levels)))
        what = "levels must rise: each goes on from the one before it"
        raise RecipeError(what, where=where, hint=f"{OPTION} {rising}")
    return levels


def folder_name(sparsity: float) -> str:
    """The name of a level's run folder: two decimals, or as many as it needs."""
    short = f"{sparsity:.2f}"
    return f"sparsity-{short if float(short) == sparsity else repr(sparsity)}"


def open_sweep(recipe_file: Path, sparsity: str, overrides: Sequence[str], out: Path | None) -> Sweep:
    """Read and check a sweep; nothing is run or written.

    Args:
        recipe_file: the recipe.
        sparsity: the `--sparsity` option.
        overrides: the `--set` options.
        out: the sweep's folder; sweeps/NAME without it.

    Raises:
        UsageError: options, recipe, data or folder are wrong.
    """
    require_one_process("sdp sweep")
    wanted = parse_levels(sparsity)
    if SPARSITY_KEY in map(override_key, overrides):
        raise RecipeError("set in two places", where=SPARSITY_KEY, hint=f"Name it in {OPTION} alone.")
    recipe = load_recipe(recipe_file, overrides)
    if recipe.prune.pattern == "2:4":
        raise RecipeError('pattern = "2:4" has one sparsity, 0.5: there is nothing to sweep', where="prune.pattern")
    folder = absolute(out or Path("sweeps") / recipe.name)
    check_results_folder(folder, "sweep", marks=(FrontierReport.FILE,))
    held_out = evaluates_on_test(recipe)
    levels: list[Level] = []
    for level in wanted:
        # Absolute, so that commands on the level's folder find it from anywhere.
        goes_on = levels and not recipe.prune.structured
        start = levels[-1].run.stage(PRUNE.folder).resolve() if goes_on else None
        of_level = (
            *overrides,
            f"{SPARSITY_KEY}={level!r}",
            *([f"prune.start={json.dumps(str(start), ensure_ascii=False)}"] if start else []),
            *([ON_DEV] if held_out else []),
        )
        made = load_recipe(recipe_file, of_level)
        levels.append(Level(recipe_file, of_level, made, RunFolder(folder / folder_name(level)), level))
    return Sweep(recipe_file, tuple(overrides), tuple(levels), folder, held_out)


@dataclass(frozen=True)
class PlannedLevel:
    """A level, and what running it takes.

    Attributes:
        sparsity: as asked for.
        folder: its run folder, in the sweep's.
        done: whether it is up to date.
        stages: those that would run.
        steps: stage that would train -> optimizer steps; None where the data is not here yet.
    """

    sparsity: float
    folder: str
    done: bool
    stages: tuple[str, ...]
    steps: dict[str, int | None]

    def line(self) -> str:
        """The level as a person reads it."""
        stages = [f"{stage} {count:,} steps" if (count := self.steps.get(stage)) else stage for stage in self.stages]
        return f"{self.folder}  {'done' if self.done else 'will run: ' + ', '.join(stages)}"


@dataclass(frozen=True)
class SweepPlan:
    """The plan of a sweep; `dataclasses.asdict` gives its JSON form."""

    folder: str
    levels: tuple[PlannedLevel, ...]
    test_at_the_end: bool

    def lines(self) -> list[str]:
        """The plan as a person reads it."""
        counts = [count for level in self.levels for count in level.steps.values()]
        known = [count for count in counts if count is not None]
        total = f", {sum(known):,} optimizer steps" if len(known) == len(counts) else ""
        waiting = sum(not level.done for level in self.levels)
        lines = [level.line() for level in self.levels]
        lines.append(f"{waiting} of {len(self.levels)} levels will run in {self.folder}{total}")
        if self.test_at_the_end:
            lines.append("Levels are judged on dev; the chosen one is then measured on test.")
        return lines


def plan_sweep(sweep: Sweep) -> SweepPlan:
    """Find the stages of each level that would run, and their optimizer steps."""
    recipe = sweep.levels[0].recipe
    rows = count_rows(recipe)["train"]
    levels: list[PlannedLevel] = []
    pruned_before = False
    for index, level in enumerate(sweep.levels):
        stages = _stale_stages(level, changed=pruned_before)
        # The fine-tuning of the first level is the others' as well.
        sections = (
            {"prune": level.recipe.prune} if index else {"finetune": level.recipe.finetune, "prune": level.recipe.prune}
        )
        steps = {
            stage: None if rows is None else optimizer_steps(rows * recipe.inputs_per_row, section)
            for stage, section in sections.items()
            if stage in stages
        }
        pruned_before = pruned_before or "prune" in stages
        levels.append(PlannedLevel(level.sparsity, level.run.path.name, not stages, stages, steps))
    return SweepPlan(str(sweep.out), tuple(levels), sweep.held_out)


def _stale_stages(level: Level, *, changed: bool) -> tuple[str, ...]:
    """The stages of a level that would run; all but fine-tuning where the pruning it goes on from is made again."""
    stages = tuple(stage.name for stage in stages_of(level.recipe, LAST_STAGE))
    if changed:
        return tuple(stage for stage in stages if stage not in ("vocabulary", "finetune"))
    statuses = plan(level.recipe, level.run, input_identities(level.recipe, download=False))
    stale = {status.stage.name for status in statuses if not status.up_to_date}
    return tuple(stage for stage in stages if stage in stale)
