"""Does optimum load a shipped folder, and does it give what plain onnxruntime gives?

    python benchmarks/compatibility/optimum_load.py SHIPPED [SHIPPED ...] [--environment FOLDER]

optimum-onnx demands an older transformers than sdp, so it lives in an environment of its own, made here with pinned
versions where FOLDER has none yet. For each shipped folder (8-ship of a run; one whose recipe says
`export.encoding = "coo"` or "dense" needs no operator library, one with "kernel" does) optimum_load_worker.py loads it
there with optimum's ORTModel, or a sentence encoder with the ONNX backend of sentence-transformers, which uses optimum,
and runs the golden inputs; their logits are compared with those stored in golden.json and with those of plain
onnxruntime in sdp's environment. The example in the folder's README.md is run there too. Writes
results/optimum_load.json.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from sdp_onnx.deploy.golden import case_error, read_golden
from sdp_onnx.deploy.manifest import read_manifest
from sdp_onnx.deploy.verify_folder import verify_folder
from sdp_onnx.runtimes.environment import environment_record
from sdp_onnx.runtimes.registry import default_runtime

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "optimum_load.json"
PINNED = (
    "optimum-onnx[onnxruntime]==0.1.0",
    "optimum==2.1.0",
    "onnxruntime==1.32.0",
    "transformers==4.57.6",
    # The newest that goes with this transformers, which optimum-onnx demands.
    "sentence-transformers==5.7.0",
    "torch==2.13.0",
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)


@app.command()
def run(
    folders: Annotated[list[Path], typer.Argument(help="Shipped folders.")],
    environment: Annotated[Path | None, typer.Option(help="Where optimum's environment is, or is made.")] = None,
    output: Annotated[Path, typer.Option(help="The JSON of the results.")] = RESULTS,
) -> None:
    """Load every folder with optimum and compare; exit code 1 if one does not agree."""
    with tempfile.TemporaryDirectory(prefix="optimum-") as temporary:
        python = optimum_python(environment or Path(temporary) / "env")
        results = [compare(folder.resolve(), python) for folder in folders]
    content = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "pinned": PINNED,
        "environment": environment_record(),
        "folders": results,
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for result in results:
        kind = f"{result['precision']}; {', '.join(result['encodings'])}"
        print(
            f"{result['name']} ({kind}): {result['class']}, {result['calls']} calls, {result['max_error']:.1e} of the "
            f"largest logit to plain onnxruntime: {'agrees' if result['agrees'] else 'DIFFERS'}"
        )
    if not all(result["agrees"] for result in results):
        raise typer.Exit(1)


def optimum_python(folder: Path) -> Path:
    """The interpreter of optimum's environment; the environment is made where there is none."""
    python = folder / "bin" / "python"
    if not python.is_file():
        venv.create(folder, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PINNED], check=True, stdout=sys.stderr)
    return python


def compare(folder: Path, python: Path) -> dict[str, Any]:
    """Run a folder's golden inputs in both environments, and its README's example in optimum's.

    Raises:
        SystemExit: the folder is not as it was shipped.
    """
    report = verify_folder(folder)
    if not report.ok:
        raise SystemExit(f"{folder} does not verify")
    manifest, golden = read_manifest(folder), read_golden(folder)
    library = manifest["operator_library"]
    model = default_runtime().load(folder / "model.onnx", library=folder / library if library else "none")
    worker = [str(python), str(HERE / "optimum_load_worker.py"), str(folder)]
    # Before huggingface_hub is imported, which reads it once.
    variables = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(worker, check=True, stdout=subprocess.PIPE, text=True, env=variables)
    answer = json.loads(done.stdout.splitlines()[-1])
    stored, plain = [], []
    for case, logits in zip(golden.cases, answer["logits"], strict=True):
        theirs = np.array(logits, np.float32)
        stored.append(case_error(case, theirs))
        plain.append(case_error(replace(case, logits=model.run(case.inputs)), theirs))
    return {
        "name": manifest["name"],
        "problem_type": manifest["problem_type"],
        "precision": manifest["recipe"]["export"]["precision"],
        "encodings": sorted({tensor["encoding"] for tensor in manifest["tensors"]}),
        "operator_library": library,
        "class": answer["class"],
        "versions": answer["versions"],
        "calls": len(golden.cases),
        "tolerance": golden.tolerance,
        "max_error": max(plain),
        "max_error_to_stored": max(stored),
        "texts_with_stored_tokens": answer["same_tokens"],
        "texts": sum(bool(case.text) for case in golden.cases),
        "readme_example": answer["readme_example"],
        "agrees": max(plain) <= golden.tolerance,
    }


if __name__ == "__main__":
    app()
