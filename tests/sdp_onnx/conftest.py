"""Tiny real models, exported once per run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from sdp_onnx.export.torch_export import export_torch

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 120,
    "max_position_embeddings": 64,
    "num_labels": 3,
}
BERT_INPUTS = ("input_ids", "token_type_ids", "attention_mask")
XLMR_INPUTS = ("input_ids", "attention_mask")

Feed = dict[str, NDArray[np.int64]]


def pruned(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Random weights, nine tenths of each matrix zero, by multiplication with a mask as training does it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
            if parameter.ndim == 2:
                parameter.mul_(torch.rand(parameter.shape, generator=generator) > 0.9)
    return model.eval()


def batch(names: tuple[str, ...], rows: int, tokens: int, seed: int = 0) -> Feed:
    """Random rows; all but the first are padded at the end."""
    rng = np.random.default_rng(seed)
    mask = np.ones((rows, tokens), dtype=np.int64)
    for row in range(1, rows):
        mask[row, max(1, tokens - row * tokens // 3) :] = 0
    ids = np.where(mask == 1, rng.integers(5, 120, (rows, tokens)), 1)
    feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    return {name: feed[name] for name in names}


def torch_logits(model: torch.nn.Module, feed: Feed) -> NDArray[np.float32]:
    with torch.no_grad():
        return model(**{name: torch.from_numpy(array) for name, array in feed.items()}).logits.numpy()


@pytest.fixture(scope="session")
def bert() -> torch.nn.Module:
    return pruned(BertForSequenceClassification(BertConfig(**SIZES)))


@pytest.fixture(scope="session")
def xlmr() -> torch.nn.Module:
    return pruned(XLMRobertaForSequenceClassification(XLMRobertaConfig(**SIZES, type_vocab_size=1)))


@pytest.fixture(scope="session")
def bert_file(bert: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("bert") / "model.onnx"
    export_torch(bert, target, input_names=BERT_INPUTS)
    return target


@pytest.fixture(scope="session")
def xlmr_file(xlmr: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("xlmr") / "model.onnx"
    export_torch(xlmr, target, input_names=XLMR_INPUTS)
    return target


@pytest.fixture(scope="session")
def make_batch() -> Callable[..., Feed]:
    return batch


@pytest.fixture(scope="session")
def run_torch() -> Callable[[torch.nn.Module, Feed], NDArray[np.float32]]:
    return torch_logits


@pytest.fixture(scope="session")
def input_names() -> dict[str, tuple[str, ...]]:
    return {"bert": BERT_INPUTS, "xlmr": XLMR_INPUTS}
