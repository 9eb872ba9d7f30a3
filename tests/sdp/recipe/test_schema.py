"""The JSON Schema that editors get."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sdp.recipe.losses import LOSSES
from sdp.recipe.schema import recipe_schema
from sdp.recipe.sections import Recipe

SCHEMA: dict[str, Any] = recipe_schema()
LOSS_SECTIONS = {row.settings.__name__ for row in LOSSES.values()}


def definitions() -> list[tuple[str, dict[str, Any]]]:
    return [("Recipe", SCHEMA), *SCHEMA["$defs"].items()]


def properties() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{owner}.{name}", value)
        for owner, definition in definitions()
        for name, value in definition["properties"].items()
    ]


@pytest.mark.parametrize(("name", "value"), properties(), ids=[name for name, _ in properties()])
def test_every_property_has_a_description(name: str, value: dict[str, Any]) -> None:
    referred = SCHEMA["$defs"].get(value.get("$ref", "").rpartition("/")[2], {})
    text = value.get("description") or referred.get("description") or ""
    assert len(text) > 10, name


def test_it_has_every_section_and_extends() -> None:
    assert SCHEMA["properties"].keys() == {*Recipe.model_fields, "extends"}
    assert SCHEMA["properties"]["extends"]["type"] == "string"


@pytest.mark.parametrize(("name", "definition"), definitions(), ids=[name for name, _ in definitions()])
def test_what_a_base_may_say_is_not_required(name: str, definition: dict[str, Any]) -> None:
    # Losses stand in an array, which is replaced whole: theirs is the one key that nothing else can bring.
    assert definition.get("required", []) == (["name"] if name in LOSS_SECTIONS else [])


@pytest.mark.parametrize(("name", "definition"), definitions(), ids=[name for name, _ in definitions()])
def test_editors_refuse_unknown_keys(name: str, definition: dict[str, Any]) -> None:
    assert definition["additionalProperties"] is False, name


def test_it_is_json_and_has_the_limits() -> None:
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    sparsity = SCHEMA["$defs"]["PruneSection"]["properties"]["sparsity"]
    assert (sparsity["minimum"], sparsity["exclusiveMaximum"], sparsity["default"]) == (0, 1, 0.9)
    kinds = SCHEMA["$defs"]["TaskSection"]["properties"]["type"]["anyOf"][0]["enum"]
    assert kinds == [
        *("classification", "multi-label", "regression", "tagging", "ranking", "embedding"),
        "question-answering",
    ]


def test_the_recipes_default_is_not_changed_by_it() -> None:
    assert "extends" not in Recipe.model_fields
    assert recipe_schema() == SCHEMA
