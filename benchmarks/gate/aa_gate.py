"""The gate on a model against itself, over and over, while something else keeps a core busy: how often is it wrong?

    python benchmarks/gate/aa_gate.py run runs/quickstart [--times 20] [--budget 20]
    python benchmarks/gate/aa_gate.py table

A run folder whose evaluation and export are done is copied, and its exported file replaced by the dense model's: the
benchmark's baseline and candidate are then one model exported twice. Then the real stages `bench` and `gate` run, with
thresholds exactly at the truth: no loss of the metric, no growth, a speed-up of 1. Meanwhile a process spins on one of
the cores. "pass" and "inconclusive" are both right; "fail" is wrong, and a gate that CI trusts never says it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from safetensors.numpy import load_file

from sdp.data.batches import Collator
from sdp.data.load import load_task_data
from sdp.evaluation.bench_inputs import bench_inputs
from sdp.evaluation.on_split import compare_models
from sdp.evaluation.predict import onnx_network, predict_logits
from sdp.models.tokenizer import load_tokenizer
from sdp.pipeline.artifacts.comparison import ExportMetrics
from sdp.pipeline.artifacts.latency import BenchLatency
from sdp.pipeline.artifacts.verdict import GateVerdict
from sdp.pipeline.context import StageContext
from sdp.pipeline.files import read_json
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import RUN_FILE, RunFolder
from sdp.pipeline.stages import BENCH, EVALUATE, EXPORT, GATE
from sdp.recipe import Recipe, load_recipe
from sdp.recipe.gate import GateSection
from sdp.stages import bench, gate
from sdp.training.inputs import tokenize_split
from sdp_onnx.runtimes.environment import environment_record
from sdp_onnx.runtimes.registry import default_runtime

RESULTS = Path(__file__).parents[1] / "results" / "aa_gate.json"
COPIED = ("1-finetune", "3-evaluate", "4-export")
# It ends with whoever started it, however that ends.
SPIN = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): pass"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)

Output = Annotated[Path, typer.Option(help="The JSON of the results.")]


@app.command()
def run(
    folders: Annotated[list[Path], typer.Argument(help="Run folders whose evaluation and export are done.")],
    times: Annotated[int, typer.Option(help="How often each is gated.")] = 20,
    budget: Annotated[float, typer.Option(help="The gate's budget in seconds.")] = 20.0,
    output: Output = RESULTS,
) -> None:
    """Gate each model against itself, write the JSON after every gate, and end with 1 if any failed."""
    results: list[dict[str, Any]] = []
    output.parent.mkdir(parents=True, exist_ok=True)
    for folder in folders:
        results.append({})
        for results[-1] in against_itself(folder, times, budget):
            content = {
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
                "environment": environment_record(),
                "results": results,
            }
            output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    table(output)
    if any("fail" in result["verdicts"] for result in results):
        raise typer.Exit(1)


@app.command()
def table(output: Output = RESULTS) -> None:
    """Print how often each verdict was given, as Markdown."""
    print("| model | gates | pass | inconclusive | fail | measured again | widest A/A deviation |")
    print("|---|---|---|---|---|---|---|")
    for result in json.loads(output.read_text(encoding="utf-8"))["results"]:
        gates, verdicts = result["gates"], result["verdicts"]
        counts = " | ".join(str(verdicts.get(name, 0)) for name in ("pass", "inconclusive", "fail"))
        again = sum(one["measured_again"]["looks"] > 0 for one in gates)
        deviation = max(abs(ratio - 1) for one in gates for ratio in one["same_file"])
        print(f"| {result['recipe']} | {len(gates)} | {counts} | {again} | {deviation:.1%} |")


def against_itself(folder: Path, times: int, budget: float) -> Iterator[dict[str, Any]]:
    """Gate the dense model of a run folder against itself.

    Yields:
        after every gate the verdicts so far, by number, and of each gate its checks, looks and A/A ratios.
    """
    owner = read_json(folder / RUN_FILE)
    if owner is None:
        raise typer.BadParameter(f"{folder} is no run folder")
    thresholds = GateSection(
        max_metric_drop=0.0, max_part_drop=0.0, max_size_ratio=1.0, min_speedup=1.0, budget_seconds=budget
    )
    recipe = load_recipe((folder / owner["file"]).resolve(), owner["overrides"]).model_copy(update={"gate": thresholds})
    gates = []
    with tempfile.TemporaryDirectory() as temporary:
        copy = RunFolder(Path(temporary))
        for name in COPIED:
            shutil.copytree(folder / name, copy.stage(name))
        ship_the_dense_model(recipe, copy)
        for number in range(times):
            with busy_core():
                gates.append(gate_once(recipe, copy))
            print(f"{recipe.name} {number + 1}/{times}: {gates[-1]['verdict']}", file=sys.stderr)
            verdicts = Counter(one["verdict"] for one in gates)
            yield {"recipe": recipe.name, "budget_seconds": budget, "verdicts": dict(verdicts), "gates": gates}


def ship_the_dense_model(recipe: Recipe, run: RunFolder) -> None:
    """Put the dense model in the place of the exported one, and score it as the export stage does."""
    with bench_inputs(recipe, run, run.path) as inputs:
        shutil.copy(inputs.dense, inputs.exported)
        for weights in inputs.dense.parent.glob("*.data"):
            shutil.copy(weights, inputs.exported.parent)
    data = load_task_data(recipe)
    split = data.evaluation(recipe.evaluate.split)
    tokenizer = load_tokenizer(run.stage(EXPORT.folder))
    rows = tokenize_split(split, tokenizer, recipe)
    model = default_runtime().load(run.stage(EXPORT.folder) / "model.onnx")
    logits = predict_logits(onnx_network(model), rows, Collator(tokenizer), recipe.evaluate.batch_size)
    dense = load_file(run.stage(EVALUATE.folder) / "predictions.safetensors")["dense"]
    found = compare_models(recipe, data, split, rows, ("dense", dense), ("exported", logits))
    before = ExportMetrics.load(run)
    # "torch" is of the file in its place before; no threshold of these gates reads it.
    metrics = ExportMetrics(**found.given(), constant=before.constant, torch=before.torch)
    metrics.store(run.stage(EXPORT.folder))


def gate_once(recipe: Recipe, run: RunFolder) -> dict[str, Any]:
    """Run the stages bench and gate anew."""
    started = time.monotonic()
    for stage, folder in ((bench, BENCH.folder), (gate, GATE.folder)):
        shutil.rmtree(run.stage(folder), ignore_errors=True)
        run.stage(folder).mkdir()
        stage.run(StageContext(recipe, run, run.stage(folder), Reporter(quiet=True)))
    verdict, measured = GateVerdict.load(run).to_json(), BenchLatency.load(run).to_json()
    keys = ("name", "outcome", "value", "low", "high", "subject")
    return {
        "verdict": verdict["verdict"],
        "measured_again": verdict["measured_again"],
        "checks": [{key: check[key] for key in keys} for check in verdict["checks"]],
        "same_file": [start["same_file"] for case in measured["cases"] for start in case["starts"]],
        "load_average": measured["load_average"],
        "seconds": round(time.monotonic() - started, 1),
    }


@contextmanager
def busy_core() -> Iterator[int]:
    """A process, by its id, that spins as long as the block lasts, on one core where the system can bind it to one."""
    process = subprocess.Popen([sys.executable, "-c", SPIN, str(os.getpid())])
    try:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, {min(os.sched_getaffinity(0))})
        yield process.pid
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    app()
