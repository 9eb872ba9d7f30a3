"""What `precision` makes of the products in training: bfloat16 or float32, with float32 weights either way."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from sdp.data.batches import Collator, TokenizedSplit, tokenize
from sdp.data.rows import Split
from sdp.evaluation.predict import predict_logits
from sdp.evaluation.torch_network import torch_network
from sdp.losses.task import TaskObjective
from sdp.models.load import load_finetuned, load_pretrained
from sdp.models.source import ModelFolder
from sdp.models.tokenizer import load_tokenizer
from sdp.pipeline.context import StageContext
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import RunFolder
from sdp.recipe.sections import FinetuneSection, Recipe
from sdp.training.device import trains_in_bf16
from sdp.training.run import TrainingRun, train
from support.toy import toy_rows

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
    ("instructions", "precision", "on_cpu", "on_cuda"),
    [
        (["avx2", "avx512_bf16"], "auto", True, True),
        (["amx_bf16"], "auto", True, True),
        (["avx2", "avx512f"], "auto", False, True),
        (["avx2"], "bf16", True, True),
        (["avx512_bf16"], "fp32", False, False),
    ],
)
def test_auto_is_bf16_on_cuda_and_where_the_cpu_has_instructions_for_it(
    instructions: list[str], precision: str, on_cpu: bool, on_cuda: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdp.training.bf16.machine_record", lambda: {"instruction_sets": instructions})
    settings = FinetuneSection.model_validate({"precision": precision})
    assert trains_in_bf16(settings, CPU) is on_cpu
    assert trains_in_bf16(settings, CUDA) is on_cuda


def make_run(toy_model: Path, folder: Path, precision: str) -> TrainingRun:
    """Two steps of a tiny model."""
    tokenizer = load_tokenizer(toy_model)
    texts, labels = zip(*toy_rows(32, seed=1), strict=True)
    split = Split("train", tuple((t,) for t in texts), np.array([int(k == "pos") for k in labels]), ("",) * 32)
    return TrainingRun(
        title="t",
        model=load_pretrained(ModelFolder("toy", toy_model), "classification", ("neg", "pos"), CPU),
        train=TokenizedSplit(tokenize(split.texts, tokenizer, 32), split.labels),
        collator=Collator(tokenizer),
        objective=TaskObjective("classification"),
        settings=FinetuneSection.model_validate({"epochs": 1, "batch_size": 16, "precision": precision}),
        context=StageContext(RECIPE, RunFolder(folder), folder, Reporter(quiet=True)),
        device=CPU,
        evaluate=lambda: 0.0,
    )


@pytest.mark.parametrize(("precision", "product"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_products_are_computed_in_it_and_weights_stay_float32(
    toy_model: Path, tmp_path: Path, precision: str, product: torch.dtype
) -> None:
    run = make_run(toy_model, tmp_path, precision)
    seen: set[torch.dtype] = set()
    layer = run.model.get_submodule("bert.encoder.layer.0.intermediate.dense")
    layer.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    train(run)
    assert seen == {product}
    assert {parameter.dtype for parameter in run.model.parameters()} == {torch.float32}


def test_predictions_between_steps_and_after_them_are_those_of_the_saved_model(toy_model: Path, tmp_path: Path) -> None:
    """In float32: Accelerate leaves its autocast around the model's forward."""
    run = make_run(toy_model, tmp_path, "bf16")
    between: list[np.ndarray] = []

    def evaluate() -> float:
        between.append(predict_logits(torch_network(run.model), run.train, run.collator, 8))
        return 0.0

    train(dataclasses.replace(run, evaluate=evaluate))
    run.model.save_pretrained(tmp_path / "saved")
    batch = run.collator([run.train[row] for row in range(8)])
    with torch.no_grad():
        in_bf16 = run.model.eval()(**{k: v for k, v in batch.items() if k != "index"}).logits.float().numpy()
    saved = predict_logits(torch_network(load_finetuned(tmp_path / "saved")), run.train, run.collator, 8)
    assert np.array_equal(predict_logits(torch_network(run.model), run.train, run.collator, 8), saved)
    assert np.array_equal(between[-1], saved)
    assert not np.allclose(in_bf16, saved[:8], atol=1e-5), "the example must show a difference"
