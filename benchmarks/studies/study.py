"""Which pruning loss helps, and when: the studies behind benchmarks/results/study.

    python benchmarks/studies/study.py list
    python benchmarks/studies/study.py run --data FOLDER [PART ...]

FOLDER holds one folder a task with gzipped tab-separated files (columns sentence1, sentence2, label). Every part is one
call of `sdp study`, printed before it runs. Each finished cell is a JSON in results/study/PART/cells, so the command
goes on from what is there. All arms of a part share teacher, steps, mask rule and seeds; choices are made on dev.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sdp.cli.main import app as sdp

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "study"

# What each task calls its files: train, dev, and test where there is one with labels.
FILES = {
    "sst2": ("train_sentences.tsv.gz", "dev.tsv.gz", "test.tsv.gz"),
    "mrpc": ("train.tsv.gz", "dev.tsv.gz", "test.tsv.gz"),
    "rte": ("train.tsv.gz", "dev.tsv.gz"),
    "cola": ("train.tsv.gz", "dev_in.tsv.gz", "dev_out.tsv.gz"),
    "stsb": ("train.en.tsv.gz", "dev.en.tsv.gz", "test.en.tsv.gz"),
}
# On the CPU: rows cut, and products in bf16, faster on a CPU with AVX512-BF16, for the same dev accuracy.
SMALL = ("data.train_rows=2000", 'finetune.precision="bf16"', 'prune.precision="bf16"')
FIVE_LOSSES = "none,kld,cross-correlation,cross-correlation+kld,hidden+kld"
EIGHT_LOSSES = f"{FIVE_LOSSES},cosine,align-cosine,align-frobenius"


def _cc(weight: float, **settings: float | str) -> str:
    """The setting of a cross-correlation that differs from its defaults."""
    fields = ", ".join(
        f"{key}={json.dumps(value)}"
        for key, value in {"name": "cross-correlation", "weight": weight, **settings}.items()
    )
    return f"prune.losses=[{{{fields}}}]"


# A question a line. At weight 1 the cross-correlation of one row a sentence hardly moves the representations, so all
# else that is asked of it is asked at weight 10.
THREE = (("none", "none"), ("cc", "cross-correlation:10"), ("hidden-kld", "hidden+kld"))
WHY = (
    "none{prune.losses=none}",
    # The weight.
    *(f"cc-weight-{weight}{{prune.losses=cross-correlation:{weight}}}" for weight in (1, 10, 30, 100)),
    # Which rows, of which layers.
    *(f"cc-{rows}{{{_cc(10, representation=rows)}}}" for rows in ("first", "pooled", "tokens")),
    f"cc-tokens-all-layers{{{_cc(10, representation='tokens', layers='all')}}}",
    # What decorrelation adds.
    *(f"cc-lambda-{value}{{{_cc(10, off_diagonal=value)}}}" for value in (0.0, 0.05)),
    # Other ways to be like the teacher.
    "cosine{prune.losses=cosine}",
    "cosine-weight-10{prune.losses=cosine:10}",
    "hidden{prune.losses=hidden}",
    "hidden-weight-10{prune.losses=hidden:10}",
    "kld-only{prune.losses=kld:1}",
    "align-cosine{prune.losses=align-cosine}",
    "align-frobenius{prune.losses=align-frobenius}",
    # Learning rate, mask rule, length of the schedule, rows in a batch: with a teacher and without one.
    *(f"none-lr-{rate}{{prune.losses=none;prune.learning_rate={rate}}}" for rate in ("1e-4", "4e-4")),
    "cc-lr-4e-4{prune.losses=cross-correlation:10;prune.learning_rate=4e-4}",
    "hidden-kld-lr-4e-4{prune.losses=hidden+kld;prune.learning_rate=4e-4}",
    *(f"{name}-by-layer{{prune.losses={losses};prune.scope=layer}}" for name, losses in THREE),
    *(f"{name}-12-epochs{{prune.losses={losses};prune.epochs=12}}" for name, losses in THREE),
    *(f"{name}-batch-64{{prune.losses={losses};prune.batch_size=64;prune.epochs=12}}" for name, losses in THREE[:2]),
)

# What each setting of pruning without labels contributes: one change from the best recipe, an arm each.
RECOVERY = (
    "best{}",
    # What is learned, and by what.
    "labels{prune.labels=true}",
    "head-learns{prune.freeze_head=false}",
    "embeddings-learn{prune.freeze_embeddings=false}",
    "dropout{prune.dropout=true}",
    "squared-error{prune.losses=squared-error:3}",
    f"cross-correlation{{{_cc(1, representation='tokens')}}}",
    "cross-correlation-mean{prune.losses=cross-correlation}",
    "all-layers{prune.losses=["
    '{name = "squared-error", weight = 3, layers = "all"}, {name = "cross-correlation", representation = "tokens"}]}',
    "kld{prune.losses=["
    '{name = "squared-error", weight = 3}, {name = "cross-correlation", representation = "tokens"}, {name = "kld"}]}',
    # What is pruned.
    *(f"{criterion}{{prune.criterion={criterion}}}" for criterion in ("magnitude", "taylor", "obert")),
    "uncapped{prune.max_layer_sparsity=1}",
    "by-layer{prune.scope=layer;prune.max_layer_sparsity=1}",
    "allocated{prune.scope=allocated;prune.max_layer_sparsity=1}",
    "repair{prune.repair=true;prune.calibration_rows=128}",
    # How long and how fast.
    *(f"lr-{rate}{{prune.learning_rate={rate}}}" for rate in ("2e-4", "1e-3")),
    "betas-0.999{prune.betas=[0.9, 0.999]}",
    "updates-100{prune.mask_updates=100}",
    # More text.
    "augment{prune.augment=20000}",
)
# The phrases of SST-2's own training file, without their labels.
PHRASES = 'unlabeled{data.unlabeled=["DATA/sst2/train.tsv.gz"]}'


@dataclass(frozen=True)
class Part:
    """One call of `sdp study`.

    Attributes:
        name: of the part and of its folder.
        task: names the data's folder, and the recipe in recipes with `kind`.
        vary: the `--vary` options; DATA stands for the folder of the data.
        baseline: the `--baseline` option.
        fixed: the `--set` options.
        train: the training file, where it is not the task's usual one.
        gpu: whether it takes a GPU to finish in hours.
        kind: end of the recipe's name.
    """

    name: str
    task: str
    vary: tuple[str, ...]
    baseline: str
    fixed: tuple[str, ...] = SMALL
    train: str | None = None
    gpu: bool = False
    kind: str = ""


PARTS = (
    # Rows enough to tell arms apart in separability and recovery; looking at them takes a third of the time.
    Part("losses-sst2", "sst2", (f"prune.losses={FIVE_LOSSES}",), "prune.losses=none", (*SMALL, "analysis.rows=96")),
    Part("losses-mrpc", "mrpc", (f"prune.losses={FIVE_LOSSES}",), "prune.losses=none"),
    Part("losses-rte", "rte", (f"prune.losses={FIVE_LOSSES}",), "prune.losses=none", (*SMALL, "analysis.rows=96")),
    Part("why-sst2", "sst2", (f"arm={','.join(WHY)}",), "arm=none"),
    Part(
        "sparsity-sst2",
        "sst2",
        ("prune.losses=none,cross-correlation,hidden+kld", "prune.sparsity=0.5,0.8,0.95"),
        "prune.losses=none",
    ),
    *(
        Part(
            f"recovery-{task}",
            task,
            (f"arm={','.join((*RECOVERY, *((PHRASES,) if task == 'sst2' else ())))}",),
            "arm=best",
            fixed=("prune.steps=1500",),
            kind="_recovery",
        )
        for task in ("sst2", "mrpc", "stsb")
    ),
    *(
        Part(
            f"full-{task}",
            task,
            (f"prune.losses={EIGHT_LOSSES}", "prune.sparsity=0.8,0.9,0.95"),
            "prune.losses=none",
            fixed=(),
            train="train.tsv.gz" if task == "sst2" else None,
            gpu=True,
        )
        for task in ("sst2", "mrpc", "rte", "cola", "stsb")
    ),
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)


@app.command("list")
def list_parts() -> None:
    """Name the parts, and how many cells of each are finished."""
    for part in PARTS:
        done = len(list((RESULTS / part.name / "cells").glob("*.json")))
        typer.echo(f"{part.name:16} {done:3} cells finished{', wants a GPU' if part.gpu else ''}")


@app.command()
def run(
    data: Annotated[Path, typer.Option(help="The folder with a folder for each task.")],
    parts: Annotated[list[str] | None, typer.Argument(help="Parts; without any, all that need no GPU.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds for each arm.")] = 3,
) -> None:
    """Run parts, one after the other, from where they are."""
    known = {part.name: part for part in PARTS}
    unknown = [name for name in parts or () if name not in known]
    if unknown:
        raise typer.BadParameter(f"no part is named {unknown[0]}; there are {', '.join(known)}")
    chosen = [known[name] for name in parts] if parts else [part for part in PARTS if not part.gpu]
    for part in chosen:
        command = study_command(part, data, seeds)
        typer.echo(f"$ {shlex.join(['sdp', *command])}", err=True)
        # In this process, so that a signal that stops it stops the study.
        code = sdp(command, standalone_mode=False)
        if code:
            raise typer.Exit(code)


def study_command(part: Part, data: Path, seeds: int) -> list[str]:
    """The arguments of `sdp` that run a part."""
    files = dict(zip(("train", "dev", "test"), FILES[part.task], strict=False))
    if part.train is not None:
        files["train"] = part.train
    places = [f'data.{split}="{(data / part.task / file).resolve()}"' for split, file in files.items()]
    varied = [("--vary", vary.replace("DATA", str(data.resolve()))) for vary in part.vary]
    options = [*varied, *(("--set", setting) for setting in (*places, *part.fixed))]
    recipe = HERE / "recipes" / f"{part.task}{part.kind}.toml"
    return [
        *("study", str(recipe), "--out", str(RESULTS / part.name)),
        *("--baseline", part.baseline, "--seeds", str(seeds)),
        *(word for option in options for word in option),
    ]


if __name__ == "__main__":
    app()
