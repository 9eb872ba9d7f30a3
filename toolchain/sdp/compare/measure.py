"""The exported files of two runs, measured in turns."""

from __future__ import annotations

from pathlib import Path

from sdp.errors import UsageError
from sdp.evaluation.bench_inputs import read_cases
from sdp.pipeline.files import read_json
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.stages import EXPORT
from sdp.recipe.sections import Recipe
from sdp_onnx.bench.pair import benchmark_pair
from sdp_onnx.bench.results import BenchResult
from sdp_onnx.deploy.verify_folder import MODEL_FILE


def measure_in_turns(before: Path, after: Path, recipe: Recipe, reporter: Reporter) -> BenchResult:
    """Measure the file of `after` (candidate) against the one of `before` (baseline) on the cells of `after`'s recipe.

    Args:
        before, after: run folders.
        recipe: of `after`; its data gives the inputs.
        reporter: shows progress.

    Returns:
        the benchmark of the two files.

    Raises:
        UsageError: the files have different vocabularies.
        ModelFileError: a file is missing or does not take the inputs.
    """
    exports = [RunFolder(run).stage(EXPORT.folder) for run in (before, after)]
    pieces = [(read_json(export / "config.json") or {}).get("vocab_size") for export in exports]
    if pieces[0] != pieces[1]:
        what = f"the models have {pieces[0]} and {pieces[1]} pieces: the same token ids would mean different texts"
        hint = "Compare without --measure, or each with its own dense file (sdp bench RUN)."
        raise UsageError(what, where=f"{before}, {after}", hint=hint)
    settings = recipe.bench
    with reporter.task("measuring both files", 100) as task:
        return benchmark_pair(
            exports[0] / MODEL_FILE,
            exports[1] / MODEL_FILE,
            read_cases(recipe, RunFolder(after)),
            threads=settings.thread_counts,
            provider=settings.provider,
            seconds_per_case=settings.seconds,
            starts=settings.starts,
            on_progress=lambda name, share: task.update(round(100 * share), name),
        )
