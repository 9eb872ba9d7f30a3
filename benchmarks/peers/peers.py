"""The same pruned model on sdp's operators and on its peers, in turns on one machine.

    python benchmarks/peers/peers.py run --openvino-python PATH --deepsparse-python PATH
    python benchmarks/peers/peers.py table          # Markdown, from the JSON
    python benchmarks/peers/peers.py plot           # the picture, from the JSON

Every peer that is not in sdp's own environment has one of its own; without its interpreter it is left out, which the
JSON tells:

    python3 -m venv openvino-env && openvino-env/bin/pip install openvino==2026.4.1 nncf==3.4.0 onnx
    python3.11 -m venv deepsparse-env && deepsparse-env/bin/pip install deepsparse==1.8.0 "numpy<2"

The model: the shape of XLM-R-base with a classifier, random weights, a vocabulary of 32000, every linear layer of the
encoder pruned to 90 % zeros by magnitude; one weight by one for fp32, in blocks of four inputs (1x4) for int8. All
engines get the same rows of random tokens, without padding.

| engine | what it runs |
|---|---|
| ort-fp32 | export_torch's file; onnxruntime fuses it itself |
| ort-int8 | the same by onnxruntime's quantize_dynamic: MatMul, Gemm and Gather |
| openvino | export_torch's file in OpenVINO's default precision: bf16 where the CPU has it; compiled per shape |
| openvino-int8 | the same after NNCF's post-training quantization for Transformers |
| deepsparse-fp32 | torch's tracing exporter, opset 14, plain attention; compiled per shape |
| deepsparse-int8 | the same by onnxruntime's quantize_static, QOperator, MatMul only, attention's two included |
| ours-fp32, ours-int8 | export_torch's file by encode_model(encoding="kernel"), onnxruntime with the operator library |

Of each peer the fastest variant that was found is taken; what was tried stands where the file is made.

Each engine is a process of its own that loads, is checked against torch, and then takes its turn when told: one
discarded run, runs for about a quarter of a second, a pause in which its threads go to sleep. A ratio is the median
over rounds of the peer's time by ours in the same round. Every cell is written when it is done; `--resume` goes on with
those that are missing. In a virtual machine, see peers_cores.py before you compare cells.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from peers_cell import Cell, measure_cell
from peers_engines import ENGINES, Engine, Runtime
from peers_plot import draw, markdown
from peers_sizes import file_sizes
from sdp_onnx.operators.library import instruction_set
from sdp_onnx.runtimes.environment import environment_record

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "peers.json"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)

Output = Annotated[Path, typer.Option(help="The JSON of the results.")]


@app.command()
def run(
    openvino_python: Annotated[Path | None, typer.Option(help="The interpreter that has OpenVINO and NNCF.")] = None,
    deepsparse_python: Annotated[Path | None, typer.Option(help="The interpreter that has DeepSparse.")] = None,
    lengths: Annotated[str, typer.Option(help="Tokens, with commas.")] = "8,16,32,64,128,384",
    batches: Annotated[str, typer.Option(help="Rows, with commas.")] = "1,16",
    threads: Annotated[str, typer.Option(help="Numbers of threads, with commas.")] = "1,2",
    engines: Annotated[str, typer.Option(help="Names, with commas.")] = ",".join(ENGINES),
    rounds: Annotated[int, typer.Option(min=2, help="Turns of each engine in a cell.")] = 15,
    seconds: Annotated[float, typer.Option(help="A cell that took this long ends early, after 5 rounds.")] = 90.0,
    models: Annotated[Path | None, typer.Option(help="Where model files are kept and found again.")] = None,
    size: Annotated[str, typer.Option(help="base, or tiny to try the program.")] = "base",
    output: Output = RESULTS,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the cells that the JSON has, and measure the rest.")
    ] = (False),
) -> None:
    """Measure, and write the JSON after every cell."""
    unknown = [name for name in engines.split(",") if name not in ENGINES]
    if unknown:
        raise typer.BadParameter(f"no engine is named {', '.join(unknown)}; there are {', '.join(ENGINES)}")
    pythons: dict[Runtime, Path] = {"onnxruntime": Path(sys.executable)}
    if openvino_python is not None:
        pythons["openvino"] = openvino_python
    if deepsparse_python is not None:
        pythons["deepsparse"] = deepsparse_python
    wanted = [ENGINES[name] for name in engines.split(",")]
    chosen = [engine for engine in wanted if engine.runtime in pythons]
    skipped = {e.name: f"no --{e.runtime}-python was given" for e in wanted if e.runtime not in pythons}
    for name, reason in skipped.items():
        _say(f"{name} is left out: {reason}")
    cells = [Cell(*shape) for shape in itertools.product(_numbers(batches), _numbers(lengths), _numbers(threads))]
    rows = max(cell.batch for cell in cells)
    with tempfile.TemporaryDirectory() as temporary:
        folder = models or Path(temporary)
        _say("making the models")
        _build(folder, size, _numbers(lengths), rows, pythons)
        results = _header(folder, size, chosen, skipped)
        if resume:
            _take_over(results, output)
        done = {Cell(known["batch"], known["length"], known["threads"]) for known in results["cells"]}
        output.parent.mkdir(parents=True, exist_ok=True)
        for number, cell in enumerate(cells, start=1):
            if cell in done:
                continue
            measured = measure_cell(cell, chosen, pythons, folder, rows, rounds=rounds, seconds=seconds)
            results["cells"].append(measured)
            output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            times = ", ".join(f"{name} {values['p50_ms']:.1f}" for name, values in measured["engines"].items())
            _say(
                f"[{number}/{len(cells)}] batch {cell.batch}, {cell.length} tokens, {cell.threads} threads: {times} ms"
            )
            for name, reason in measured["failed"].items():
                _say(f"    {name} failed: {reason}")


@app.command()
def table(
    output: Output = RESULTS,
    batch: Annotated[int, typer.Option(help="Rows.")] = 1,
    threads: Annotated[int, typer.Option(help="Threads.")] = 2,
) -> None:
    """Print the results at 32, 128 and 384 tokens as Markdown."""
    print(markdown(json.loads(output.read_text(encoding="utf-8")), batch, threads))


@app.command()
def plot(
    output: Output = RESULTS,
    picture: Annotated[Path | None, typer.Option(help="SVG or PNG; by default beside the JSON, SVG.")] = None,
) -> None:
    """Draw the results."""
    draw(json.loads(output.read_text(encoding="utf-8")), picture or output.with_suffix(".svg"))


def _build(folder: Path, size: str, lengths: list[int], rows: int, pythons: dict[Runtime, Path]) -> None:
    by_length = itertools.chain.from_iterable(("--length", str(length)) for length in lengths)
    script, settings = str(HERE / "peers_models.py"), ["--size", size, "--rows", str(rows), *by_length]
    subprocess.run([sys.executable, script, str(folder), *settings], check=True, stdout=sys.stderr)
    if "openvino" in pythons:
        script = str(HERE / "peers_openvino.py")
        subprocess.run([str(pythons["openvino"]), script, str(folder)], check=True, stdout=sys.stderr)


def _header(folder: Path, size: str, engines: list[Engine], skipped: dict[str, str]) -> dict[str, Any]:
    shape = json.loads((folder / "shape.json").read_text(encoding="utf-8"))
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": {"title": f"XLM-R {size} (random weights), encoder 90 % zeros", **shape},
        "environment": {**environment_record(), "kernels": instruction_set()},
        "engines": {
            engine.name: {
                "title": engine.title,
                "pruning": engine.pruning,
                **file_sizes(folder / engine.file, shape["vocab_size"]),
            }
            for engine in engines
        },
        "skipped": skipped,
        "cells": [],
    }


def _take_over(results: dict[str, Any], output: Path) -> None:
    """Begin with the cells that the JSON has, and with what it tells of their engines."""
    if not output.exists():
        return
    earlier = json.loads(output.read_text(encoding="utf-8"))
    for part in ("model", "environment"):
        if earlier[part] != results[part]:
            raise typer.BadParameter(f"{output} was measured with another {part}; measure into another file")
    results["engines"] = earlier["engines"] | results["engines"]
    results["skipped"] = {k: v for k, v in results["skipped"].items() if k not in results["engines"]}
    results["cells"] = earlier["cells"]


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a list of numbers with commas between them") from error


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    app()
