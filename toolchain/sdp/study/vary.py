"""The keys that a study varies, read from the command line: `--vary KEY=V1,V2,...` and `--baseline KEY=V`.

prune.sparsity=0.5,0.9                      values are TOML
prune.pattern=unstructured,1x4              or text without quotes
prune.losses=none,kld,hidden:2+kld          losses by name, "+" between several, ":" before a weight
arm=plain{prune.losses=none;seed=1},sdp{}   arms that need several keys, or none, under names of their own

Keys that change no result of a study are refused.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sdp.errors import RecipeError
from sdp.pipeline.stages import STAGES, VOCABULARY
from sdp.recipe.override import COMMAND_LINE, override_key, value_as_toml
from sdp.recipe.sections import Recipe
from sdp.recipe.toml_text import parse

SEED_KEY = "seed"
LAST_STAGE = "evaluate"
"""The last stage that a cell of a study runs."""
# They change how or under which name cells are run, and no result.
_NO_RESULT = {"runtime", "name"}
_KEY = re.compile(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*")
_ARM = re.compile(r"([\w.+:-]+)\{(.*)\}", re.DOTALL)
_PAIRS = {"]": "[", "}": "{"}


@dataclass(frozen=True)
class Value:
    """One value of a varied key.

    Attributes:
        label: the text as typed, or the name of an arm of several keys.
        overrides: "a.b=VALUE" for the recipe, VALUE in TOML.
    """

    label: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Axis:
    """A varied key, or a name for arms of several keys, and its values in the order given."""

    name: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Baseline:
    """The arm that others are compared with: one value of one axis."""

    axis: str
    label: str


def parse_vary(text: str) -> Axis:
    """Read one `--vary`.

    Raises:
        RecipeError: it does not have the form KEY=V1,V2,..., or has a value twice.
    """
    where = f"--vary {text}"
    name, equals, rest = text.partition("=")
    name = name.strip()
    if not equals or not _KEY.fullmatch(name):
        raise RecipeError(
            "does not have the form KEY=V1,V2,...", where=where, hint="For example prune.sparsity=0.5,0.9"
        )
    pieces = [piece.strip() for piece in split_outside(rest, ",", where)]
    if "" in pieces:
        raise RecipeError("a value is empty", where=where, hint='An empty text is "".')
    twice = [piece for piece, count in Counter(pieces).items() if count > 1]
    if twice:
        raise RecipeError(f"{twice[0]} is given twice", where=where)
    return Axis(name, tuple(_value(name, piece, where) for piece in pieces))


def parse_baseline(text: str, axes: Sequence[Axis]) -> Baseline:
    """Read `--baseline KEY=V`: one of the varied keys, and one of its values, typed as there or otherwise.

    Raises:
        RecipeError: no such key is varied, or not with that value.
    """
    where = f"--baseline {text}"
    name, equals, label = (part.strip() for part in text.partition("="))
    axis = next((axis for axis in axes if axis.name == name), None)
    if not equals or axis is None:
        names = ", ".join(axis.name for axis in axes)
        hint = f"It has the form KEY=V, KEY one of {names}." if axes else "Vary it: --vary KEY=V1,V2."
        raise RecipeError("does not name a varied key", where=where, hint=hint)
    labels = [value.label for value in axis.values]
    if label not in labels:
        # 0.50 for 0.5, or "1x4" for 1x4.
        wanted = _settings(_value(name, label, where))
        same = [value.label for value in axis.values if _settings(value) == wanted]
        if not same:
            raise RecipeError(f"{name} is not varied with that value", where=where, hint=f"One of {', '.join(labels)}.")
        label = same[0]
    return Baseline(name, label)


def _settings(value: Value) -> list[dict[str, object]]:
    """The settings that the overrides of a value make."""
    return [parse(override) for override in value.overrides]


def check_axes(axes: Sequence[Axis], fixed: Iterable[str]) -> None:
    """Check that no key is set in two places.

    Args:
        axes: the varied keys.
        fixed: the overrides of all cells alike (`--set`).

    Raises:
        RecipeError: a key is varied twice, is varied and set, or is the seed.
    """
    keys = [dict.fromkeys(override_key(o) for value in axis.values for o in value.overrides) for axis in axes]
    counts = Counter([*(key for inner in keys for key in inner), *dict.fromkeys(override_key(o) for o in fixed)])
    if SEED_KEY in counts:
        raise RecipeError("the seeds of a study are 0 to N - 1", where=SEED_KEY, hint="Give their number: --seeds N")
    names = Counter(axis.name for axis in axes)
    twice = [name for name, count in (names | counts).items() if count > 1]
    if twice:
        raise RecipeError("set in two places", where=twice[0], hint="Name it in one --vary or in --set, not in both.")


def check_measured(axes: Sequence[Axis], fixed: Iterable[str]) -> None:
    """Check that every key that is varied or set changes the result of a cell.

    A key that no recipe has passes: the recipe's own check names the nearest one.

    Args:
        axes: the varied keys.
        fixed: the overrides of all cells alike (`--set`), where [runtime] and the name are allowed too.

    Raises:
        RecipeError: a key changes no result of a cell.
    """
    names = [stage.name for stage in STAGES]
    stages = (VOCABULARY, *STAGES[: names.index(LAST_STAGE) + 1])
    measured = {section for stage in stages for section in stage.sections} | {"seed"}
    for axis in axes:
        for override in (override for value in axis.values for override in value.overrides):
            _require_measured(override_key(override), f"--vary {axis.name}", measured)
    for override in fixed:
        _require_measured(override_key(override), f"{COMMAND_LINE} {override}", measured | _NO_RESULT)


def _require_measured(key: str, where: str, measured: set[str]) -> None:
    section = key.partition(".")[0].strip()
    if section in measured or section not in Recipe.model_fields:
        return
    if section in _NO_RESULT:
        raise RecipeError(f"{key} changes no result of a study", where=where, hint="Give it with --set.")
    hint = (
        "Leave it out. To compare exported files, run the recipe once a value "
        "(sdp run RECIPE --set KEY=V --run-dir RUN), and then: sdp compare RUN RUN"
    )
    raise RecipeError(f"a study ends with {LAST_STAGE}, and {key} takes effect after it", where=where, hint=hint)


def split_outside(text: str, separator: str, where: str) -> list[str]:
    """Split text at a separator outside brackets and quotes.

    Raises:
        RecipeError: a bracket or a quote is not closed.
    """
    pieces, start, quote = [], 0, ""
    open_brackets: list[str] = []
    escaped = False
    for place, character in enumerate(text):
        if quote:
            if character == quote and not escaped:
                quote = ""
            escaped = quote == '"' and character == "\\" and not escaped
        elif character in "\"'":
            quote = character
        elif character in _PAIRS.values():
            open_brackets.append(character)
        elif character in _PAIRS:
            if not open_brackets or open_brackets.pop() != _PAIRS[character]:
                raise RecipeError(f"unmatched {character}", where=where)
        elif character == separator and not open_brackets:
            pieces.append(text[start:place])
            start = place + 1
    if quote or open_brackets:
        raise RecipeError(f"{quote or open_brackets[-1]} is not closed", where=where)
    return [*pieces, text[start:]]


def _value(axis: str, piece: str, where: str) -> Value:
    arm = _ARM.fullmatch(piece)
    if arm is None:
        return Value(piece, (f"{axis}={_toml(axis, piece, where)}",))
    settings = [setting.strip() for setting in split_outside(arm[2], ";", where)]
    return Value(arm[1], tuple(_setting(setting, where) for setting in settings if setting))


def _setting(text: str, where: str) -> str:
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not _KEY.fullmatch(key):
        raise RecipeError(
            f"{text} does not have the form KEY=VALUE", where=where, hint="An arm is NAME{KEY=VALUE;...}."
        )
    return f"{key}={_toml(key, value, where)}"


def _toml(key: str, text: str, where: str) -> str:
    return value_as_toml(key, text, where, json.dumps(text, ensure_ascii=False))
