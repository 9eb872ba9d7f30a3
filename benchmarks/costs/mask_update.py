"""What a mask update costs, against one by `kthvalue` over all scores, and against the training step beside it.

    python benchmarks/costs/mask_update.py run [--size base] [--threads 2]
    python benchmarks/costs/mask_update.py table

An update is all of it: scores by magnitude, selection, and setting the pruned weights to zero. The weights are random,
of MiniLM-L6-H384's shape (10.6 M in its encoder layers) and BERT-base's (85 M). Each update goes from 50 % to 60 %
zeros, as in the middle of a run; the two ways take turns, and must choose the same masks. The step is forward,
backward and AdamW of the whole model on 32 rows of 64 tokens, without a teacher: the cheapest that pruning does.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, get_args

import torch
import typer
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from sdp.models.layers import prunable_weights
from sdp.pruning.masked_weights import MaskedWeights
from sdp.pruning.masks import Masks, Scope, apply_masks, kept_count, select_masks
from sdp.pruning.scores import magnitude_scores
from sdp_onnx.runtimes.environment import environment_record

RESULTS = Path(__file__).parents[1] / "results" / "mask_update.json"

SIZES: dict[str, dict[str, Any]] = {
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
BEFORE, AFTER = 0.5, 0.6
ROWS, TOKENS = 32, 64
UPDATES, STEPS = 20, 500

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)

Output = Annotated[Path, typer.Option(help="The JSON of the results.")]


@app.command()
def run(
    size: Annotated[str, typer.Option(help=f"One of {', '.join(SIZES)}, or all.")] = "all",
    threads: Annotated[int, typer.Option(help="Threads of torch.")] = 2,
    turns: Annotated[int, typer.Option(help="Updates of each way.")] = 7,
    output: Output = RESULTS,
) -> None:
    """Measure both scopes, and write the JSON."""
    if size not in (*SIZES, "all"):
        raise typer.BadParameter(f"no size is named {size}; there are {', '.join(SIZES)}")
    torch.set_num_threads(threads)
    results = [measure(name, turns) for name in (SIZES if size == "all" else [size])]
    content = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "threads": threads,
        "sparsity": [BEFORE, AFTER],
        "step": {"rows": ROWS, "tokens": TOKENS},
        "environment": environment_record(),
        "results": results,
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


@app.command()
def table(output: Output = RESULTS) -> None:
    """Print the medians as Markdown."""
    content = json.loads(output.read_text(encoding="utf-8"))
    print(f"| weights | scope | update | by kthvalue | times faster | {UPDATES} updates in {STEPS} steps |")
    print("|---|---|---|---|---|---|")
    for result in content["results"]:
        for scope, cell in result["scopes"].items():
            ours, plain = cell["median_s"], cell["kthvalue_median_s"]
            print(
                f"| {result['weights'] / 1e6:.1f} M | {scope} | {ours * 1e3:.0f} ms | {plain * 1e3:.0f} ms | "
                f"{plain / ours:.1f} | {cell['share_of_run']:.2%} |"
            )


def measure(size: str, turns: int) -> dict[str, Any]:
    """Times of updates in both scopes, of a training step, and of holding weights and gradients to the masks."""
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(vocab_size=30_000, **SIZES[size]))
    weights = prunable_weights(model)
    step = statistics.median(seconds(training_step(model)) for _ in range(3))
    scopes = {}
    for scope in get_args(Scope):
        cell = take_turns(weights, scope, turns)
        median = cell["median_s"]
        scopes[scope] = {**cell, "share_of_run": UPDATES * median / (UPDATES * median + STEPS * step)}
        print(f"{size}, {scope}: {median:.3f} s, {cell['ratio']:.1f} times faster", file=sys.stderr, flush=True)
    masked = MaskedWeights(weights)
    hold = statistics.median(
        seconds(lambda: masked.after_backward(1)) + seconds(masked.after_optimizer_step) for _ in range(turns)
    )
    elements = sum(weight.numel() for weight in weights.values())
    return {"size": size, "weights": elements, "step_s": step, "hold_s": hold, "scopes": scopes}


def take_turns(weights: dict[str, nn.Parameter], scope: Scope, turns: int) -> dict[str, Any]:
    """Update by both ways in turns, from the same weights; the weights are as before in the end."""
    dense = {name: weight.detach().clone() for name, weight in weights.items()}
    masked = MaskedWeights(weights)
    start = select_masks({name: weight.abs() for name, weight in dense.items()}, BEFORE, scope)
    plain: Masks = {}

    def update() -> None:
        masked.set(select_masks(masked.scores(), AFTER, scope))

    def update_by_kthvalue() -> None:
        plain.update(select_by_kthvalue(magnitude_scores(weights, start), AFTER, scope))
        apply_masks(weights, plain)

    times: dict[str, list[float]] = {"seconds": [], "kthvalue_seconds": []}
    for _ in range(turns):
        for name, call in (("seconds", update), ("kthvalue_seconds", update_by_kthvalue)):
            restore(weights, dense)
            masked.set(start)
            times[name].append(seconds(call))
            if name == "seconds":
                chosen = masked.masks
        if not all(torch.equal(mask, plain[name]) for name, mask in chosen.items()):
            raise AssertionError("the two ways chose different masks")
    restore(weights, dense)
    ours, theirs = (statistics.median(taken) for taken in times.values())
    return {"median_s": ours, "kthvalue_median_s": theirs, "ratio": theirs / ours, **times}


def select_by_kthvalue(scores: dict[str, Tensor], sparsity: float, scope: Scope) -> Masks:
    """The selection that this is compared with: a threshold by `kthvalue`, over one copy of all scores if global."""
    if scope == "layer":
        return {name: keep_by_kthvalue(score, sparsity) for name, score in scores.items()}
    kept = keep_by_kthvalue(torch.cat([score.reshape(-1) for score in scores.values()]), sparsity)
    pieces = kept.split([score.numel() for score in scores.values()])
    return {name: piece.reshape(scores[name].shape) for name, piece in zip(scores, pieces, strict=True)}


def keep_by_kthvalue(scores: Tensor, sparsity: float) -> Tensor:
    """Exact as well: ties at the threshold are kept in order of position."""
    flat = scores.reshape(-1)
    keep = kept_count(flat.numel(), sparsity)
    threshold = flat.kthvalue(flat.numel() - keep).values
    mask = flat > threshold
    if missing := keep - int(mask.sum()):
        mask[(flat == threshold).nonzero().reshape(-1)[:missing]] = True
    return mask.reshape(scores.shape)


def training_step(model: BertForSequenceClassification) -> Callable[[], object]:
    """Forward, backward and AdamW on random tokens."""
    tokens = torch.randint(5, 30_000, (ROWS, TOKENS))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step() -> None:
        optimizer.zero_grad()
        model(input_ids=tokens, labels=torch.zeros(ROWS, dtype=torch.long)).loss.backward()
        optimizer.step()

    return step


def restore(weights: dict[str, nn.Parameter], values: dict[str, Tensor]) -> None:
    """Set the weights back, so that each update starts from the same ones."""
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(values[name])


def seconds(call: Callable[[], object]) -> float:
    """Time of one call."""
    before = time.perf_counter()
    call()
    return time.perf_counter() - before


if __name__ == "__main__":
    app()
