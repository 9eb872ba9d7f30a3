"""What bfloat16 saves of an optimizer step on a CPU, with sdp's choice of attention and with torch's fused kernel.

    python benchmarks/costs/training_precision.py run
    python benchmarks/costs/training_precision.py table

all-MiniLM-L6-v2 takes steps on the same batches in one process, in turns, without dropout as in pruning (with it, torch
has no fused kernel for a CPU). The ratio is how many times as long as the step in bfloat16 another one takes: the
median over rounds, its interval a bootstrap over rounds.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import numpy as np
import torch
import typer
from torch import nn
from transformers import TrainingArguments

from sdp.data.batches import Collator
from sdp.losses.task import TaskObjective
from sdp.models.load import load_pretrained
from sdp.models.source import ModelFolder, locate_model
from sdp.models.tokenizer import load_tokenizer
from sdp.recipe.sections import ModelSection
from sdp.training import attention
from sdp.training.trainer import SdpTrainer
from sdp_onnx.bench.statistics import paired_ratio
from sdp_onnx.runtimes.environment import environment_record
from step_time import BATCH_SIZE, CLASSES, MODEL, Arm, Batch, measure, optimizer_step, print_table, random_rows

RESULTS = Path(__file__).parents[1] / "results" / "training_precision.json"
LENGTHS = (16, 32, 64, 128)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)
Output = Annotated[Path, typer.Option(help="The JSON of the results.")]


@dataclass(frozen=True)
class Variant:
    """One way to compute a step: its name, its precision, and whether attention is always torch's fused kernel."""

    name: str
    bf16: bool
    fused: bool = False


VARIANTS = (Variant("bf16", True), Variant("bf16, fused attention", True, True), Variant("fp32", False))


def arms(folder: ModelFolder, scratch: Path) -> list[Arm]:
    """Every variant with a model of its own."""
    return [_arm(variant, folder, scratch) for variant in VARIANTS]


def _arm(variant: Variant, folder: ModelFolder, scratch: Path) -> Arm:
    torch.manual_seed(0)
    model = load_pretrained(folder, "classification", tuple(map(str, range(CLASSES))), torch.device("cpu"))
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    arguments = TrainingArguments(
        output_dir=str(scratch),
        per_device_train_batch_size=BATCH_SIZE,
        learning_rate=5e-5,
        bf16=variant.bf16,
        use_cpu=True,
        report_to=[],
    )
    trainer = SdpTrainer(model, arguments, objective=TaskObjective("classification"))
    # What Trainer does before its first step: without it nothing would be computed in bf16.
    trainer.accelerator.prepare_model(model)
    trainer.current_gradient_accumulation_steps = 1
    trainer.create_optimizer()

    def step(batch: Batch) -> None:
        with _fused() if variant.fused else nullcontext():
            optimizer_step(trainer, None, batch)

    return Arm(variant.name, "none", step)


def _fused() -> AbstractContextManager[Any]:
    return patch.object(attention, "MOST_TOKENS", 0)


@app.command()
def run(
    model: Annotated[str, typer.Option(help="What a recipe may say as model.name.")] = MODEL,
    tokens: Annotated[
        list[int] | None, typer.Option(help="Lengths of the rows; 16, 32, 64 and 128 without it.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=2, help="Steps of each variant at each length.")] = 20,
    threads: Annotated[int, typer.Option(min=1, help="torch's threads.")] = 2,
    output: Output = RESULTS,
) -> None:
    """Measure every variant at every length, write the JSON and print the table."""
    torch.set_num_threads(threads)
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = locate_model(ModelSection(name=model), download=False)
        variants, collator = arms(folder, Path(temporary)), Collator(load_tokenizer(folder.path))
        vocabulary = json.loads((folder.path / "config.json").read_text(encoding="utf-8"))["vocab_size"]
        for length in tokens or LENGTHS:
            rows = random_rows(length, vocabulary)
            starts = range(0, len(rows), BATCH_SIZE)
            batches = [dict(collator([rows[row] for row in range(start, start + BATCH_SIZE)])) for start in starts]
            seconds = measure(variants, batches, rounds)
            for variant, times in zip(variants, seconds, strict=True):
                ratio = asdict(paired_ratio(times, seconds[0]))
                median = float(np.median(times)) * 1000
                results.append({"step": variant.losses, "tokens": length, "median_ms": median, "ratio": ratio})
            print(f"{length} tokens done", file=sys.stderr, flush=True)
    content = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": {"model": model, "batch_size": BATCH_SIZE, "rounds": rounds, "threads": threads},
        "environment": environment_record(),
        "results": results,
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    table(output)


@app.command()
def table(output: Output = RESULTS) -> None:
    """Print medians in milliseconds, and ratios to the step in bf16 with their intervals, as Markdown."""
    print_table(json.loads(output.read_text(encoding="utf-8"))["results"], ("step",))


if __name__ == "__main__":
    app()
