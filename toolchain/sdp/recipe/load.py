"""Read a recipe: TOML, `extends`, overrides, paths, and validation that reports every problem at once.

Order: read the file and the files that it extends (the extending file takes precedence, key by key; arrays are replaced
whole), apply `--set` overrides, make paths absolute against the file that contains them, validate. The origin of every
value is recorded, so that an error can name its file.
"""

from __future__ import annotations

import difflib
import glob
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sdp.errors import RecipeError
from sdp.recipe.losses import LOSSES
from sdp.recipe.override import COMMAND_LINE, parse_override, quoted
from sdp.recipe.sections import Recipe
from sdp.recipe.toml_text import parse, read_text, real_path

Tree = dict[str, Any]
Key = tuple[str, ...]

DATA_SUFFIXES = (".tsv", ".csv", ".jsonl", ".parquet", ".gz")
DATE = "TOML date"
MOST_EXTENDED = 100
MOST_SHOWN = 50


@dataclass
class _Raw:
    """The merged TOML tree, and the file that each dotted key came from."""

    tree: Tree = field(default_factory=dict)
    origins: dict[Key, str] = field(default_factory=dict)

    def put(self, key: Key, value: object, origin: str) -> None:
        """Set one key; tables merge key by key, everything else replaces."""
        if isinstance(value, dict):
            if value or key not in self.origins:
                self.origins[key] = origin
            for name, inner in value.items():
                self.put((*key, name), inner, origin)
            if value:
                return
        *parents, last = key
        table = self.tree
        for name in parents:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise RecipeError(f"{name} is a value, not a table", where=f"{origin}: {'.'.join(key)}")
        if isinstance(value, dict):
            table.setdefault(last, {})
            return
        table[last] = value
        # A conflict between several keys of a table is reported for the file that changed it last.
        for length in range(1, len(key) + 1):
            self.origins[key[:length]] = origin

    def get(self, key: Key) -> Any:
        """The value at a key, or None."""
        value: Any = self.tree
        for name in key:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    def origin(self, key: Key) -> str | None:
        """Return the file that set the key, or the nearest table around it."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.origins:
                return self.origins[key[:length]]
        return None


def load_recipe(path: Path | str, overrides: Iterable[str] = ()) -> Recipe:
    """Read, merge and validate a recipe.

    Args:
        path: the TOML file.
        overrides: "a.b=VALUE" strings, VALUE in TOML or a text without quotes; they take precedence over the file.

    Returns:
        the frozen recipe, all paths absolute.

    Raises:
        RecipeError: the file is missing, not TOML, extends itself, or holds invalid keys; all problems in one message.
    """
    path = Path(path)
    raw = _Raw()
    for file, table in reversed(list(_read_chain(path))):
        for name, value in table.items():
            raw.put((name,), value, str(file))
    for override in overrides:
        raw.put(*parse_override(override), COMMAND_LINE)
    _make_paths_absolute(raw)
    try:
        # JSON's strict mode accepts arrays for tuples, but no string for a number, which fits TOML's types.
        return Recipe.model_validate_json(json.dumps(raw.tree, default=_not_json), strict=True)
    except ValidationError as error:
        # A readable number of problems; a file that is not a recipe may have a hundred thousand.
        details = error.errors(include_url=False)[:MOST_SHOWN]
        hidden = error.error_count() - len(details)
    # A value that fits no member of a union is one problem; pydantic reports one for every member.
    problems: dict[str, list[str]] = {}
    for detail in details:
        # pydantic reports wrong items also as missing; only the wrong items are reported here.
        inner = [other for other in details if len(other["loc"]) > len(detail["loc"])]
        if detail["type"] == "too_short" and any(
            other["loc"][: len(detail["loc"])] == detail["loc"] for other in inner
        ):
            continue
        place, message = _describe(detail, raw, path)
        problems.setdefault(place, []).append(message)
    lines = [f"{place}: {'; or '.join(messages)}" for place, messages in problems.items()]
    more = [f"and {hidden:,} more"] if hidden else []
    raise RecipeError("\n  ".join([*_headline(lines, path), *more]))


def _not_json(value: object) -> list[list[str]]:
    """Replace a TOML date or time with a list of lists, which no key accepts."""
    return [[DATE, str(value)]]


def _headline(problems: list[str], path: Path) -> list[str]:
    count = f"{len(problems)} problems in {path}" if len(problems) > 1 else f"a problem in {path}"
    return [count, *problems]


def _read_chain(path: Path) -> Iterator[tuple[Path, Tree]]:
    """Yield the recipe, then the recipe that it extends, and so on."""
    seen: list[Path] = []
    current: Path | None = path
    while current is not None:
        real = real_path(current)
        if real in seen:
            chain = " -> ".join(str(file) for file in [*seen, real])
            raise RecipeError(f"recipes extend each other in a circle: {chain}", where=f"{path}: extends")
        if len(seen) == MOST_EXTENDED:
            raise RecipeError(f"more than {MOST_EXTENDED} recipes extend each other", where=f"{path}: extends")
        seen.append(real)
        table = _read_toml(current, seen[-2] if len(seen) > 1 else None)
        parent = table.pop("extends", None)
        if parent is not None and not isinstance(parent, str):
            raise RecipeError("must be one file name, relative to this recipe", where=f"{current}: extends")
        yield current, table
        current = current.parent / parent if parent is not None else None


def _read_toml(path: Path, extended_by: Path | None) -> Tree:
    try:
        return parse(read_text(path))
    except FileNotFoundError:
        where = f"{extended_by}: extends" if extended_by else str(path)
        what = f"{path} does not exist" if extended_by else "no such recipe"
        raise RecipeError(what, where=where, hint=_nearest_file(path)) from None
    except IsADirectoryError:
        raise RecipeError("is a folder; give a recipe (a .toml file)", where=str(path)) from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"not UTF-8 text (byte {error.start})", where=str(path), hint="Save it as UTF-8.") from None
    except ValueError as error:  # TOMLDecodeError, or a number that is too long for Python
        raise RecipeError(f"not valid TOML: {error}", where=str(path)) from None
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", where=str(path)) from None


def _nearest_file(path: Path) -> str:
    folder = path.parent
    names = sorted(entry.name for entry in folder.glob("*.toml")) if folder.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    if near:
        return f"Did you mean {folder / near[0]}?"
    return f"Recipes in {folder}: {', '.join(sorted(names))}" if names else "Give the path of a .toml file."


def _make_paths_absolute(raw: _Raw) -> None:
    """Resolve relative paths against the file that contains them (the working folder for overrides)."""

    def absolute(key: Key, name: str) -> Path:
        origin = raw.origin(key)
        folder = Path.cwd() if origin in (None, COMMAND_LINE) else real_path(Path(str(origin))).parent
        return folder / os.path.expanduser(name)  # Path.expanduser raises for an unknown user

    for key in (("model", "name"), ("data", "dataset"), ("prune", "teacher")):
        name = raw.get(key)
        # A value that is not a folder stays: a hub id, "package:...", or a path that the loader reports as missing.
        if isinstance(name, str) and name and (name.startswith((".", "/", "~")) or os.path.isdir(absolute(key, name))):
            raw.get(key[:-1])[key[-1]] = str(real_path(absolute(key, name)))
    start = raw.get(("prune", "start"))
    if isinstance(start, str) and start:
        raw.get(("prune",))["start"] = str(real_path(absolute(("prune", "start"), start)))
    for key in (("vocabulary", "corpus"), ("data", "unlabeled")):
        if isinstance(names := raw.get(key), list):
            # The values are patterns, and the recipe's folder is not: its name is escaped.
            folder = glob.escape(str(absolute(key, "")))
            names[:] = [os.path.join(folder, os.path.expanduser(n)) if isinstance(n, str) else n for n in names]
    if raw.get(("data", "dataset")) is not None:
        return
    for split in ("train", "dev", "test"):
        key, known_task = ("data", split), raw.get(("task", "name")) is not None
        name = raw.get(key)
        if isinstance(name, str) and name and (not known_task or name.endswith(DATA_SUFFIXES)):
            raw.get(key[:-1])[key[-1]] = str(absolute(key, name))


def _describe(detail: ErrorDetails, raw: _Raw, path: Path) -> tuple[str, str]:
    """Return the place of a problem (file and dotted key) and its message, with the nearest valid key."""
    *parents, last = detail["loc"] or ("",)
    location = tuple(part for part in parents if not _is_union_tag(part, detail["loc"]))
    if last != "" and (detail["type"] == "extra_forbidden" or not _is_union_tag(last, detail["loc"])):
        location = (*location, last)
    key = tuple(str(part) for part in location)
    file = raw.origin(key) or str(path)
    message = _message(detail, location)
    if file == COMMAND_LINE and detail["type"] == "string_type" and isinstance(detail["input"], bool | int | float):
        message += f"; text needs quotes: {quoted('.'.join(key), json.dumps(detail['input']))}"
    return f"{file}: {'.'.join(key)}" if key else file, message


def _is_union_tag(part: object, location: tuple[int | str, ...]) -> bool:
    """Whether a part of a location is the name of a union's member, which pydantic adds and the file does not have."""
    if not isinstance(part, str):
        return False
    return part in ("int", "str") or "[" in part or ("losses" in location and part in LOSSES)


def _message(detail: ErrorDetails, location: tuple[int | str, ...]) -> str:
    kind, message, value = detail["type"], detail["msg"], detail["input"]
    if kind == "extra_forbidden":
        near = _nearest_key(detail["loc"])
        return f'unknown key; did you mean "{near}"?' if near else "unknown key"
    if kind == "missing":
        return "missing; every recipe needs it" if len(location) == 1 else "missing"
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind.startswith("union_tag"):
        name = value.get("name") if isinstance(value, dict) else value
        return f"needs a name, one of {', '.join(LOSSES)} (got {name!r})"
    shown = repr(value) if isinstance(value, str | int | float | bool) else type(value).__name__
    inner = value[0] if isinstance(value, list) and value else value
    if isinstance(inner, list) and inner[:1] == [DATE]:
        shown = f"the date {inner[1]}; text needs quotes"
    return f"{message[0].lower()}{message[1:]} (got {shown})"


def _nearest_key(location: tuple[int | str, ...]) -> str | None:
    """Return the valid key nearest to an unknown one; "section.key" where another section has it."""
    *parents, unknown = [str(part) for part in location]
    model: type[BaseModel] = Recipe
    for part in parents:
        model = LOSSES[part].settings if part in LOSSES else _inner_section(model, part) or model
    here = difflib.get_close_matches(unknown, [*model.model_fields, *(["extends"] if model is Recipe else [])], n=1)
    if here:
        return here[0]
    for name in Recipe.model_fields:
        section = _inner_section(Recipe, name)
        if section is not None and unknown in section.model_fields:
            return f"{name}.{unknown}"
    return None


def _inner_section(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    """Return the section that a key of a section holds, or None where it holds a value."""
    annotation = model.model_fields[key].annotation if key in model.model_fields else None
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
