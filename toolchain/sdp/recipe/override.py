"""Overrides on the command line: `--set A.B=VALUE`, and the values of `sdp study --vary`.

VALUE is TOML (0.9, true, ["en", "de"], "text"). Anything else is text: prune.pattern=1x4 needs no quotes. Losses may be
given by name: prune.losses=hidden:2+kld, "+" between several, ":" before a weight.
"""

from __future__ import annotations

import json
import re
import shlex

from sdp.errors import RecipeError
from sdp.recipe.toml_text import MOST_LEVELS, parse

COMMAND_LINE = "--set"
LOSSES_KEY = "prune.losses"
_LOSSES = re.compile(r"[a-z][a-z-]*(:[\d.eE-]+)?(\+[a-z][a-z-]*(:[\d.eE-]+)?)*")
# A text that begins like this is incomplete TOML, not text.
_OPENING = ("[", "{", '"', "'")


def parse_override(text: str) -> tuple[tuple[str, ...], object]:
    """Parse one `--set`: the parts of the key, and the value.

    Raises:
        RecipeError: it does not have the form A.B=VALUE, or its value is neither TOML nor text.
    """
    key, equals, value = text.partition("=")
    where = f"{COMMAND_LINE} {text}"
    names = tuple(name.strip() for name in key.split("."))
    if not equals or not all(names) or len(names) > MOST_LEVELS:
        hint = f"For example: {COMMAND_LINE} prune.sparsity=0.8"
        raise RecipeError("an override has the form A.B=VALUE", where=where, hint=hint)
    if names == ("extends",):
        raise RecipeError("extends belongs in a recipe file, and cannot be overridden", where=where)
    name = ".".join(names)
    return names, parse(f"value = {value_as_toml(name, value, where, quoted(name, value.strip()))}")["value"]


def override_key(override: str) -> str:
    """The key of "a.b=VALUE"."""
    return override.partition("=")[0].strip()


def quoted(key: str, text: str) -> str:
    """Return the option that sets a key to a text, quoted for a shell."""
    return f"{COMMAND_LINE} {shlex.quote(f'{key}={json.dumps(text, ensure_ascii=False)}')}"


def value_as_toml(key: str, text: str, where: str, as_text: str) -> str:
    """Convert a value to TOML: names of losses become tables, and a value that is not TOML becomes text.

    Args:
        key: the key.
        text: the value as typed.
        where: the option, for messages.
        as_text: how to type the value as text, for messages.

    Raises:
        RecipeError: it is empty, or begins like TOML and is invalid.
    """
    text = text.strip()
    if key == LOSSES_KEY and _LOSSES.fullmatch(text):
        return f"[{', '.join(_loss(loss) for loss in text.split('+'))}]"
    try:
        if parse(f"value = {text}").keys() == {"value"}:
            return text
    except ValueError:
        pass
    if not text or text.startswith(_OPENING) or not text.isprintable():
        what = "the value is empty" if not text else "the value is not TOML"
        raise RecipeError(what, where=where, hint=f"As text: {as_text}")
    return json.dumps(text, ensure_ascii=False)


def _loss(text: str) -> str:
    name, colon, weight = text.partition(":")
    return f'{{name = "{name}", weight = {weight}}}' if colon else f'{{name = "{name}"}}'
