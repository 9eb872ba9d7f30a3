"""What running a sweep would do. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from sdp.data.identity import count_rows
from sdp.pipeline.runner import input_identities, plan
from sdp.pipeline.stages import stages_of
from sdp.sweep.levels import LAST_STAGE, Level, Sweep
from sdp.training.steps import optimizer_steps


@dataclass(frozen=True)
class PlannedLevel:
    """A level of a plan: whether it is up to date, the stages that would run, and the optimizer steps of those that
    train (None: data not here yet)."""

    sparsity: float
    folder: str
    done: bool
    stages: list[str]
    steps: dict[str, int | None]


@dataclass(frozen=True)
class SweepPlan:
    """What running a sweep would do; `dataclasses.asdict` gives its JSON form."""

    folder: str
    levels: list[PlannedLevel]
    test_at_the_end: bool


def plan_sweep(sweep: Sweep) -> SweepPlan:
    """What running the sweep would do: its levels, the stages that would run, and optimizer steps (None: data not here
    yet)."""
    rows = count_rows(sweep.levels[0].recipe)["train"]
    levels: list[PlannedLevel] = []
    pruned_before = False
    for index, level in enumerate(sweep.levels):
        stages = _stale_stages(level, changed=pruned_before)
        # What the first level fine-tunes is the others' as well.
        training = [stage for stage in ("finetune", "prune") if stage in stages and (stage == "prune" or not index)]
        steps: dict[str, int | None] = {
            stage: None if rows is None else optimizer_steps(rows, getattr(level.recipe, stage)) for stage in training
        }
        pruned_before = pruned_before or "prune" in stages
        levels.append(PlannedLevel(level.sparsity, level.run.path.name, not stages, stages, steps))
    return SweepPlan(str(sweep.out), levels, sweep.held_out)


def _stale_stages(level: Level, *, changed: bool) -> list[str]:
    """The stages of a level that would run; all but fine-tuning where what it goes on from is made anew."""
    stages = [stage.name for stage in stages_of(level.recipe, LAST_STAGE)]
    if changed:
        return [stage for stage in stages if stage not in ("vocabulary", "finetune")]
    statuses = plan(level.recipe, level.run, input_identities(level.recipe, download=False))
    stale = {status.stage.name for status in statuses if not status.up_to_date}
    return [stage for stage in stages if stage in stale]


def plan_lines(planned: SweepPlan) -> list[str]:
    """A plan as a person reads it."""
    lines = []
    for level in planned.levels:
        counts = level.steps
        stages = [f"{stage} {counts[stage]:,} steps" if counts.get(stage) else stage for stage in level.stages]
        lines.append(f"{level.folder}  {'done' if level.done else 'will run: ' + ', '.join(stages)}")
    found = [count for level in planned.levels for count in level.steps.values()]
    waiting = sum(not level.done for level in planned.levels)
    known = [count for count in found if count is not None]
    total = f", {sum(known):,} optimizer steps" if len(known) == len(found) else ""
    lines.append(f"{waiting} of {len(planned.levels)} levels will run in {planned.folder}{total}")
    if planned.test_at_the_end:
        lines.append("Levels are judged on dev; the chosen one is then measured on test.")
    return lines
