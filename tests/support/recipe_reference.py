"""recipes/REFERENCE.md from the recipe's schema. Run this file to write it again; a test fails when that is due."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from sdp.recipe.schema import recipe_schema
from sdp.recipe.sections import Recipe

PAGE = Path(__file__).parents[2] / "recipes" / "REFERENCE.md"

HEAD = """# Every key of a recipe

Generated from the schema by `python tests/support/recipe_reference.py`; `sdp schema` prints the same for editors. A key
that is left out has the default given here; where there is none, the task or the data decide, or nothing is set. `--set
SECTION.KEY=VALUE` on the command line overrides a key; VALUE is TOML.

"""
TABLE = "| key | values | default | meaning |\n|---|---|---|---|\n"
# An example in the docstring of a section is for readers of the code.
EXAMPLE = "\n\n["
BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
TYPES = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false"}


def page() -> str:
    """The whole page."""
    # A file may leave out keys of the one that it extends, so the schema for editors requires nothing.
    schema, editors = Recipe.model_json_schema(), recipe_schema()
    definitions, fields = schema["$defs"], {**editors["properties"], **schema["properties"]}
    top = {name: field for name, field in fields.items() if _section(field, definitions) is None}
    parts = [HEAD, "## At the top of the file\n\n", TABLE, _rows(top, schema["required"])]
    for name, field in schema["properties"].items():
        section = _section(field, definitions)
        if section is not None:
            parts.append(_part(f"## `[{name}]`", section, definitions, name))
    return "".join(parts)


def _part(title: str, section: dict[str, Any], definitions: dict[str, Any], path: str) -> str:
    """A section: its table, and after it the sections inside it."""
    fields = section["properties"]
    inner = {name: _section(field, definitions) for name, field in fields.items()}
    plain = {name: field for name, field in fields.items() if inner[name] is None and "const" not in field}
    text = f"\n{title}\n\n{_words(section['description'].split(EXAMPLE)[0])}\n"
    if plain:
        text += f"\n{TABLE}{_rows(plain, section.get('required', ()))}"
    for name, nested in inner.items():
        if nested is not None:
            text += _part(f"### `[{path}.{name}]`", nested, definitions, f"{path}.{name}")
    for name, field in plain.items():
        for choice in _choices(field):
            kind = definitions[choice]
            text += _part(f'### `[[{path}.{name}]]`, `name = "{kind["properties"]["name"]["const"]}"`', kind, {}, "")
    return text


def _rows(fields: dict[str, Any], required: Collection[str]) -> str:
    return "".join(
        f"| `{name}` | {_values(field)} | {'must be given' if name in required else _default(field)} "
        f"| {_words(field.get('description', ''))} |\n"
        for name, field in fields.items()
    )


def _section(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any] | None:
    """The section that a field holds, or None where it is a plain key."""
    for option in (field, *field.get("anyOf", ())):
        if "$ref" in option:
            found: dict[str, Any] = definitions[option["$ref"].rpartition("/")[2]]
            return found
    return None


def _choices(field: dict[str, Any]) -> list[str]:
    """The sections that the entries of a list may be."""
    items = field.get("items", {})
    return [option["$ref"].rpartition("/")[2] for option in items.get("oneOf", ()) if "$ref" in option]


def _values(field: dict[str, Any]) -> str:
    options = [option for option in field.get("anyOf", (field,)) if option.get("type") != "null"]
    return " or ".join(_value(option) for option in options)


def _value(field: dict[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(f"`{_toml(value)}`" for value in field["enum"])
    if "const" in field:
        return f"`{_toml(field['const'])}`"
    if field.get("type") == "array":
        if _choices(field):
            return "tables, below"
        # A tuple of fixed length lists its entries one by one.
        entry = field.get("items") or field["prefixItems"][0]
        return f"[{_values(entry)}, ...]"
    bounds = [f"{word} {_toml(field[key])}" for key, word in BOUNDS.items() if key in field]
    return " ".join([TYPES[field["type"]], *([", ".join(bounds)] if bounds else [])])


def _default(field: dict[str, Any]) -> str:
    default = field.get("default")
    if isinstance(default, list) and default and isinstance(default[0], dict):
        return ", ".join(f"`{entry['name']}`" for entry in default)
    return "" if default is None else f"`{_toml(default)}`"


def _toml(value: Any) -> str:
    """A value as TOML has it; what occurs here is written the same in JSON."""
    return json.dumps(value)


def _words(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
