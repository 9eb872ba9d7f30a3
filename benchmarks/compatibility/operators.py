"""What of each kind of encoder the operator library computes, and how much faster that makes its files.

    python benchmarks/compatibility/operators.py run [--seconds 3] [KIND ...]
    python benchmarks/compatibility/operators.py table

For each kind (`model_type`) a model in the shape of its base size, with random weights, is pruned and exported: in fp32
90 % of the encoder's weights are zero, in int8 80 % and 90 % in 1x4 blocks. Each file is measured in turns against the
dense fp32 file in onnxruntime, on one text of 128 tokens with 2 threads, by the same code as `sdp bench`. A kind that
is measured has a JSON of its own in benchmarks/results/operators: a run that is stopped goes on with the others.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import torch
import typer
from transformers import AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel

from sdp.models.architectures import ARCHITECTURES
from sdp.models.layers import prunable_weights
from sdp_onnx.bench.cases import Case
from sdp_onnx.bench.pair import benchmark_pair
from sdp_onnx.export.encode import encode_model
from sdp_onnx.export.kernel_choice import Precision
from sdp_onnx.export.torch_export import export_torch
from sdp_onnx.model.linear_layers import linear_layers
from sdp_onnx.operators.library import DOMAIN, instruction_set

TESTS = Path(__file__).parents[2] / "tests"
RESULTS = Path(__file__).parents[1] / "results" / "operators"
# By architectures.py.
PIPELINE = Path(__file__).parents[1] / "results" / "architectures.md"
KINDS = [row.model_type for row in ARCHITECTURES if not row.refused]
INPUTS = ("input_ids", "attention_mask")
TOKENS, THREADS = 128, 2
VARIANTS: tuple[tuple[Precision, float], ...] = (("fp32", 0.9), ("int8", 0.8), ("int8", 0.9))

BASE: dict[str, Any] = {
    "vocab_size": 1000,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 514,
}
_XLM = {"emb_dim": 768, "n_layers": 12, "n_heads": 12}
# What a kind calls its sizes, or has otherwise.
OTHER: dict[str, dict[str, Any]] = {
    "albert": {"embedding_size": 128},
    "distilbert": {"dim": 768, "hidden_dim": 3072, "n_layers": 6, "n_heads": 12},
    "electra": {"embedding_size": 768},
    "flaubert": _XLM,
    "mobilebert": {
        "hidden_size": 512,
        "intermediate_size": 512,
        "num_attention_heads": 4,
        "num_hidden_layers": 24,
        "embedding_size": 128,
        "intra_bottleneck_size": 128,
        "true_hidden_size": 128,
    },
    "modernbert": {"intermediate_size": 1152, "num_hidden_layers": 22, "local_attention": 128},
    "rembert": {"input_embedding_size": 256, "output_embedding_size": 256},
    "roformer": {"embedding_size": 768},
    "xlm": _XLM,
}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)

Output = Annotated[Path, typer.Option(help="The folder of the results.")]


def base_config(kind: str) -> PreTrainedConfig:
    """The shape of a kind's base size, with few pieces: looking them up takes no time."""
    sys.path.insert(0, str(TESTS))
    from support.tiny_models import tiny_config  # type: ignore[import-not-found, unused-ignore]

    config: PreTrainedConfig = tiny_config(kind, **{**BASE, **OTHER.get(kind, {}), "num_labels": 2})
    return config


def pruned(config: PreTrainedConfig, sparsity: float, block: int) -> PreTrainedModel:
    """A model with random weights, of which blocks of so many inputs are zero.

    Args:
        config: of the model.
        sparsity: share of the encoder's weights.
        block: weights in a block.
    """
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        for weight in prunable_weights(model).values():
            rows, columns = weight.shape
            kept = torch.rand(rows, -(-columns // block)) >= sparsity
            weight.mul_(kept.repeat_interleave(block, 1)[:, :columns])
    return model


def case_of(vocabulary: int, tokens: int) -> Case:
    """Some texts of random pieces, one at a time."""
    generator = np.random.default_rng(0)
    batches = [
        {
            "input_ids": generator.integers(5, vocabulary, (1, tokens), dtype=np.int64),
            "attention_mask": np.ones((1, tokens), np.int64),
        }
        for _ in range(8)
    ]
    return Case(f"batch 1, {tokens} tokens", 1, tokens, batches)


def operators_of(file: Path) -> dict[str, int]:
    """How often each operator of the library, and what it could replace, is in a file."""
    nodes = onnx.load(file).graph.node
    found = (node.op_type for node in nodes if node.domain == DOMAIN or node.op_type in ("Attention", "Softmax"))
    return dict(sorted(Counter(found).items()))


def share_in_library(file: Path) -> float:
    """The share of the weights of linear layers that operators of the library multiply."""
    layers = linear_layers(file).values()
    sizes = [(layer.in_features * layer.out_features, layer.in_library) for layer in layers]
    return sum(size for size, inside in sizes if inside) / sum(size for size, _ in sizes)


def measure(kind: str, config: PreTrainedConfig, *, seconds: float, tokens: int = TOKENS) -> dict[str, Any]:
    """The record of a kind.

    Args:
        kind: its model_type.
        config: of the model.
        seconds: for each file.
        tokens: of a text.
    """
    files, environment = [], {}
    with tempfile.TemporaryDirectory() as temporary:
        dense, encoded = Path(temporary, "dense.onnx"), Path(temporary, "encoded.onnx")
        for precision, sparsity in VARIANTS:
            export_torch(pruned(config, sparsity, 4 if precision == "int8" else 1), dense, input_names=INPUTS)
            encode_model(dense, encoded, encoding="kernel", precision=precision, metadata={})
            case = case_of(config.vocab_size, tokens)
            measured = benchmark_pair(dense, encoded, [case], threads=[THREADS], seconds_per_case=seconds, starts=3)
            environment = measured.environment
            files.append(
                {
                    "precision": precision,
                    "sparsity": sparsity,
                    "operators": operators_of(encoded),
                    "share_in_library": share_in_library(encoded),
                    "bytes": [measured.baseline_bytes, measured.candidate_bytes],
                    "speedup": asdict(measured.cases[0].speedup),
                }
            )
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "kind": kind,
        "tokens": tokens,
        "threads": THREADS,
        "kernels": instruction_set(),
        "environment": environment,
        "files": files,
    }


@app.command()
def run(
    kinds: Annotated[list[str] | None, typer.Argument(help="Kinds; by default all that have no JSON yet.")] = None,
    seconds: Annotated[float, typer.Option(help="Time for each file.")] = 3.0,
    output: Output = RESULTS,
) -> None:
    """Measure kinds, and write the JSON of each."""
    output.mkdir(parents=True, exist_ok=True)
    for kind in kinds or [kind for kind in KINDS if not (output / f"{kind}.json").exists()]:
        record = measure(kind, base_config(kind), seconds=seconds)
        (output / f"{kind}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(row(record), file=sys.stderr, flush=True)


def row(record: dict[str, Any]) -> str:
    """A line of the table."""
    kind, counts = record["kind"], record["files"][0]["operators"]
    packed = sum(counts.get(name, 0) for name in ("PackedAttention", "PackedDisentangledAttention"))
    layers = packed + counts.get("Attention", 0) + counts.get("Softmax", 0)
    # Where every layer is whole, what is packed at the embeddings is unpacked once, for the head.
    unpacked = counts.get("Unpack", 0)
    inside = record["files"][0]["share_in_library"]
    feed_forward = "yes" if unpacked <= 1 and inside > 0.9 else f"products alone, unpacked {unpacked} times"
    gone = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in PIPELINE.read_text().splitlines()}
    cells = [kind, gone.get(kind, "not tried"), f"{packed} of {layers}", feed_forward]
    for file in record["files"]:
        speedup = file["speedup"]
        cells.append(f"{speedup['value']:.1f} [{speedup['low']:.1f}, {speedup['high']:.1f}]")
    return f"| {' | '.join([*cells, 'default' if exported_by_default(kind) else 'slow'])} |"


def exported_by_default(kind: str) -> bool:
    """Whether the default tests encode a file of the kind; the slow ones do for all."""
    named = re.compile(rf'"{kind}"|\b{type(base_config(kind)).__name__}\(')
    return any(named.search(path.read_text(encoding="utf-8")) for path in (TESTS / "sdp_onnx").rglob("*.py"))


@app.command()
def table(output: Output = RESULTS) -> None:
    """Print what is measured as Markdown."""
    heads = [f"{precision}, {sparsity:.0%}" for precision, sparsity in VARIANTS]
    print("| kind | pruned, exported, gated | attention | feed-forward | " + " | ".join(heads) + " | tests |")
    print("|---" * (5 + len(VARIANTS)) + "|")
    for path in sorted(output.glob("*.json")):
        print(row(json.loads(path.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    app()
