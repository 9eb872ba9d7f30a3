"""Sentence encoders of several architectures: their vectors against plain transformers, saved, loaded, made smaller."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from transformers import AutoModel

from sdp.data.batches import cosines
from sdp.errors import ModelError
from sdp.models.embedder import is_embedder, pooled
from sdp.models.first_layers import first_layers
from sdp.models.layers import head_parameters, prunable_weights
from sdp.models.load import load_finetuned, load_pretrained
from sdp.models.pooling import Pooled, Pooling, choose_pooling
from sdp.models.source import ModelFolder
from sdp.recipe.load import load_recipe
from support.toy import save_tiny_model, write_project

IDS = torch.tensor([[2, 7, 8, 9, 3], [2, 10, 3, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
CPU = torch.device("cpu")


@pytest.mark.parametrize("kind", ["bert", "distilbert", "xlmr"])
@pytest.mark.parametrize("normalized", [True, False])
def test_vectors_are_those_of_transformers_and_survive_saving(kind: str, normalized: bool, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "model", kind)
    model = load_pretrained(
        ModelFolder("model", folder), "embedding", (), CPU, pooling=Pooling("mean", normalized)
    ).eval()
    inputs = {"input_ids": IDS, "attention_mask": MASK}
    with torch.no_grad():
        hidden = AutoModel.from_pretrained(folder).eval()(**inputs).last_hidden_state
        found = model(**inputs, output_hidden_states=True)
    expected = torch.stack([row[mask.bool()].mean(dim=0) for row, mask in zip(hidden, MASK, strict=True)])
    expected = functional.normalize(expected, dim=1) if normalized else expected
    torch.testing.assert_close(found.logits, expected)
    torch.testing.assert_close(found.hidden_states[-1], hidden)

    model.save_pretrained(tmp_path / "saved")
    again = load_finetuned(tmp_path / "saved").eval()
    assert type(again) is type(model)
    assert is_embedder(again.config)
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, found.logits)
        # transformers alone reads the encoder.
        plain = AutoModel.from_pretrained(tmp_path / "saved").eval()(**inputs).last_hidden_state
    torch.testing.assert_close(plain, hidden)

    names = set(prunable_weights(model))
    assert len(names) == 12
    assert not head_parameters(model)
    short = first_layers(model, 1)
    assert len(prunable_weights(short)) == 6
    assert short(**inputs).logits.shape == found.logits.shape


def test_the_first_token_is_the_vector() -> None:
    hidden = torch.randn(2, 5, 4)
    torch.testing.assert_close(pooled(hidden, MASK, Pooling("cls", normalized=False)), hidden[:, 0])


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode": "max"}, None),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, None),
        ({}, None),
    ],
)
def test_a_folder_states_its_pooling(config: dict[str, object], kind: Pooled | None, tmp_path: Path) -> None:
    recipe = load_recipe(write_project(tmp_path, tmp_path), EMBEDDING)
    modules = [{"type": "sentence_transformers.models.Transformer", "path": ""}]
    modules.append({"type": "sentence_transformers.sentence_transformer.modules.pooling.Pooling", "path": "pool"})
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool/config.json").write_text(json.dumps(config))
    if kind is None:
        with pytest.raises(ModelError, match="the pooling is none"):
            choose_pooling(recipe, tmp_path)
    else:
        assert choose_pooling(recipe, tmp_path) == Pooling(kind, normalized=False)
    named = load_recipe(tmp_path / "toy.toml", [*EMBEDDING, "task.pooling='cls'"])
    assert choose_pooling(named, tmp_path) == Pooling("cls", normalized=True)


@pytest.mark.parametrize(
    ("settings", "prompt"),
    [
        ({}, ""),
        ({"prompts": {"query": "query: "}}, ""),
        ({"prompts": {"query": "query: "}, "default_prompt_name": "query"}, "query: "),
        ({"prompts": {"query": "query: "}, "default_prompt_name": "other"}, ""),
        ({"prompts": ["query: "], "default_prompt_name": "query"}, ""),
    ],
)
def test_the_default_prompt_is_the_one_that_the_folder_names(settings: dict[str, object], prompt: str) -> None:
    assert Pooling("mean", normalized=True, settings=settings).default_prompt == prompt


EMBEDDING = ("task.type='embedding'", "finetune.epochs=0", "prune.labels=false")


@pytest.mark.parametrize("content", ["{", "[1]", '[{"type": "a.Pooling"}]', '[{"type": "a.Pooling", "path": "../x"}]'])
def test_a_damaged_list_of_modules_is_reported(content: str, tmp_path: Path) -> None:
    recipe = load_recipe(write_project(tmp_path, tmp_path), EMBEDDING)
    (tmp_path / "modules.json").write_text(content)
    with pytest.raises(ModelError, match=r"modules\.json"):
        choose_pooling(recipe, tmp_path)


@given(pairs=st.integers(1, 5), size=st.integers(1, 6), seed=st.integers(0, 1000))
@settings(deadline=None)
def test_cosines_are_those_of_each_pair(pairs: int, size: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(2 * pairs, size)).astype(np.float32)
    vectors[0] *= seed % 2
    found = cosines(vectors)
    expected = functional.cosine_similarity(torch.from_numpy(vectors[0::2]), torch.from_numpy(vectors[1::2]))
    np.testing.assert_allclose(found[:, 0], expected.numpy(), atol=1e-5)
    assert found.shape == (pairs, 1)
    # Their lengths do not count.
    np.testing.assert_allclose(cosines(3 * vectors), found, atol=1e-6)
