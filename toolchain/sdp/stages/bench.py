"""Stage 5: measure speed, size and memory of the exported file in onnxruntime against the dense one, in turns.

Writes latency.json; on the CPU it also records where the exported file's time goes, layer by layer. The dense file is
exported for the measurement, with the same exporter and settings, and removed.
"""

from __future__ import annotations

from dataclasses import replace

from sdp.evaluation.bench_inputs import bench_inputs
from sdp.models.positions import fitting_lengths, model_positions
from sdp.pipeline.artifacts.latency import BenchLatency
from sdp.pipeline.artifacts.record import StageResult
from sdp.pipeline.context import StageContext
from sdp.pipeline.stages import EXPORT
from sdp_onnx.bench.kernel_profile import profile_model
from sdp_onnx.bench.pair import benchmark_pair
from sdp_onnx.bench.results import ROLES
from sdp_onnx.model.model_file import file_bytes
from sdp_onnx.runtimes.registry import DEFAULT


def run(context: StageContext) -> StageResult:
    """Measure the exported file against the dense file."""
    recipe, run, reporter = context.recipe, context.run, context.reporter
    settings = recipe.bench
    positions = model_positions(run.stage(EXPORT.folder))
    fitting = fitting_lengths(settings, positions).sequence_lengths
    for length in settings.sequence_lengths:
        if length not in fitting:
            reporter.line(f"  {length} tokens are left out: the model can take {positions}")
    with bench_inputs(recipe, run, context.target) as inputs, reporter.task("measuring", 100) as task:
        result = benchmark_pair(
            inputs.baseline,
            inputs.exported,
            inputs.cases,
            threads=settings.thread_counts,
            provider=settings.provider,
            baseline_runtime=settings.runtime,
            seconds_per_case=settings.seconds,
            starts=settings.starts,
            on_progress=lambda name, share: task.update(round(100 * share), name),
        )
        scored = None
        if settings.runtime != DEFAULT:
            # Not before it is asked for: other runs need nothing of it.
            from sdp.evaluation.other_runtime import score_dense

            scored = score_dense(recipe, run, inputs.baseline, reporter)
            result = replace(result, baseline_bytes=file_bytes(inputs.dense))
    profile = None
    # On a GPU onnxruntime's profiler records only the launch of the work.
    if settings.provider == "cpu":
        reporter.line("  profiling the exported file")
        # The same time as each process of the benchmark.
        seconds = settings.seconds / len(ROLES)
        profile = profile_model(inputs.exported, inputs.cases, threads=settings.thread_counts, seconds_per_case=seconds)
    BenchLatency.of(result, profile, scored).store(context.target)
    return {"slowest speed-up": min(case.speedup.value for case in result.cases)}
