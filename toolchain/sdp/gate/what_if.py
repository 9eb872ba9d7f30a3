"""Try other thresholds on a finished run: `sdp gate RUN --set gate.KEY=VALUE` judges, prints, and changes nothing.

The run's own thresholds come from its recipe, or from `sdp run --set`: verdict, report and shipped folder use them.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from sdp.errors import NotDownloadedError
from sdp.gate.check import Check
from sdp.gate.judge import verdict
from sdp.pipeline.gate_verdict import gate_verdict
from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.runner import input_identities, plan
from sdp.pipeline.stages import find_stage, resolved_settings, stages_of
from sdp.recipe.override import override_key
from sdp.recipe.sections import Recipe

# The budget of further measurements is not a threshold: changing it changes the verdict of the run.
_NO_THRESHOLD = {"gate.budget_seconds"}


def is_what_if(recipe: Recipe, run: RunFolder, overrides: Sequence[str], *, as_it_is: bool) -> bool:
    """Whether a command requests the verdict of other thresholds than the run's own.

    Args:
        recipe: the recipe with the overrides.
        run: the run folder.
        overrides: overrides of the command line.
        as_it_is: judge the stored results, up to date or not (--no-update).

    Returns:
        true if the overrides set thresholds of [gate] alone, the run has a verdict with other thresholds, and all
        stages before the gate are up to date. Otherwise stages have to run, and the verdict is the run's own.
    """
    keys = {override_key(override) for override in overrides}
    if not keys - _NO_THRESHOLD or not all(key.startswith("gate.") for key in keys):
        return False
    gate = find_stage("gate")
    record = run.record(gate.folder)
    ingredients = record.get("ingredients") if record is not None else None
    if not isinstance(ingredients, dict) or ingredients.get("settings") == resolved_settings(recipe, (gate,)):
        return False
    return as_it_is or _up_to_date_before_gate(recipe, run)


def _up_to_date_before_gate(recipe: Recipe, run: RunFolder) -> bool:
    try:
        statuses = plan(recipe, run, input_identities(recipe, download=False))
    except NotDownloadedError:
        return False
    before = {stage.name for stage in stages_of(recipe, "gate")} - {"gate"}
    return all(status.up_to_date for status in statuses if status.stage.name in before)


def what_if_lines(checks: Sequence[Check], run: RunFolder, given: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Return lines on the verdict of other thresholds, and on the way to apply them to the run.

    Args:
        checks: result of `stages.gate.what_if`.
        run: the run folder.
        given: recipe or run folder of the command line, and the options that name the run folder.
        overrides: overrides of the command line.
    """
    command = shlex.join(["sdp", "run", *given, *(part for override in overrides for part in ("--set", override))])
    return [
        *(f"{check.outcome}: {check.sentence()}" for check in checks),
        f"what if: the verdict would be {verdict(checks)} with {', '.join(overrides)}",
        f"nothing was changed: {run.path} has the verdict {gate_verdict(run)} as before",
        f"to judge, report and ship it so: set this in the recipe, or {command}",
    ]
