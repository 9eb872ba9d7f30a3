"""The first layers of a network: what they compute is what they compute in the whole one, for every kind of model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sdp.errors import ModelError
from sdp.models.architectures import ARCHITECTURES
from sdp.models.first_layers import first_layers
from sdp.models.layers import layer_count, prunable_weights
from sdp.models.load import load_finetuned
from sdp.models.parts import encoder_shape, layer_number, require_more_layers
from sdp.models.source import ModelFolder
from support.tiny_models import tiny_config, tiny_model

# ESM's head for contacts reads the attention of all layers.
REFUSED = {"esm"}
SUPPORTED = [row.model_type for row in ARCHITECTURES if not row.refused and row.model_type not in REFUSED]
IDS = torch.tensor([[2, 7, 9, 21, 3], [2, 11, 3, 1, 1]])
MASK = (IDS != 1).long()


def model_of(kind: str, layers: int = 4, **settings: Any) -> Any:
    return tiny_model(kind, num_hidden_layers=layers, n_layers=layers, **settings)


def without_layers(model: Any, kept: int) -> Tensor:
    """Logits of the whole network when the layers after the first ones are skipped: each gives what it was given."""

    def skip(layer: nn.Module, arguments: tuple, keywords: dict, output: Any) -> Any:
        given = arguments[0] if arguments else keywords["hidden_states"]
        return (given, *output[1:]) if isinstance(output, tuple) else given

    lists = [module for module in model.base_model.modules() if isinstance(module, nn.ModuleList) and len(module) == 4]
    hooks = [layer.register_forward_hook(skip, with_kwargs=True) for own in lists for layer in own[kept:]]
    with torch.no_grad():
        logits: Tensor = model(input_ids=IDS, attention_mask=MASK).logits
    for hook in hooks:
        hook.remove()
    return logits


@pytest.mark.parametrize("kind", SUPPORTED)
def test_first_layers_have_the_weights_of_the_whole(kind: str, tmp_path: Path) -> None:
    whole, kept = model_of(kind), 2
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    short = first_layers(whole, kept)
    assert layer_count(short) == kept
    own = short.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in own.items())
    gone = {name for name in before if name not in own}
    assert all(layer_number(name) >= kept for name in gone), gone
    assert all(torch.equal(value, before[name]) for name, value in whole.state_dict().items())
    assert all(layer_number(name) < kept for name in prunable_weights(short))
    short.save_pretrained(tmp_path)
    again = load_finetuned(tmp_path).eval()
    with torch.no_grad():
        logits = short(input_ids=IDS, attention_mask=MASK).logits
        assert torch.equal(again(input_ids=IDS, attention_mask=MASK).logits, logits)
        assert not torch.allclose(whole(input_ids=IDS, attention_mask=MASK).logits, logits, atol=1e-3)


# Kinds whose layers take what they return, each in one list.
@pytest.mark.parametrize(
    "kind", ["bert", "camembert", "distilbert", "electra", "ernie", "modernbert", "mpnet", "roberta", "xlm-roberta"]
)
def test_they_compute_what_the_whole_computes_when_its_last_layers_are_skipped(kind: str) -> None:
    whole = model_of(kind)
    with torch.no_grad():
        logits = first_layers(whole, 2)(input_ids=IDS, attention_mask=MASK).logits
    torch.testing.assert_close(logits, without_layers(whole, 2))


def test_values_for_each_layer_are_cut_with_the_layers() -> None:
    whole = model_of("modernbert", layer_types=["full_attention", "sliding_attention", "full_attention"] * 2, layers=6)
    assert first_layers(whole, 2).config.layer_types == ["full_attention", "sliding_attention"]
    assert len(whole.config.layer_types) == 6


def test_it_stays_in_training() -> None:
    assert first_layers(model_of("bert").train(), 1).training


def test_layers_that_share_weights_by_their_place_are_refused() -> None:
    with pytest.raises(ModelError, match="several groups of weights"):
        first_layers(model_of("albert", num_hidden_groups=2), 2)


def test_an_architecture_whose_other_parts_depend_on_the_number_is_refused() -> None:
    with pytest.raises(ModelError, match=r"contact_head\.regression\.weight depends on how many layers there are"):
        first_layers(model_of("esm"), 2)


@pytest.mark.parametrize("kind", ["bert", "distilbert", "xlm"])
@pytest.mark.parametrize(("asked", "fits"), [(None, True), (1, True), (3, True), (4, False), (7, False)])
def test_fewer_layers_than_the_model_has_are_asked_for(
    kind: str, asked: int | None, fits: bool, tmp_path: Path
) -> None:
    tiny_config(kind, num_hidden_layers=4, n_layers=4).save_pretrained(tmp_path)
    if fits:
        require_more_layers(asked, ModelFolder("model", tmp_path))
        return
    with pytest.raises(ModelError, match=rf"prune\.layers = {asked} removes nothing: the model has 4 layers") as error:
        require_more_layers(asked, ModelFolder("model", tmp_path))
    assert error.value.hint == "Set 1 to 3, or remove the key."


def test_a_model_of_one_layer_has_none_to_lose(tmp_path: Path) -> None:
    tiny_config("bert", num_hidden_layers=1).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"has 1 layer\n") as error:
        require_more_layers(1, ModelFolder("model", tmp_path))
    assert error.value.hint == "Remove the key."


def test_without_a_number_of_layers_nothing_is_required(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    folder = ModelFolder("model", tmp_path)
    assert encoder_shape(folder) == (None, None)
    require_more_layers(100, folder)
