"""Describe the first difference of two JSON trees: the reason why a stage runs or starts again."""

from __future__ import annotations

import json
from typing import Any

# Of these, the values are shown; of the others, hashes, that they differ.
_SHOWN = ("settings", "seed", "libraries")


def first_difference(before: Any, now: Any, path: str = "") -> str | None:
    """Describe the first difference of two JSON trees; None where they are equal."""
    if before == now:
        return None
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*now, *(key for key in before if key not in now)]:
            found = first_difference(before.get(key), now.get(key), f"{path}.{key}" if path else str(key))
            if found:
                return found
    name = path.removeprefix("settings.").removeprefix("inputs.")
    shown = f": {_short(before)} -> {_short(now)}" if path.startswith(_SHOWN) else ""
    return f"{name} changed{shown}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
