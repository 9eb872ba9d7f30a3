"""Which keys change what a cell of a study measures; the others are refused, since nothing would become of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sdp.errors import RecipeError
from sdp.pipeline.stages import STAGES, VOCABULARY
from sdp.recipe.override import COMMAND_LINE
from sdp.recipe.sections import Recipe
from sdp.study.vary import Axis, override_key

LAST_STAGE = "evaluate"
# They change how or under which name cells are run, and no result.
_HOW = {"runtime", "name"}


def check_measured(axes: Sequence[Axis], fixed: Iterable[str]) -> None:
    """See that every key that is varied or set changes what a cell measures.

    A key that no recipe has is left to the recipe's own check, which names the nearest one.

    Args:
        axes: what is varied.
        fixed: the overrides of all cells alike (`--set`); there also those of [runtime] and the name.

    Raises:
        RecipeError: a key changes nothing that a cell measures.
    """
    names = [stage.name for stage in STAGES]
    stages = (VOCABULARY, *STAGES[: names.index(LAST_STAGE) + 1])
    measured = {section for stage in stages for section in stage.sections} | {"seed"}
    for axis in axes:
        for override in (override for value in axis.values for override in value.overrides):
            _refuse(override_key(override), f"--vary {axis.name}", measured)
    for override in fixed:
        _refuse(override_key(override), f"{COMMAND_LINE} {override}", measured | _HOW)


def _refuse(key: str, where: str, measured: set[str]) -> None:
    section = key.partition(".")[0].strip()
    if section in measured or section not in Recipe.model_fields:
        return
    if section in _HOW:
        raise RecipeError(f"{key} changes nothing that a study measures", where=where, hint="Give it with --set.")
    hint = (
        "Leave it out. To compare exported files, run the recipe once a value "
        "(sdp run RECIPE --set KEY=V --run-dir RUN), and then: sdp compare RUN RUN"
    )
    raise RecipeError(f"a study ends with {LAST_STAGE}, and {key} comes after that", where=where, hint=hint)
