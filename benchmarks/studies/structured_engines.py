"""What half of the heads and neurons bring in each engine: a random BERT, on the CPU or on a GPU.

    python benchmarks/studies/structured_engines.py run [--provider cuda] [--size base]
    python benchmarks/studies/structured_engines.py table [--provider cuda]

On the CPU: the whole network and the half in onnxruntime's fp32, in sdp's int8, and in OpenVINO's int8 where the extra
`openvino` is installed. On a GPU: both in fp32 and fp16, with inputs and outputs bound to it. All files run in turns,
in processes of their own; times depend on shapes, not on weights.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from picture_measure import Engine, Open, measure_in_turns
from picture_peers import has_openvino
from sdp.models.removal import remove_units
from sdp.models.units import find_parts
from sdp_onnx.bench.cases import Case, Inputs, save_batches
from sdp_onnx.bench.process import Worker
from sdp_onnx.export.encode import encode_model
from sdp_onnx.export.torch_export import export_torch
from sdp_onnx.operators.library import instruction_set
from sdp_onnx.runtimes.base import Provider, RuntimeName
from sdp_onnx.runtimes.environment import environment_record
from sdp_onnx.runtimes.openvino_int8 import quantize
from sdp_onnx.runtimes.registry import RUNTIMES

RESULTS = Path(__file__).parents[1] / "results"
# Layers, width, heads, neurons.
SIZES = {"tiny": (2, 32, 4, 64), "minilm": (6, 384, 12, 1536), "base": (12, 768, 12, 3072)}
VOCABULARY = 32_000
INPUTS = ("input_ids", "attention_mask")
# Rows and tokens.
SHAPES: dict[Provider, tuple[tuple[int, int], ...]] = {
    "cpu": ((1, 16), (1, 128), (16, 128)),
    "cuda": ((1, 32), (1, 128), (8, 128), (32, 128), (32, 384)),
}
BATCHES = 8
CPU_THREADS = 2

File = tuple[Path, RuntimeName]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)

On = Annotated[str, typer.Option("--provider", help="cpu or cuda.")]
Folder = Annotated[Path, typer.Option(help="The folder of the JSON files.")]


@app.command()
def run(
    provider: On = "cpu",
    size: Annotated[str, typer.Option(help=f"One of {', '.join(SIZES)}.")] = "base",
    rounds: Annotated[int, typer.Option(min=2, help="Turns of each file after each start.")] = 10,
    starts: Annotated[int, typer.Option(min=1, help="How often new processes are started.")] = 3,
    results: Folder = RESULTS,
) -> None:
    """Make the files, measure them in turns, and write the JSON."""
    where = _provider(provider)
    if size not in SIZES:
        raise typer.BadParameter(f"no size is named {size}; there are {', '.join(SIZES)}")
    RUNTIMES["onnxruntime"].require(where)
    cases = []
    with tempfile.TemporaryDirectory() as temporary:
        files = make_files(size, where, Path(temporary))
        for rows, tokens in SHAPES[where]:
            inputs = Path(temporary, "inputs.npz")
            save_batches(inputs, [_case(rows, tokens)])
            opened: dict[str, Open] = {name: partial(_process, *file, inputs, where) for name, file in files.items()}
            measured = measure_in_turns(opened, texts=BATCHES, rounds=rounds, starts=starts)
            times = {
                name: {"p50_ms": own.p50_ms, "speedup": own.speedup.to_json()} for name, own in measured.files.items()
            }
            cases.append({"rows": rows, "tokens": tokens, "quiet": measured.quiet, "files": times})
    content = {
        "provider": where,
        "size": size,
        "threads": CPU_THREADS,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": {**environment_record(), "kernels": instruction_set()},
        "cases": cases,
    }
    results.mkdir(parents=True, exist_ok=True)
    _file(results, where).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


@app.command()
def table(provider: On = "cpu", results: Folder = RESULTS) -> None:
    """Print the times, and how many times as fast as the whole network in fp32, as Markdown."""
    content: dict[str, Any] = json.loads(_file(results, _provider(provider)).read_text(encoding="utf-8"))
    names = list(content["cases"][0]["files"])
    typer.echo(f"| rows x tokens | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for case in content["cases"]:
        cells = " | ".join(_cell(case["files"][name]) for name in names)
        noise = "" if case["quiet"] else " (noisy)"
        typer.echo(f"| {case['rows']} x {case['tokens']}{noise} | {cells} |")


def _cell(own: Mapping[str, Any]) -> str:
    speedup = own["speedup"]
    spread = "" if speedup["low"] == speedup["high"] else f", {speedup['value']:.2f}x"
    return f"{own['p50_ms']:.2f}{spread}"


def _provider(name: str) -> Provider:
    for known in SHAPES:
        if name == known:
            return known
    raise typer.BadParameter(f"no provider is named {name}; there are {', '.join(SHAPES)}")


def _file(results: Path, provider: Provider) -> Path:
    return results / f"structured_engines_{provider}.json"


def make_files(size: str, provider: Provider, folder: Path) -> dict[str, File]:
    """Write the files of a whole network and of its half, for each engine; the whole one in fp32 comes first."""
    whole = random_network(size)
    files: dict[str, File] = {}
    for name, network in (("whole", whole), ("half", half_of(whole))):
        fp32 = folder / f"{name}.onnx"
        export_torch(network, fp32, input_names=INPUTS)
        files[f"{name}, onnxruntime fp32"] = (fp32, "onnxruntime")
        if provider == "cuda":
            fp16 = folder / f"{name}-fp16.onnx"
            export_torch(copy.deepcopy(network).half(), fp16, input_names=INPUTS)
            files[f"{name}, onnxruntime fp16"] = (fp16, "onnxruntime")
            continue
        int8 = folder / f"{name}-int8.onnx"
        encode_model(fp32, int8, encoding="kernel", precision="int8", metadata={})
        files[f"{name}, sdp int8"] = (int8, "onnxruntime")
        if has_openvino():
            quantized = folder / f"{name}-openvino.xml"
            quantize(fp32, _case(1, 64), quantized)
            files[f"{name}, OpenVINO int8"] = (quantized, "openvino")
    return files


def random_network(size: str) -> PreTrainedModel:
    """A classifier with random weights."""
    layers, width, heads, neurons = SIZES[size]
    config = BertConfig(
        vocab_size=VOCABULARY,
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=neurons,
    )
    torch.manual_seed(0)
    network: PreTrainedModel = BertForSequenceClassification(config)
    network.eval()
    return network


def half_of(network: PreTrainedModel) -> PreTrainedModel:
    """A copy with half of the heads and half of the neurons in every layer."""
    half = copy.deepcopy(network)
    parts = find_parts(half)
    remove_units(half, parts, {part.name: torch.arange(part.units) < part.units // 2 for part in parts})
    return half


def _case(rows: int, tokens: int) -> Case:
    return Case(f"{rows} x {tokens}", rows, tokens, [_batch(rows, tokens, seed) for seed in range(BATCHES)])


def _batch(rows: int, tokens: int, seed: int) -> Inputs:
    ids = np.random.default_rng(seed).integers(0, VOCABULARY, (rows, tokens))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


@contextmanager
def _process(file: Path, runtime: RuntimeName, inputs: Path, provider: Provider) -> Iterator[Engine]:
    with Worker(file, inputs, provider=provider, threads=CPU_THREADS, runtime=runtime) as worker:
        worker.load()
        yield worker


if __name__ == "__main__":
    app()
