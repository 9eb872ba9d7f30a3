"""The same pruned model on sdp's operators and on its peers, in turns on one machine.

    python benchmarks/peers/peers.py run --openvino-python PATH --deepsparse-python PATH
    python benchmarks/peers/peers.py table          # Markdown, from the JSON
    python benchmarks/peers/peers.py plot           # the picture, from the JSON
    python benchmarks/peers/peers.py callers --openvino-python PATH --deepsparse-python PATH

Every peer that is not in sdp's own environment has one of its own; without its interpreter it is left out, and the
JSON has the reason:

    python3 -m venv openvino-env && openvino-env/bin/pip install openvino==2026.4.1 nncf==3.4.0 onnx
    python3.11 -m venv deepsparse-env && deepsparse-env/bin/pip install deepsparse==1.8.0 "numpy<2"

The model: the shape of XLM-R-base with a classifier, random weights, a vocabulary of 32000, the linear layers of the
encoder pruned by magnitude; one weight by one for fp32, in blocks of four inputs (1x4) for int8. All engines get the
same rows of random tokens. Where all texts have one length there is no padding. Where their lengths are those of real
texts (`--texts`, see peers_lengths.py), each engine runs the batch padded in one call, sorted by length in four calls,
and text by text, and its fastest way counts.

| engine | what it runs |
|---|---|
| ort-fp32 | export_torch's file; onnxruntime fuses it itself |
| ort-int8 | the same by onnxruntime's quantize_dynamic: MatMul, Gemm and Gather |
| ort-int8-static | the same by onnxruntime's quantize_static: QDQ, MatMul and Gemm, one scale for each output |
| openvino | export_torch's file in OpenVINO's default precision: bf16 where the CPU has it |
| openvino-int8 | the same after NNCF's post-training quantization for Transformers |
| deepsparse-fp32 | torch's tracing exporter, opset 14, plain attention; compiled per shape; 90 % zeros |
| deepsparse-int8 | the same by quantize_static, QOperator, MatMul only, attention's two included; 90 % zeros |
| ours-fp32-*, ours-int8-* | export_torch's file by encode_model(encoding="kernel"), with so many per cent of zeros |

OpenVINO is compiled for each shape; for many shapes at once, which is slower, only where a batch is run text by text.
Of each peer the fastest variant that was found is taken; what was tried stands where the file is made.

Each engine is a process of its own that loads, is checked against torch, and then takes its turn when asked: one
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
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from peers_callers import markdown as callers_markdown
from peers_callers import measure_callers
from peers_cell import Cell, measure_cell
from peers_engines import ENGINES, Engine, Runtime, ours
from peers_inputs import SIZES, random_inputs
from peers_lengths import QUANTILES
from peers_limits import machine_limits, product_shares
from peers_plot import draw, markdown
from peers_sizes import file_sizes
from sdp_onnx.bench.cases import Case
from sdp_onnx.operators.library import instruction_set
from sdp_onnx.runtimes.environment import environment_record

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "peers.json"
CALLERS_RESULTS = RESULTS.with_name("callers.json")
WITH_CALLERS = (
    "ort-fp32",
    "ort-int8",
    "openvino",
    "openvino-int8",
    "deepsparse-fp32",
    "deepsparse-int8",
    ours("fp32", 90),
    ours("int8", 0),
    ours("int8", 90),
)
TEXTS_OF_CALLERS = 32

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)

Output = Annotated[Path, typer.Option(help="The JSON of the results.")]
OpenVinoPython = Annotated[Path | None, typer.Option(help="The interpreter that has OpenVINO and NNCF.")]
DeepSparsePython = Annotated[Path | None, typer.Option(help="The interpreter that has DeepSparse.")]
Models = Annotated[Path | None, typer.Option(help="Where model files are kept and found again.")]


@app.command()
def run(
    openvino_python: OpenVinoPython = None,
    deepsparse_python: DeepSparsePython = None,
    lengths: Annotated[str, typer.Option(help="Tokens, with commas.")] = "8,16,32,64,128,384",
    batches: Annotated[str, typer.Option(help="Rows, with commas.")] = "1,16",
    texts: Annotated[str, typer.Option(help="Distributions of lengths, with commas.")] = ",".join(QUANTILES),
    mixed: Annotated[int, typer.Option(min=2, help="Texts of a batch of different lengths.")] = 32,
    threads: Annotated[str, typer.Option(help="Numbers of threads, with commas.")] = "1,2",
    engines: Annotated[str, typer.Option(help="Names, with commas.")] = ",".join(ENGINES),
    rounds: Annotated[int, typer.Option(min=2, help="Turns of each engine in a cell.")] = 15,
    seconds: Annotated[float, typer.Option(help="A cell that took this long ends early, after 5 rounds.")] = 90.0,
    models: Models = None,
    size: Annotated[str, typer.Option(help="base, minilm, or tiny to try the program.")] = "base",
    output: Output = RESULTS,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the cells that the JSON has, and measure the rest.")
    ] = (False),
) -> None:
    """Measure, and write the JSON after every cell."""
    pythons = _pythons(openvino_python, deepsparse_python)
    chosen, skipped = _chosen(engines, pythons)
    distributions = [name for name in texts.split(",") if name]
    if unknown := [name for name in distributions if name not in QUANTILES]:
        raise typer.BadParameter(f"no distribution is named {unknown[0]}; there are {', '.join(QUANTILES)}")
    shapes: list[tuple[int, int | str]] = [*itertools.product(_numbers(batches), _numbers(lengths))]
    shapes += [(mixed, name) for name in distributions]
    cells = [Cell(*shape, count) for shape, count in itertools.product(shapes, _numbers(threads))]
    with tempfile.TemporaryDirectory() as temporary:
        folder = models or Path(temporary)
        _say("making the models")
        _build(folder, size, shapes, chosen, pythons)
        results = _header(folder, size, chosen, skipped, _numbers(threads))
        if resume:
            _take_over(results, output)
        done = {Cell(known["batch"], known["length"], known["threads"]) for known in results["cells"]}
        output.parent.mkdir(parents=True, exist_ok=True)
        for number, cell in enumerate(cells, start=1):
            if cell in done:
                continue
            measured = measure_cell(cell, chosen, pythons, folder, rounds=rounds, seconds=seconds)
            results["cells"].append(measured)
            output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            times = ", ".join(f"{name} {values['p50_ms']:.1f}" for name, values in measured["engines"].items())
            _say(f"[{number}/{len(cells)}] batch {cell.batch}, {cell.length}, {cell.threads} threads: {times} ms")
            for name, reason in measured["failed"].items():
                _say(f"    {name} failed: {reason}")
        _say("profiling ours")
        vocabulary = SIZES[size]["vocab_size"]
        cases = [
            Case(str(length), 1, length, [random_inputs(vocabulary, 1, length, seed=0)]) for length in _numbers(lengths)
        ]
        results["profiles"] = {
            engine.name: product_shares(folder / engine.file, cases, _numbers(threads))
            for engine in chosen
            if engine.operators
        }
        output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


@app.command()
def callers(
    openvino_python: OpenVinoPython = None,
    deepsparse_python: DeepSparsePython = None,
    counts: Annotated[str, typer.Option(help="Numbers of callers, with commas.")] = "1,2,4,8",
    texts: Annotated[str, typer.Option(help="The distribution of the texts' lengths.")] = "sst2",
    cores: Annotated[int, typer.Option(min=1, help="Of the machine.")] = 2,
    engines: Annotated[str, typer.Option(help="Names, with commas.")] = ",".join(WITH_CALLERS),
    rounds: Annotated[int, typer.Option(min=2, help="Turns of each setting.")] = 10,
    seconds: Annotated[float, typer.Option(help="Of a turn.")] = 1.0,
    models: Models = None,
    size: Annotated[str, typer.Option(help="base, minilm, or tiny to try the program.")] = "minilm",
    output: Output = CALLERS_RESULTS,
) -> None:
    """Measure how many texts a second each engine answers when several callers use it, and print it as Markdown."""
    pythons = _pythons(openvino_python, deepsparse_python)
    chosen, skipped = _chosen(engines, pythons)
    if texts not in QUANTILES:
        raise typer.BadParameter(f"no distribution is named {texts}; there are {', '.join(QUANTILES)}")
    shape = (TEXTS_OF_CALLERS, texts)
    with tempfile.TemporaryDirectory() as temporary:
        folder = models or Path(temporary)
        _say("making the models")
        _build(folder, size, [shape], chosen, pythons)
        results = {**_header(folder, size, chosen, skipped, [cores]), "cores": cores, "texts": texts}
        del results["cells"]
        numbers = _numbers(counts)
        results |= measure_callers(numbers, chosen, pythons, folder, shape, cores=cores, rounds=rounds, seconds=seconds)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(callers_markdown(results))


@app.command()
def table(
    output: Output = RESULTS,
    batch: Annotated[int, typer.Option(help="Rows.")] = 1,
    threads: Annotated[int, typer.Option(help="Threads.")] = 2,
) -> None:
    """Print the results as Markdown: of texts of one length, of batches of different lengths, sizes, and limits."""
    print(markdown(json.loads(output.read_text(encoding="utf-8")), batch, threads))


@app.command()
def plot(
    output: Output = RESULTS,
    picture: Annotated[Path | None, typer.Option(help="SVG or PNG; by default beside the JSON, SVG.")] = None,
) -> None:
    """Draw the results."""
    draw(json.loads(output.read_text(encoding="utf-8")), picture or output.with_suffix(".svg"))


def _pythons(openvino: Path | None, deepsparse: Path | None) -> dict[Runtime, Path]:
    """The interpreter of each runtime that there is."""
    given: dict[Runtime, Path | None] = {
        "onnxruntime": Path(sys.executable),
        "openvino": openvino,
        "deepsparse": deepsparse,
    }
    return {runtime: path for runtime, path in given.items() if path is not None}


def _chosen(names: str, pythons: Mapping[Runtime, Path]) -> tuple[list[Engine], dict[str, str]]:
    """The named engines that can run, and why the others cannot."""
    wanted = names.split(",")
    unknown = [name for name in wanted if name not in ENGINES]
    if unknown:
        raise typer.BadParameter(f"no engine is named {', '.join(unknown)}; there are {', '.join(ENGINES)}")
    engines = [ENGINES[name] for name in wanted]
    skipped = {e.name: f"no --{e.runtime}-python was given" for e in engines if e.runtime not in pythons}
    for name, reason in skipped.items():
        _say(f"{name} is left out: {reason}")
    return [engine for engine in engines if engine.name not in skipped], skipped


def _build(
    folder: Path,
    size: str,
    shapes: Sequence[tuple[int, int | str]],
    engines: Sequence[Engine],
    pythons: Mapping[Runtime, Path],
) -> None:
    wanted = [f"--shape={rows}x{length}" for rows, length in shapes] + [f"--engine={engine.name}" for engine in engines]
    command = [sys.executable, str(HERE / "peers_models.py"), str(folder), "--size", size, *wanted]
    subprocess.run(command, check=True, stdout=sys.stderr)
    if "openvino" in pythons and any(engine.runtime == "openvino" for engine in engines):
        script = str(HERE / "peers_openvino.py")
        subprocess.run([str(pythons["openvino"]), script, str(folder)], check=True, stdout=sys.stderr)


def _header(
    folder: Path, size: str, chosen: Sequence[Engine], skipped: Mapping[str, str], threads: Sequence[int]
) -> dict[str, Any]:
    shape = json.loads((folder / "shape.json").read_text(encoding="utf-8"))
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": {"title": f"XLM-R's architecture, size {size}, random weights", **shape},
        "environment": {**environment_record(), "kernels": instruction_set()},
        "engines": {
            engine.name: {
                "title": engine.title,
                "zeros": {"pattern": engine.weights.pattern, "percent": engine.weights.percent},
                **file_sizes(folder / engine.file, shape["vocab_size"]),
            }
            for engine in chosen
        },
        "skipped": skipped,
        "limits": [machine_limits(count) for count in threads],
        "cells": [],
    }


def _take_over(results: dict[str, Any], output: Path) -> None:
    """Begin with the cells that the JSON has, and with what it has about their engines."""
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
