"""Which kinds of models go through the whole pipeline: a tiny random one of each, by the real command line.

    python benchmarks/compatibility/architectures.py [--structured] [KIND ...]

For each kind (`model_type`) a model with two layers, a WordPiece tokenizer and 160 rows are made, and `sdp run`
prunes 90 % of it, or with `--structured` removes 40 % of it as heads and neurons (20 % as neurons, where heads stay).
The table has what came: the scores of the fine-tuned model, of the pruned one in torch, and of the exported file in
onnxruntime; how far the file's logits are from torch's; and the share of the encoder's linear weights that is zero or
gone. A kind that is refused has the message instead.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from sdp.models.architectures import ARCHITECTURES

TESTS = Path(__file__).parents[2] / "tests"
RESULTS = Path(__file__).parents[1] / "results"
KINDS = [row.model_type for row in ARCHITECTURES if row.tested]
# Kinds whose tokenizers number the texts of a pair.
WITH_SEGMENTS = ("albert", "bert", "deberta-v2", "electra")
HEAD = ("kind", "result", "fine-tuned", "pruned", "file", "logits differ by", "encoder zeros or removed")
RECIPE = """
name = "tiny"
[model]
name = "model"
[task]
type = "classification"
[data]
train = "train.tsv"
dev = "dev.tsv"
text = ["sentence"]
label = "label"
max_length = 32
[finetune]
epochs = 10
learning_rate = 3e-3
batch_size = 16
[prune]
epochs = 4
learning_rate = 3e-3
batch_size = 16
{prune}
[evaluate]
resamples = 200
[bench]
seconds = 0.2
starts = 1
threads = 1
[gate]
max_metric_drop = 0.9
max_size_ratio = 2.0
budget_seconds = 0
"""
ZEROS = "sparsity = 0.9\nmask_updates = 5"
STRUCTURED = 'pattern = "structured"\nsparsity = {sparsity}\nmask_updates = 3'
# Of kinds whose heads stay.
NEURONS_ALONE = [row.model_type for row in ARCHITECTURES if row.removable == ("neurons",)]


def make_project(kind: str, folder: Path, structured: bool) -> None:
    """Write recipe, data, and a model with random weights."""
    sys.path.insert(0, str(TESTS))
    import torch
    from transformers import AutoModel, AutoTokenizer

    from support.tiny_models import tiny_config  # type: ignore[import-not-found, unused-ignore]
    from support.toy import save_tiny_model, toy_rows, write_tsv  # type: ignore[import-not-found, unused-ignore]

    save_tiny_model(folder / "tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    tokenizer.model_input_names = [
        "input_ids",
        *(["token_type_ids"] if kind in WITH_SEGMENTS else []),
        "attention_mask",
    ]
    tokenizer.save_pretrained(folder / "model")
    torch.manual_seed(0)
    wider = {"dim": 32} if kind == "distilbert" else {"emb_dim": 32} if kind in ("xlm", "flaubert") else {}
    segments = {"type_vocab_size": 2} if kind in WITH_SEGMENTS else {}
    padding = {"pad_index": 0} if kind in ("xlm", "flaubert") else {"pad_token_id": 0}
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 32, "max_position_embeddings": 64}
    config = tiny_config(kind, **(sizes | wider | segments | padding))
    AutoModel.from_config(config).save_pretrained(folder / "model")
    write_tsv(folder / "train.tsv", toy_rows(160, seed=1))
    write_tsv(folder / "dev.tsv", toy_rows(60, seed=2))
    removed = STRUCTURED.format(sparsity=0.2 if kind in NEURONS_ALONE else 0.4)
    (folder / "tiny.toml").write_text(RECIPE.format(prune=removed if structured else ZEROS))


def run_kind(kind: str, folder: Path, structured: bool) -> list[str]:
    """A row of the table."""
    make_project(kind, folder, structured)
    command = [sys.executable, "-m", "sdp", "run", "tiny.toml"]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return [kind, f"exit {done.returncode}: {_message(done.stdout + done.stderr)}", *[""] * 5]
    run = folder / "runs" / "tiny"
    exported, evaluated = _read(run / "4-export/metrics.json"), _read(run / "3-evaluate/metrics.json")
    if structured:
        zeros = _read(run / "2-prune/metrics.json")["sparsity"]
    else:
        layers = _read(run / "4-export/manifest.json")["layers"].values()
        zeros = sum(layer["zeros"] for layer in layers) / sum(layer["elements"] for layer in layers)
    scores = [evaluated["models"]["dense"], evaluated["models"]["pruned"], exported["models"]["exported"]]
    error = exported["torch"]["max_relative_error"]
    words = next((line for line in done.stdout.splitlines() if line.startswith("gate: ")), "works")
    return [kind, words, *(f"{score['value']:.3f}" for score in scores), f"{error:.1e}", f"{zeros:.1%}"]


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_bytes())
    return content


def _message(output: str) -> str:
    found = re.search(r"^error: (.+)", output, re.MULTILINE)
    text = found[1] if found else (output.strip().splitlines() or ["nothing was printed"])[-1]
    return re.sub(r"/\S+/", "", text)


def main(
    kinds: Annotated[list[str] | None, typer.Argument(help="Kinds; by default all tested ones.")] = None,
    structured: Annotated[bool, typer.Option("--structured", help="Remove heads and neurons.")] = False,
) -> None:
    """Run every kind and print the table; that of all tested kinds is also written to benchmarks/results."""
    rows = [HEAD, ["---"] * len(HEAD)]
    for kind in kinds or KINDS:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(run_kind(kind, Path(folder), structured))
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    print(table)
    if not kinds:
        name = "architectures_structured.md" if structured else "architectures.md"
        (RESULTS / name).write_text(f"{table}\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
