"""Inputs of a measurement: a temporary dense file, the exported file, and batches of real text."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdp.data.batches import Collator, TokenizedSplit
from sdp.data.load import load_task_data
from sdp.evaluation.predict import model_inputs
from sdp.models.load import load_finetuned
from sdp.models.positions import fitting_lengths, model_positions
from sdp.models.tokenizer import saved_tokenizer
from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.stages import EXPORT, FINETUNE
from sdp.recipe.sections import Recipe
from sdp.training.inputs import tokenize_split
from sdp_onnx.bench.cases import Case
from sdp_onnx.deploy.tokenization import INPUT_NAMES
from sdp_onnx.export.torch_export import export_torch
from sdp_onnx.runtimes.registry import DEFAULT, default_runtime

# Different inputs in one cell of the grid, so that caches and branch predictors do not adapt to a single one.
BATCHES_IN_A_CELL = 16


@dataclass(frozen=True)
class BenchInputs:
    """Two files and the cells of the grid to measure them on.

    Attributes:
        dense: the dense ONNX file.
        baseline: what is measured in its place: that file, or what `bench.runtime` runs of it.
        exported: the exported file.
        cases: the cells.
    """

    dense: Path
    baseline: Path
    exported: Path
    cases: list[Case]


@contextmanager
def bench_inputs(recipe: Recipe, run: RunFolder, folder: Path) -> Iterator[BenchInputs]:
    """Export the dense model with the same exporter and settings, for the duration of the block.

    Args:
        recipe: the recipe.
        run: its run folder, with finished finetune and export.
        folder: folder for the temporary dense file.

    Raises:
        ProviderError: CUDA is requested and missing; raised before the export.
    """
    exported = run.stage(EXPORT.folder) / "model.onnx"
    cases = read_cases(recipe, run)
    work = folder / "dense"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    dense, names = work / "model.onnx", list(cases[0].batches[0])
    try:
        export_torch(
            load_finetuned(run.stage(FINETUNE.folder)),
            dense,
            input_names=names,
            opset=recipe.export.opset,
            external_data_threshold=recipe.export.external_data_mb * 10**6,
        )
        baseline = dense
        if recipe.bench.runtime != DEFAULT:
            # Not before it is asked for: other runs need nothing of it.
            from sdp.evaluation.other_runtime import dense_in

            baseline = dense_in(recipe, run, dense, names)
        yield BenchInputs(dense, baseline, exported, cases)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def read_cases(recipe: Recipe, run: RunFolder) -> list[Case]:
    """Return the cells of the grid, with the inputs that the exported file takes."""
    model = default_runtime().load(run.stage(EXPORT.folder) / "model.onnx", provider=recipe.bench.provider)
    names = list(model.input_names)
    del model
    tokenizer = saved_tokenizer(run.stage(EXPORT.folder))
    rows = tokenize_split(load_task_data(recipe).evaluation(recipe.evaluate.split), tokenizer, recipe)
    lengths = fitting_lengths(recipe.bench, model_positions(run.stage(EXPORT.folder))).sequence_lengths
    return bench_cases(recipe, lengths, rows, Collator(tokenizer), names)


def bench_cases(
    recipe: Recipe, lengths: Sequence[int | str], rows: TokenizedSplit, collator: Collator, names: list[str]
) -> list[Case]:
    """Return the cells of the grid: batches of real text, with the rows' own lengths ("task") or a fixed length."""
    generator = np.random.default_rng(recipe.seed)
    cases = []
    for size in recipe.bench.batch_sizes:
        for length in lengths:
            if isinstance(length, str):
                draws = [generator.integers(0, len(rows), size).tolist() for _ in range(BATCHES_IN_A_CELL)]
                batches = [model_inputs(rows, chosen, collator, names) for chosen in draws]
                cases.append(Case(f"batch {size}, task lengths", size, None, batches))
            else:
                batches = [_filled(rows, size, length, names, generator) for _ in range(BATCHES_IN_A_CELL)]
                cases.append(Case(f"batch {size}, {length} tokens", size, length, batches))
    return cases


def _filled(
    rows: TokenizedSplit, size: int, length: int, names: list[str], generator: np.random.Generator
) -> dict[str, NDArray[np.int64]]:
    """Return rows of exactly `length` real tokens: concatenated texts of the task, truncated at the end."""
    ids = np.empty((size, length), dtype=np.int64)
    for row in range(size):
        stream: list[int] = []
        while len(stream) < length:
            stream.extend(rows[int(generator.integers(0, len(rows)))]["input_ids"])
        ids[row] = stream[:length]
    filled = dict(zip(INPUT_NAMES, (ids, np.ones_like(ids), np.zeros_like(ids)), strict=True))
    return {name: filled[name] for name in names}
