"""The section `[prune]`: settings that do not fit each other are told, with what to set instead."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from sdp.pruning.criteria import CRITERIA
from sdp.pruning.masks import Pattern
from sdp.recipe.base import TrainingSection
from sdp.recipe.criteria import CRITERIA as ROWS
from sdp.recipe.pruning import Criterion, PruneSection
from sdp.recipe.sections import FinetuneSection


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pattern": "2:4"}, 'pattern = "2:4" keeps two of four, not 10%; set sparsity = 0.5'),
        ({"pattern": "2:4", "sparsity": 0.4}, "not 60%; set sparsity = 0.5"),
        ({"criterion": "lamp", "scope": "layer"}, 'set scope = "global"'),
        ({"max_layer_sparsity": 0.99, "scope": "layer"}, "set one, or remove it"),
        ({"max_layer_sparsity": 0.8}, "leaves too little for sparsity = 0.9"),
        ({"labels": False, "losses": [{"name": "none"}]}, "leaves nothing to learn from"),
        ({"epochs": 0, "criterion": "lamp"}, "remove criterion"),
        ({"epochs": 0, "steps": 5}, "remove one of them"),
        ({"fisher_gradients": 8}, 'fisher_gradients belongs to criterion = "obert"; remove it'),
        ({"criterion": "obert", "gate_penalty": 8.0}, 'gate_penalty belongs to criterion = "l0"; remove it'),
        ({"criterion": "obert", "fisher_gradients": 0}, "greater than 0"),
        ({"criterion": "l0", "gate_penalty": -1.0}, "greater than or equal to 0"),
        ({"repair": True, "epochs": 0}, "epochs = 0 refits each layer in any case; remove repair"),
        ({"repair": True, "criterion": "l0"}, "repair would be lost; use another criterion, or remove repair"),
        ({"target_speedup": 2.0}, 'target_speedup needs scope = "allocated"'),
        ({"target_speedup": 2.0, "scope": "global"}, 'target_speedup needs scope = "allocated"'),
        ({"target_speedup": 2.0, "scope": "allocated", "sparsity": 0.5}, "in place of sparsity; remove one of them"),
        ({"target_speedup": 1.0, "scope": "allocated"}, "greater than 1"),
        ({"scope": "allocated", "pattern": "2:4", "sparsity": 0.5}, "has no choice"),
        ({"scope": "allocated", "start": "2-prune"}, "cannot start from a pruned one"),
        ({"scope": "allocated", "criterion": "lamp"}, 'set scope = "global"'),
        ({"scope": "allocated", "max_layer_sparsity": 0.8}, "leaves too little for sparsity = 0.9"),
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
        {"criterion": "lamp"},
        {"scope": "layer"},
        {"epochs": 0},
        {"epochs": 0, "scope": "layer"},
        {"sparsity": 0.995},
        {"criterion": "obert", "fisher_gradients": 8},
        {"criterion": "l0", "gate_penalty": 0.0},
        {"criterion": "obert", "pattern": "1x4", "repair": True},
        {"criterion": "movement", "repair": True},
        {"scope": "allocated", "sparsity": 0.7, "max_layer_sparsity": 0.9},
        {"scope": "allocated", "target_speedup": 2.5, "max_layer_sparsity": 0.8},
        {"scope": "allocated", "epochs": 0},
    ],
)
def test_settings_that_fit_survive_being_written_out_whole(settings: dict[str, Any]) -> None:
    section = PruneSection(**settings)
    assert PruneSection.model_validate(section.model_dump()) == section


@pytest.mark.parametrize(
    ("settings", "labels", "head_stays"),
    [
        ({}, False, True),
        ({"losses": [{"name": "none"}]}, True, False),
        ({"losses": [{"name": "kld"}]}, True, False),
        ({"losses": [{"name": "kld"}, {"name": "align-cosine"}]}, True, False),
        ({"losses": [{"name": "kld"}, {"name": "cosine"}]}, False, True),
        ({"labels": True}, True, False),
        ({"labels": True, "freeze_head": True}, True, True),
        ({"freeze_head": False}, False, False),
    ],
)
def test_labels_are_learned_where_no_loss_compares_features_and_the_head_with_them(
    settings: dict[str, Any], labels: bool, head_stays: bool
) -> None:
    section = PruneSection(**settings)
    assert (section.learns_labels, section.head_stays) == (labels, head_stays)
    assert section.embeddings_stay == (not labels)


@pytest.mark.parametrize(
    ("settings", "cap"),
    [
        ({}, 0.98),
        ({"sparsity": 0.98}, 0.99),
        ({"scope": "layer"}, 1.0),
        ({"max_layer_sparsity": 0.95}, 0.95),
    ],
)
def test_the_largest_share_of_a_matrix(settings: dict[str, Any], cap: float) -> None:
    assert PruneSection(**settings).layer_cap == pytest.approx(cap)


@pytest.mark.parametrize(
    ("settings", "trains"),
    [
        ({}, True),
        ({"epochs": 0}, False),
        ({"steps": 0}, False),
        ({"epochs": 5, "steps": 0}, False),
        ({"steps": 5}, True),
    ],
)
def test_no_steps_are_no_training(settings: dict[str, Any], trains: bool) -> None:
    assert PruneSection(**settings).trains is trains
    if not trains:
        with pytest.raises(ValidationError, match="remove criterion"):
            PruneSection(**settings, criterion="magnitude")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"target_speedup": 2, "pattern": "structured"}, "set sparsity in place of target_speedup"),
        ({"scope": "allocated"}, "measures the network with all layers"),
        ({"repair": True}, "repair refits to what the same layers"),
        ({"losses": [{"name": "hidden"}]}, "hidden compares all layers"),
        ({"losses": [{"name": "align-cosine"}], "labels": True}, "align-cosine compares weights"),
        ({"losses": [{"name": "cosine", "layers": [-1, -4]}]}, "cosine asks for layer -4, and layers = 3"),
        ({"losses": [{"name": "hidden", "layers": [4]}]}, "hidden asks for layer 4, and layers = 3"),
    ],
)
def test_what_needs_all_layers_does_not_go_with_fewer(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        PruneSection(**settings, layers=3)
    PruneSection(**settings)
    PruneSection(layers=3)


@pytest.mark.parametrize("section", [FinetuneSection, PruneSection])
def test_epochs_beside_steps_change_nothing(section: type[TrainingSection]) -> None:
    assert section(epochs=6, steps=50).resolved() == section(steps=50).resolved()
    assert section(epochs=6).resolved() != section().resolved()


def test_recipes_and_code_know_the_same_names() -> None:
    assert list(get_args(Criterion)) == list(ROWS) == list(CRITERIA)
    assert all(row.name == name for name, row in ROWS.items())
    for row in ROWS.values():
        own = {*row.settings, *([row.copies] if row.copies else [])}
        assert own <= PruneSection.model_fields.keys()
    assert set(get_args(PruneSection.model_fields["pattern"].annotation)) == {*get_args(Pattern), "structured"}
