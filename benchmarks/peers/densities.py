"""From which sparsity on the operator library gains, and whether the exporter's choice ever loses.

    python benchmarks/peers/densities.py run [--size minilm]
    python benchmarks/peers/densities.py table

The same random encoder is pruned to several sparsities, exported, and encoded with `encoding = "kernel"`, where the
exporter decides layer by layer whether a sparse product gains: in fp32 unstructured, in int8 in 1x4 blocks. Each file
is measured against the dense fp32 file in onnxruntime, in turns, by the same code as `sdp bench`. A file in which no
layer is sparse enough for fp32 stays as it is; its ratio of about 1 is what the machine's noise looks like.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from peers_inputs import INPUTS, SIZES, random_inputs
from peers_models import pruned_model
from sdp_onnx.bench.cases import Case
from sdp_onnx.bench.pair import benchmark_pair
from sdp_onnx.export.encode import encode_model
from sdp_onnx.export.kernel_choice import Precision
from sdp_onnx.export.torch_export import export_torch
from sdp_onnx.model.inspect import inspect_model
from sdp_onnx.operators.library import instruction_set

RESULTS = Path(__file__).parents[1] / "results" / "densities.json"

SPARSITIES = (0.3, 0.5, 0.58, 0.65, 0.7, 0.8, 0.9, 0.95)
# Batch size and tokens: short texts, long ones, and many short ones, which share groups of 16 tokens.
SHAPES = ((1, 8), (1, 32), (1, 128), (16, 8), (16, 32))
THREADS = 2

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)

Output = Annotated[Path, typer.Option(help="The JSON of the results.")]


@app.command()
def run(
    size: Annotated[str, typer.Option(help=f"One of {', '.join(SIZES)}.")] = "minilm",
    seconds: Annotated[float, typer.Option(help="Time for each file in each case.")] = 2.0,
    output: Output = RESULTS,
) -> None:
    """Measure every sparsity in both precisions, and write the JSON."""
    if size not in SIZES:
        raise typer.BadParameter(f"no size is named {size}; there are {', '.join(SIZES)}")
    vocabulary = SIZES[size]["vocab_size"]
    cases = [
        Case(f"{rows} x {length}", rows, length, [random_inputs(vocabulary, rows, length, seed) for seed in range(8)])
        for rows, length in SHAPES
    ]
    results: list[dict[str, Any]] = []
    environment: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as temporary:
        dense, encoded = Path(temporary, "dense.onnx"), Path(temporary, "encoded.onnx")
        for sparsity, precision in itertools.product(SPARSITIES, get_args(Precision)):
            model = pruned_model(size, "1x4" if precision == "int8" else "unstructured", sparsity)
            export_torch(model, dense, input_names=INPUTS)
            del model
            encode_model(dense, encoded, encoding="kernel", precision=precision, metadata={})
            measured = benchmark_pair(dense, encoded, cases, threads=[THREADS], seconds_per_case=seconds, starts=3)
            environment = measured.environment
            speedups = {case.case: asdict(case) for case in measured.cases}
            results.append(
                {
                    "sparsity": sparsity,
                    "precision": precision,
                    "operators": inspect_model(encoded).operators,
                    "bytes": [measured.baseline_bytes, measured.candidate_bytes],
                    "cases": speedups,
                }
            )
            shown = ", ".join(f"{name}: {case['speedup']['value']:.2f}" for name, case in speedups.items())
            print(f"{sparsity:.0%} zeros, {precision}: {shown}", file=sys.stderr, flush=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "size": {"name": size, **SIZES[size]},
        "threads": THREADS,
        "kernels": instruction_set(),
        "environment": environment,
        "results": results,
    }
    output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


@app.command()
def table(output: Output = RESULTS) -> None:
    """Print the speed-ups with their intervals as Markdown."""
    content = json.loads(output.read_text(encoding="utf-8"))
    names = list(content["results"][0]["cases"])
    print(f"| zeros | precision | {' | '.join(names)} |\n|---|---|{'---|' * len(names)}")
    for result in content["results"]:
        speedups = [result["cases"][name]["speedup"] for name in names]
        cells = " | ".join(f"{s['value']:.2f} [{s['low']:.2f}, {s['high']:.2f}]" for s in speedups)
        print(f"| {result['sparsity']:.0%} | {result['precision']} | {cells} |")


if __name__ == "__main__":
    app()
