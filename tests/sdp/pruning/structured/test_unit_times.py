"""Times of units on a real model: that smaller files are made, run, and give an entry for each part."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from sdp.data.batches import Collator
from sdp.models.load import load_finetuned
from sdp.models.removal import remove_units
from sdp.models.tokenizer import saved_tokenizer
from sdp.models.units import find_parts
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import RunFolder
from sdp.pruning.structured import unit_times
from sdp.pruning.structured.unit_times import measure_unit_times, times_key
from sdp.recipe.load import load_recipe
from sdp.training.inputs import finetuned_data, tokenize_split
from sdp_onnx.operators.library import has_library


@pytest.mark.parametrize("precision", ["fp32", pytest.param("int8", marks=pytest.mark.slow)])
def test_every_part_has_times_that_rise(precision: str, finished: Path) -> None:
    if precision == "int8" and not has_library():
        pytest.skip("installed without a C++ compiler")
    recipe = load_recipe(finished / "toy.toml", [f"export.precision={json.dumps(precision)}", "bench.seconds=0.1"])
    run = RunFolder(finished / "runs/toy")
    folder = run.stage("1-finetune")
    model, tokenizer = load_finetuned(folder), saved_tokenizer(folder)
    parts = find_parts(model)
    rows = tokenize_split(finetuned_data(recipe, run).train, tokenizer, recipe)
    times = measure_unit_times(recipe, model, parts, rows, Collator(tokenizer), tokenizer.inputs, Reporter(quiet=True))
    assert times.parts.keys() == {part.name for part in parts}
    for part in parts:
        own = times.parts[part.name]
        assert (own.counts[0], own.counts[-1]) == (0, part.units)
        assert own.ms[0] == 0
        assert list(own.ms) == sorted(own.ms)
    assert all(parameter.numel() for parameter in model.parameters())


def test_the_same_file_has_one_time_and_noise_is_reported(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a busy machine the dense file seemed 2.4 times as slow as itself."""
    recipe = load_recipe(finished / "toy.toml", ["bench.seconds=0.1"])
    run = RunFolder(finished / "runs/toy")
    folder = run.stage("1-finetune")
    model, tokenizer = load_finetuned(folder), saved_tokenizer(folder)
    rows = tokenize_split(finetuned_data(recipe, run).train, tokenizer, recipe)
    for second, noisy in ((0.0041, False), (0.0096, True)):
        monkeypatch.setattr(
            unit_times,
            "fastest_runs",
            lambda files, *_, second=second, **__: [0.004, second, *[0.003] * (len(files) - 2)],
        )
        parts = find_parts(model)
        times = measure_unit_times(recipe, model, parts, rows, Collator(tokenizer), tokenizer.inputs, Reporter())
        assert times.dense == times.whole == 4
        assert ("the machine is busy" in capsys.readouterr().err) is noisy


def test_a_measurement_is_known_by_shapes_and_settings_and_not_by_weights(finished: Path) -> None:
    run = RunFolder(finished / "runs/toy")
    folder = run.stage("1-finetune")
    tokenizer = saved_tokenizer(folder)

    def key(model: PreTrainedModel, *overrides: str) -> str:
        recipe = load_recipe(finished / "toy.toml", overrides)
        return times_key(recipe, model, tokenize_split(finetuned_data(recipe, run).train, tokenizer, recipe))

    model, other = load_finetuned(folder), load_finetuned(folder)
    same = key(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert key(other) == same
    assert key(model, "prune.sparsity=0.3", "prune.learning_rate=1e-5") == same
    for setting in ("bench.threads=[3]", "bench.sequence_lengths=[7]", "export.precision='int8'", "data.train_rows=40"):
        assert key(model, setting) != same
    part = find_parts(other)[0]
    remove_units(other, [part], {part.name: torch.arange(part.units) < 1})
    assert key(other) != same
