"""recipes/REFERENCE.md names every key there is, once in its section, and is up to date."""

from __future__ import annotations

import re
from typing import get_args

from sdp.recipe.losses import LOSSES
from sdp.recipe.sections import Recipe
from support.recipe_reference import PAGE, page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it again: python tests/support/recipe_reference.py"


def test_every_key_stands_in_its_section() -> None:
    sections = dict(re.findall(r"^##+ `\[(\w+)\]`\n(.*?)(?=^## |\Z)", page(), re.MULTILINE | re.DOTALL))
    for name, field in Recipe.model_fields.items():
        # A section that may be left out is a union with None.
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if hasattr(kind, "model_fields")]
        if not kinds:
            assert f"| `{name}` |" in page()
            continue
        own = sections[name].partition("\n### ")[0]
        listed = re.findall(r"^\| `(\w+)` \|", own, re.MULTILINE)
        expected = [key for key in kinds[0].model_fields if key != "docstrings"]
        assert sorted(listed) == sorted(expected)


def test_every_loss_has_a_part_of_its_own() -> None:
    assert re.findall(r'^### `\[\[prune.losses\]\]`, `name = "(.*)"`$', page(), re.MULTILINE) == list(LOSSES)


def test_values_defaults_and_meanings_are_those_of_the_sections() -> None:
    assert "| `threads` | integer or [integer, ...] | `2` | onnxruntime's intra-op threads" in page()
    assert "| `ramp` | number above 0, at most 1 | `0.6` |" in page()
    assert '| `sequence_lengths` | [integer or `"task"`, ...] | `["task", 128]` |' in page()
    assert "| `packages` | [text, ...] | must be given |" in page()
