"""How much memory exporting and encoding need, against the size of the model: XLM-R-base and XLM-R-large.

    python benchmarks/peers/memory.py run --size base --size large
    python benchmarks/peers/memory.py table

The weights are random at the shape of XLM-R with its 250,002 pieces, 90 % of the encoder's zero: memory depends on
shapes and zeros alone. Each step runs in a process of its own, and its figure is that process's peak resident memory
(ru_maxrss, of the process and of those that it waited for), the libraries included. What the imports alone take is
measured the same way and stands beside it; nothing is subtracted. Pages of mapped files count as they do for a cgroup
that holds them: loading a model maps its file.

Steps: `imports` loads the libraries; `load` also the model; `export` writes it as dense ONNX; `encode` reads that file
and writes the sparse one: layers of the operator library in fp32 and in int8, and ONNX's own sparse tensors; `stage` is
the export stage of `sdp export`, all in one process: export, encode, check, compare with torch, score with onnxruntime.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

RESULTS = Path(__file__).parents[1] / "results" / "memory.json"
PIECES = 250002
INPUTS = ("input_ids", "attention_mask")
# Wanted: at most so many times the model's own size, and for XLM-R-large at most so many bytes.
WANTED_RATIO = 2.5
WANTED_LARGE_BYTES = 12 * 10**9
LABELS = 8
ROWS = 16
# Where the export stage looks for the pruned model.
MODEL = "run/2-prune"
RECIPE = """
name = "memory"
[model]
name = "run/2-prune"
[task]
type = "classification"
[data]
train = "rows.tsv"
dev = "rows.tsv"
text = ["text"]
label = "label"
[evaluate]
resamples = 100
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)

Output = Annotated[Path, typer.Option(help="The JSON of the results.")]


# In the processes that are measured. Heavy libraries are imported there only: a process starts with the peak of the one
# that made it.


def make(folder: Path, size: str, pieces: int) -> dict[str, Any]:
    """Write the pruned model, and beside it what the export stage reads; the memory of this is not measured."""
    import numpy as np
    from safetensors.numpy import save_file
    from transformers import XLMRobertaTokenizer

    from peers_models import pruned_model

    model = pruned_model(size, "unstructured", vocabulary=pieces)
    model.save_pretrained(folder / MODEL)
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    XLMRobertaTokenizer(vocab=[(piece, 0.0) for piece in [*special, "▁", *"abcdefgh"]]).save_pretrained(folder / MODEL)
    lines = ["text\tlabel", *(f"{'abcdefgh' * length}\t{length % LABELS}" for length in range(1, ROWS + 1))]
    (folder / "rows.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    for stage in ("1-finetune", "3-evaluate"):
        (folder / "run" / stage).mkdir(exist_ok=True)
    (folder / "run/1-finetune/stage.json").write_text('{"ingredients": {"inputs": {}}}', encoding="utf-8")
    logits = np.zeros((ROWS, LABELS), np.float32)
    save_file({"dense": logits, "pruned": logits}, folder / "run/3-evaluate/predictions.safetensors")
    return {"parameters": model.num_parameters(), "bytes": 4 * model.num_parameters()}


def imports(_: Path) -> None:
    """The libraries that exporting needs."""
    for name in ("sdp.models.load", "sdp_onnx.export.encode", "sdp_onnx.export.torch_export"):
        importlib.import_module(name)


def load(folder: Path) -> None:
    """The libraries and the model."""
    from sdp.models.load import load_finetuned

    imports(folder)
    load_finetuned(folder / MODEL)


def export(folder: Path) -> None:
    """Load the model and write it as dense ONNX, its tensors beside the file as `sdp export` has them."""
    from sdp.models.load import load_finetuned
    from sdp_onnx.export.torch_export import export_torch

    model = load_finetuned(folder / MODEL)
    export_torch(model, folder / "dense.onnx", input_names=INPUTS, external_data_threshold=0)


def encode(folder: Path) -> None:
    """Dense ONNX to sparse layers in fp32."""
    from sdp_onnx.export.encode import encode_model

    encode_model(folder / "dense.onnx", folder / "fp32.onnx", encoding="kernel", metadata={})


def encode_int8(folder: Path) -> None:
    """Dense ONNX to sparse layers in int8, and the table of pieces in int8."""
    from sdp_onnx.export.encode import encode_model

    encode_model(folder / "dense.onnx", folder / "int8.onnx", encoding="kernel", precision="int8", metadata={})


def encode_coo(folder: Path) -> None:
    """Dense ONNX to ONNX's own sparse tensors."""
    from sdp_onnx.export.encode import encode_model

    encode_model(folder / "dense.onnx", folder / "coo.onnx", encoding="auto", metadata={})


def stage(folder: Path) -> None:
    """The export stage itself: export, encode, check, compare with torch, score with onnxruntime."""
    from sdp.pipeline.context import StageContext
    from sdp.pipeline.progress import Reporter
    from sdp.pipeline.run_folder import RunFolder
    from sdp.recipe.load import load_recipe
    from sdp.stages.export import run

    target = folder / "run/4-export"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    run(StageContext(load_recipe(folder / "recipe.toml"), RunFolder(folder / "run"), target, Reporter(quiet=True)))


STEPS: dict[str, Callable[[Path], None]] = {
    step.__name__: step for step in (imports, load, export, encode, encode_coo, encode_int8, stage)
}


# In the process that measures.


def measure(folder: Path, code: str) -> dict[str, Any]:
    """Run a line of Python that may use this module, in a process of its own.

    Returns:
        its peak memory in bytes, its seconds, and what it printed last, read as JSON.

    Raises:
        RuntimeError: it failed.
    """
    command = [sys.executable, "-c", f"import memory, pathlib, json\n{code}"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
    started = time.monotonic()
    answer = folder / "answer.json"
    with answer.open("wb") as out:
        process = subprocess.Popen(command, env=env, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{code} ended with status {process.returncode}")
    last = answer.read_text(encoding="utf-8").splitlines()[-1:]
    peak = usage.ru_maxrss if sys.platform == "darwin" else usage.ru_maxrss * 1024
    return {
        "bytes": peak,
        "seconds": round(time.monotonic() - started, 1),
        "answer": json.loads(last[0]) if last else {},
    }


def measure_size(folder: Path, size: str, pieces: int, steps: list[str]) -> Iterator[dict[str, Any]]:
    """What was measured of one size, growing step by step; steps need the files of those before them."""
    place = repr(str(folder))
    if not (folder / "made.json").is_file():
        made = measure(folder, f"print(json.dumps(memory.make(pathlib.Path({place}), {size!r}, {pieces})))")["answer"]
        (folder / "made.json").write_text(json.dumps(made), encoding="utf-8")
    made = json.loads((folder / "made.json").read_text(encoding="utf-8"))
    measured = {}
    for name in steps:
        found = measure(folder, f"memory.STEPS[{name!r}](pathlib.Path({place}))")
        measured[name] = {
            "bytes": found["bytes"],
            "of_model": round(found["bytes"] / made["bytes"], 3),
            "seconds": found["seconds"],
        }
        print(f"{size} {name}: {found['bytes'] / 1e9:.2f} GB, {found['seconds']:.0f} s", file=sys.stderr, flush=True)
        files = {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*.onnx*"))}
        yield {"size": size, "pieces": pieces, "model": made, "steps": measured, "files": files}


@app.command()
def run(
    size: Annotated[list[str], typer.Option(help="base, large, or a smaller one of peers_models.py.")] = ["base"],  # noqa: B006
    pieces: Annotated[int, typer.Option(help="Size of the vocabulary.")] = PIECES,
    step: Annotated[list[str], typer.Option(help="Steps; all of them without it.")] = [],  # noqa: B006
    work: Annotated[Path | None, typer.Option(help="Folder for the models; kept and used again.")] = None,
    output: Output = RESULTS,
) -> None:
    """Make the models, measure the steps, and write the JSON; what was measured of other sizes and steps is kept."""
    from sdp_onnx.runtimes.environment import environment_record

    environment = environment_record()
    results = {result["size"]: result for result in _stored(output)}
    output.parent.mkdir(parents=True, exist_ok=True)
    for name in size:
        known = results.get(name, {}).get("steps", {})
        with tempfile.TemporaryDirectory() as temporary:
            folder = (work or Path(temporary)).absolute() / name
            folder.mkdir(parents=True, exist_ok=True)
            for found in measure_size(folder, name, pieces, step or list(STEPS)):
                date = datetime.now(UTC).isoformat(timespec="seconds")
                steps = known | found["steps"]
                in_order = {key: steps[key] for key in STEPS if key in steps}
                results[name] = {"date": date, **found, "steps": in_order, "environment": environment}
                wanted = {"of_model": WANTED_RATIO, "large_bytes": WANTED_LARGE_BYTES}
                content = {"wanted": wanted, "results": list(results.values())}
                output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


@app.command()
def table(output: Output = RESULTS) -> None:
    """Print the peaks as Markdown."""
    print("| model | GB | step | peak GB | of the model |\n|---|---|---|---|---|")
    for result in _stored(output):
        for row in _rows(result):
            print(f"| {' | '.join(row)} |")


def _rows(result: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    size = result["model"]["bytes"]
    for name, found in result["steps"].items():
        yield (
            f"XLM-R-{result['size']}, {result['model']['parameters'] / 1e6:.0f} M",
            f"{size / 1e9:.2f}",
            name,
            f"{found['bytes'] / 1e9:.2f}",
            f"{found['of_model']:.2f}",
        )


def _stored(output: Path) -> list[dict[str, Any]]:
    if not output.is_file():
        return []
    found: list[dict[str, Any]] = json.loads(output.read_text(encoding="utf-8"))["results"]
    return found


if __name__ == "__main__":
    app()
