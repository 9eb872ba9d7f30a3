"""Stage 5: how fast, how big, how much memory: the exported file against the dense one, in turns, in onnxruntime.

Writes latency.json; on the CPU it also tells where the exported file's time goes, layer by layer. The dense file is
exported for the measurement, with the same exporter and settings, and removed.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdp.console import Reporter
from sdp.data.batches import Collator, TokenizedSplit
from sdp.data.load import load_task_data
from sdp.evaluation.onnx_predict import model_inputs
from sdp.models.load import load_finetuned, load_tokenizer
from sdp.recipe.sections import Recipe
from sdp.run_folder import RunFolder, write_json
from sdp.stages.training_inputs import tokenize_split
from sdp_onnx.bench import ROLES, Case, benchmark_pair
from sdp_onnx.kernel_profile import profile_model
from sdp_onnx.session import create_session
from sdp_onnx.torch_export import export_torch

# Different real inputs in one cell of the grid, so that no cache or branch predictor learns a single one.
BATCHES_IN_A_CELL = 16


def run(recipe: Recipe, run: RunFolder, target: Path, reporter: Reporter) -> dict[str, Any]:
    """Measure the exported file against the dense file."""
    exported = run.stage("4-export") / "model.onnx"
    # Asked for CUDA and not got it: say so before minutes of work.
    session = create_session(exported, provider=recipe.bench.provider)
    names = [value.name for value in session.get_inputs()]
    del session
    tokenizer = load_tokenizer(run.stage("4-export"))
    data = load_task_data(recipe)
    rows = tokenize_split(data.evaluation(recipe.evaluate.split), tokenizer, recipe)
    cases = bench_cases(recipe, rows, Collator(tokenizer), names)
    work = target / "dense"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    limit = recipe.export.external_data_mb * 10**6
    try:
        model = load_finetuned(run.stage("1-finetune"))
        export_torch(
            model, work / "model.onnx", input_names=names, opset=recipe.export.opset, external_data_threshold=limit
        )
        del model
        with reporter.task("measuring", 100) as task:
            result = benchmark_pair(
                work / "model.onnx",
                exported,
                cases,
                threads=recipe.bench.thread_counts,
                provider=recipe.bench.provider,
                seconds_per_case=recipe.bench.seconds,
                on_progress=lambda name, share: task.update(round(100 * share), name),
            )
    finally:
        shutil.rmtree(work, ignore_errors=True)
    content = result.to_json()
    # onnxruntime's profiler sees of a GPU only when its work was handed over.
    if recipe.bench.provider == "cpu":
        reporter.line("  profiling the exported file")
        # As long as each process of the benchmark had.
        seconds = recipe.bench.seconds / len(ROLES)
        profile = profile_model(exported, cases, threads=recipe.bench.thread_counts, seconds_per_case=seconds)
        content["profile"] = profile.to_json()
    write_json(target / "latency.json", content)
    return {"slowest speed-up": min(case.speedup.value for case in result.cases)}


def bench_cases(recipe: Recipe, rows: TokenizedSplit, collator: Collator, names: list[str]) -> list[Case]:
    """The cells of the grid: batches of real text, at the rows' own lengths or filled to a fixed length."""
    generator = np.random.default_rng(recipe.seed)
    cases = []
    for size in recipe.bench.batch_sizes:
        for length in recipe.bench.sequence_lengths:
            if length == "task":
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
    """Rows of exactly `length` real tokens: texts of the task one after the other, cut at the end."""
    ids = np.empty((size, length), dtype=np.int64)
    for row in range(size):
        stream: list[int] = []
        while len(stream) < length:
            stream.extend(rows[int(generator.integers(0, len(rows)))]["input_ids"])
        ids[row] = stream[:length]
    filled = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    return {name: filled[name] for name in names}
