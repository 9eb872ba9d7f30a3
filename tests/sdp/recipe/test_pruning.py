"""The section `[prune]`: settings that do not fit each other are told, with what to set instead."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from sdp.pruning.criteria import CRITERIA
from sdp.pruning.masks import Pattern
from sdp.recipe.criteria import CRITERIA as ROWS
from sdp.recipe.pruning import Criterion, PruneSection


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pattern": "2:4"}, 'pattern = "2:4" keeps two of four, not 10%; set sparsity = 0.5'),
        ({"pattern": "2:4", "sparsity": 0.4}, "not 60%; set sparsity = 0.5"),
        ({"criterion": "lamp"}, 'set scope = "global"'),
        ({"fisher_gradients": 8}, 'fisher_gradients belongs to criterion = "obert"; remove it'),
        ({"criterion": "obert", "gate_penalty": 8.0}, 'gate_penalty belongs to criterion = "l0"; remove it'),
        ({"criterion": "obert", "fisher_gradients": 0}, "greater than 0"),
        ({"criterion": "l0", "gate_penalty": -1.0}, "greater than or equal to 0"),
        ({"quantization_aware": 1.5}, "less than or equal to 1"),
        ({"quantization_aware": 0.2, "epochs": 0}, "quantization_aware is a part of training; remove it"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        PruneSection(**settings)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"pattern": "2:4", "sparsity": 0.5},
        {"criterion": "lamp", "scope": "global"},
        {"criterion": "obert", "fisher_gradients": 8},
        {"criterion": "l0", "gate_penalty": 0.0},
    ],
)
def test_settings_that_fit_survive_being_written_out_whole(settings: dict[str, Any]) -> None:
    section = PruneSection(**settings)
    assert PruneSection.model_validate(section.model_dump()) == section


def test_recipes_and_code_know_the_same_names() -> None:
    assert list(get_args(Criterion)) == list(ROWS) == list(CRITERIA)
    assert all(row.name == name for name, row in ROWS.items())
    for row in ROWS.values():
        own = {*row.settings, *([row.copies] if row.copies else [])}
        assert own <= PruneSection.model_fields.keys()
    assert set(get_args(PruneSection.model_fields["pattern"].annotation)) == set(get_args(Pattern))
