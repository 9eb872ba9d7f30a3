"""A network that computes in int8 against its exported file, run by onnxruntime with the operator library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from sdp.models.architectures import ARCHITECTURES
from sdp.models.int8_network import compute_in_int8, computing_in_int8
from sdp.models.layers import prunable_weights
from sdp.models.removal import remove_units
from sdp.models.units import find_parts
from sdp_onnx.export.encode import encode_model
from sdp_onnx.export.torch_export import export_torch
from sdp_onnx.operators.int8_coverage import FEWEST_KEYS
from sdp_onnx.operators.library import has_library
from sdp_onnx.runtimes.registry import default_runtime
from support.tiny_models import tiny_model

needs_library = pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")
INPUTS = ("input_ids", "attention_mask")
# Tables of pieces and positions that are stored in int8, and sequences whose attention is.
SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "vocab_size": 300,
    "max_position_embeddings": 300,
}
Feed = dict[str, NDArray[np.int64]]


def blocked_model(kind: str, sparsity: float, **more: Any) -> PreTrainedModel:
    """A tiny classifier, its linear weights pruned in blocks of four inputs."""
    model: PreTrainedModel = tiny_model(kind, **{**SIZES, **more})
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in prunable_weights(model).values():
            kept = torch.rand(weight.shape[0], weight.shape[1] // 4, generator=generator) >= sparsity
            weight.mul_(kept.repeat_interleave(4, dim=1))
    return model


def batches(model: PreTrainedModel, shapes: tuple[tuple[int, int], ...]) -> list[Feed]:
    """Rows of fewer and fewer tokens."""
    found = []
    for rows, tokens in shapes:
        rng = np.random.default_rng(tokens)
        lengths = np.linspace(tokens, max(1, tokens // 2), rows).astype(int)
        mask = (np.arange(tokens) < lengths[:, None]).astype(np.int64)
        ids = np.where(mask == 1, rng.integers(5, model.config.vocab_size, mask.shape), model.config.pad_token_id)
        found.append({"input_ids": ids, "attention_mask": mask})
    return found


def logits(model: PreTrainedModel, feed: Feed) -> NDArray[np.float32]:
    with torch.no_grad():
        return np.asarray(model(**{name: torch.from_numpy(array) for name, array in feed.items()}).logits.numpy())


def differences(
    model: PreTrainedModel, shapes: tuple[tuple[int, int], ...], folder: Path
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each row, the largest difference to the file's logits, relative to the largest: in int8, and in float."""
    export_torch(model, folder / "dense.onnx", input_names=INPUTS)
    encode_model(folder / "dense.onnx", folder / "int8.onnx", encoding="kernel", precision="int8", metadata={})
    file = default_runtime().load(folder / "int8.onnx", threads=1)
    found: tuple[list[float], list[float]] = ([], [])
    for feed in batches(model, shapes):
        expected = file.run(feed)
        for kept, in_int8 in zip(found, (True, False), strict=True):
            with computing_in_int8(model, in_int8):
                error = np.abs(logits(model, feed) - expected) / np.abs(expected).max()
            # The file computes nothing at padding.
            error = error * (feed["attention_mask"][..., None] if error.ndim == 3 else 1)
            kept.extend(error.reshape(len(error), -1).max(axis=1).tolist())
    return np.array(found[0]), np.array(found[1])


@needs_library
# MPNet's attention stays in float, and ModernBERT's of windows; GTE's has rotary positions.
@pytest.mark.parametrize(
    ("kind", "sparsity"),
    [("bert", 0.0), ("xlm-roberta", 0.0), ("xlm-roberta", 0.9), ("mpnet", 0.9), ("gte", 0.9), ("modernbert", 0.9)],
)
def test_it_gives_the_logits_of_its_file(kind: str, sparsity: float, tmp_path: Path) -> None:
    model = blocked_model(kind, sparsity)
    # In the second batch some rows are long enough for attention in int8, in the third all.
    own, plain = differences(model, ((12, 20), (12, 2 * FEWEST_KEYS - 20), (6, 2 * FEWEST_KEYS + 20)), tmp_path)
    # A value half way between two steps may be rounded either way, and a row with one differs by a step.
    assert np.mean(own < 1e-5) >= 0.8
    assert own.mean() < plain.mean() / 10


@needs_library
def test_a_network_with_few_heads_and_neurons_gives_the_logits_of_its_file(tmp_path: Path) -> None:
    model = blocked_model("bert", 0.8)
    parts = find_parts(model)
    # Heads and neurons of the first layer, then of the second: none of a part is a constant.
    left = dict(zip((part.name for part in parts), (0, 64, 1, 32), strict=True))
    remove_units(model, parts, {part.name: torch.arange(part.units) < left[part.name] for part in parts})
    own, plain = differences(model, ((12, 20), (6, 2 * FEWEST_KEYS + 20)), tmp_path)
    assert np.mean(own < 1e-5) >= 0.8
    assert own.mean() < plain.mean() / 5


@needs_library
@pytest.mark.parametrize(
    "kind",
    [
        *("albert", "electra", "distilbert"),
        *(
            pytest.param(row.model_type, marks=pytest.mark.slow)
            for row in ARCHITECTURES
            if not row.refused and row.model_type not in ("albert", "electra", "distilbert")
        ),
    ],
)
def test_every_kind_gives_the_logits_of_its_file(kind: str, tmp_path: Path) -> None:
    own, plain = differences(tiny_model(kind), ((12, 20), (4, 7)), tmp_path)
    assert np.mean(own < 2e-5) >= 0.75
    assert own.mean() < plain.mean() / 5


@needs_library
def test_what_labels_tokens_is_rounded_where_the_file_rounds_it(tmp_path: Path) -> None:
    model = tiny_model("bert", tagger=True, **SIZES, num_labels=8)
    assert model.classifier.out_features == 8
    own, plain = differences(model, ((8, 12),), tmp_path)
    assert np.mean(own < 1e-5) >= 0.75
    assert own.mean() < plain.mean() / 5


def test_switched_off_it_is_the_network_that_it_was(tmp_path: Path) -> None:
    model = blocked_model("bert", 0.5)
    (feed,) = batches(model, ((5, 130),))
    before, names = logits(model, feed), list(model.state_dict())
    compute_in_int8(model, True)
    rounded = logits(model, feed)
    assert not np.allclose(rounded, before, rtol=0, atol=1e-4)
    assert list(model.state_dict()) == names
    model.save_pretrained(tmp_path)
    assert "int8" not in (tmp_path / "config.json").read_text()
    compute_in_int8(model, True)
    np.testing.assert_array_equal(logits(model, feed), rounded)
    compute_in_int8(model, False)
    np.testing.assert_array_equal(logits(model, feed), before)
    again = type(model).from_pretrained(tmp_path).eval()
    np.testing.assert_array_equal(logits(again, feed), before)


def test_lower_precision_changes_no_logit() -> None:
    model = blocked_model("xlm-roberta", 0.5)
    for feed in batches(model, ((5, 130), (3, 20))):
        with computing_in_int8(model):
            expected = logits(model, feed)
            with torch.autocast("cpu", torch.bfloat16):
                np.testing.assert_array_equal(logits(model, feed), expected)


@pytest.mark.parametrize("tokens", [20, 130])
def test_layers_that_are_computed_again_have_the_same_gradients(tokens: int) -> None:
    model = blocked_model("bert", 0.5).train()
    (feed,) = batches(model, ((5, tokens),))
    inputs = {name: torch.from_numpy(array) for name, array in feed.items()}

    def gradients() -> list[torch.Tensor]:
        torch.manual_seed(0)
        model.zero_grad()
        model(**inputs).logits.square().sum().backward()
        return [weight.grad.clone() for weight in prunable_weights(model).values() if weight.grad is not None]

    compute_in_int8(model, True)
    kept = gradients()
    model.activation_checkpointing_enable({"use_reentrant": False})
    again = gradients()
    assert len(kept) == len(again) == 12
    assert all(own.equal(other) for own, other in zip(kept, again, strict=True))
    assert all(own.any() for own in kept)


def test_a_model_that_the_operators_cannot_take_stays_as_it_is() -> None:
    model = tiny_model("bert", **{**SIZES, "hidden_size": 18, "intermediate_size": 22, "num_attention_heads": 2})
    (feed,) = batches(model, ((3, 20),))
    before = logits(model, feed)
    with computing_in_int8(model):
        np.testing.assert_array_equal(logits(model, feed), before)
