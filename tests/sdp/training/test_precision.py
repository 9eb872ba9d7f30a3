"""What `precision` makes of the products in training: bfloat16 or float32, with float32 weights either way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from sdp.console import Reporter
from sdp.data.batches import Collator, TokenizedSplit, tokenize
from sdp.data.rows import Split
from sdp.losses.objective import Objective
from sdp.models.load import load_pretrained
from sdp.models.source import ModelFolder
from sdp.recipe.sections import FinetuneSection, Recipe
from sdp.training.run import TrainingRun, train, trains_in_bf16
from toy import toy_rows

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
RECIPE = Recipe.model_validate(
    {
        "name": "x",
        "model": {"name": "m"},
        "task": {"type": "classification"},
        "data": {"train": "t", "dev": "d", "text": ("a",), "label": "l"},
    }
)


@pytest.mark.parametrize(
    ("precision", "on_cpu", "on_cuda"), [("auto", False, True), ("bf16", True, True), ("fp32", False, False)]
)
def test_auto_is_bf16_on_cuda_alone(precision: str, on_cpu: bool, on_cuda: bool) -> None:
    settings = FinetuneSection.model_validate({"precision": precision})
    assert trains_in_bf16(settings, CPU) is on_cpu
    assert trains_in_bf16(settings, CUDA) is on_cuda


@pytest.mark.parametrize(("precision", "product"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_products_are_computed_in_it_and_weights_stay_float32(
    toy_model: Path, tmp_path: Path, precision: str, product: torch.dtype
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(toy_model)
    texts, labels = zip(*toy_rows(32, seed=1), strict=True)
    split = Split("train", tuple((t,) for t in texts), np.array([int(k == "pos") for k in labels]), ("",) * 32)
    model = load_pretrained(ModelFolder("toy", toy_model), "classification", ("neg", "pos"), CPU)
    seen: set[torch.dtype] = set()
    layer = model.get_submodule("bert.encoder.layer.0.intermediate.dense")
    layer.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    run = TrainingRun(
        title="t",
        model=model,
        train=TokenizedSplit(tokenize(split, tokenizer, 32), split.labels),
        collator=Collator(tokenizer),
        objective=Objective("classification"),
        settings=FinetuneSection.model_validate({"epochs": 1, "batch_size": 16, "precision": precision}),
        folder=tmp_path,
        device=CPU,
        evaluate=lambda: 0.0,
    )
    train(run, RECIPE, Reporter(quiet=True))
    assert seen == {product}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
