"""Which pruning loss helps, and when: the studies behind benchmarks/results/study.

    python benchmarks/study.py list
    python benchmarks/study.py run --data FOLDER [PART ...]

FOLDER holds one folder a task with gzipped tab-separated files (columns sentence1, sentence2, label). Every part is one
call of `sdp study`, printed before it runs. Each finished cell is a JSON in results/study/PART/cells, so the command
goes on from what is there. All arms of a part share teacher, steps, mask rule and seeds; choices are made on dev.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sdp.cli import app as sdp

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "study"

# What each task calls its files: train, dev, and test where there is one with labels.
FILES = {
    "sst2": ("train_sentences.tsv.gz", "dev.tsv.gz", "test.tsv.gz"),
    "mrpc": ("train.tsv.gz", "dev.tsv.gz", "test.tsv.gz"),
    "rte": ("train.tsv.gz", "dev.tsv.gz"),
    "cola": ("train.tsv.gz", "dev_in.tsv.gz", "dev_out.tsv.gz"),
    "stsb": ("train.en.tsv.gz", "dev.en.tsv.gz", "test.en.tsv.gz"),
}
# On the CPU: rows cut, and products in bf16, 2.4 times as fast on a CPU with AVX512-BF16, for the same dev accuracy.
SMALL = ("data.train_rows=2000", 'finetune.precision="bf16"', 'prune.precision="bf16"')
FIVE_LOSSES = "none,kld,cross-correlation,cross-correlation+kld,hidden+kld"
EIGHT_LOSSES = f"{FIVE_LOSSES},cosine,align-cosine,align-frobenius"
# One question a line; every arm but "none" and "none-..." learns from its unpruned self.
WHY = (
    "none{prune.losses=none}",
    "cc{prune.losses=cross-correlation}",
    "cc-weight-0.1{prune.losses=cross-correlation:0.1}",
    "cc-weight-10{prune.losses=cross-correlation:10}",
    'cc-lambda-0{prune.losses=[{name="cross-correlation",off_diagonal=0.0}]}',
    'cc-lambda-0.05{prune.losses=[{name="cross-correlation",off_diagonal=0.05}]}',
    'cc-first{prune.losses=[{name="cross-correlation",representation="first"}]}',
    'cc-pooled{prune.losses=[{name="cross-correlation",representation="pooled"}]}',
    'cc-tokens{prune.losses=[{name="cross-correlation",representation="tokens"}]}',
    'cc-tokens-all-layers{prune.losses=[{name="cross-correlation",representation="tokens",layers="all",weight=2.0}]}',
    "cosine{prune.losses=cosine}",
    "hidden{prune.losses=hidden}",
    "kld-only{prune.losses=kld:1}",
    "align-cosine{prune.losses=align-cosine}",
    "align-frobenius{prune.losses=align-frobenius}",
    "none-by-layer{prune.losses=none;prune.scope=layer}",
    "hidden-kld-by-layer{prune.losses=hidden+kld;prune.scope=layer}",
    "none-lr-4e-4{prune.losses=none;prune.learning_rate=4e-4}",
    "none-lr-1e-4{prune.losses=none;prune.learning_rate=1e-4}",
    "hidden-kld-lr-4e-4{prune.losses=hidden+kld;prune.learning_rate=4e-4}",
    "none-12-epochs{prune.losses=none;prune.epochs=12}",
    "cc-12-epochs{prune.losses=cross-correlation;prune.epochs=12}",
    "hidden-kld-12-epochs{prune.losses=hidden+kld;prune.epochs=12}",
    "none-batch-64{prune.losses=none;prune.batch_size=64;prune.epochs=12}",
    "cc-batch-64{prune.losses=cross-correlation;prune.batch_size=64;prune.epochs=12}",
)


@dataclass(frozen=True)
class Part:
    """One call of `sdp study`.

    Attributes:
        name: of the part and of its folder.
        task: names the recipe in study_recipes and the data's folder.
        vary: the `--vary` options.
        baseline: the `--baseline` option.
        fixed: the `--set` options.
        train: the training file, where it is not the task's usual one.
        gpu: whether it takes a GPU to finish in hours.
    """

    name: str
    task: str
    vary: tuple[str, ...]
    baseline: str
    fixed: tuple[str, ...] = SMALL
    train: str | None = None
    gpu: bool = False


PARTS = (
    # Rows enough to tell arms apart in separability and recovery; looking at them takes a third of the time.
    Part("losses-sst2", "sst2", (f"prune.losses={FIVE_LOSSES}",), "prune.losses=none", (*SMALL, "analysis.rows=96")),
    Part("losses-mrpc", "mrpc", (f"prune.losses={FIVE_LOSSES}",), "prune.losses=none"),
    Part("losses-rte", "rte", (f"prune.losses={FIVE_LOSSES}",), "prune.losses=none"),
    Part("why-sst2", "sst2", (f"arm={','.join(WHY)}",), "arm=none"),
    Part(
        "sparsity-sst2",
        "sst2",
        ("prune.losses=none,cross-correlation,hidden+kld", "prune.sparsity=0.5,0.8,0.95"),
        "prune.losses=none",
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
    options = [("--vary", vary) for vary in part.vary] + [("--set", setting) for setting in (*places, *part.fixed)]
    recipe = HERE / "study_recipes" / f"{part.task}.toml"
    return [
        *("study", str(recipe), "--out", str(RESULTS / part.name)),
        *("--baseline", part.baseline, "--seeds", str(seeds)),
        *(word for option in options for word in option),
    ]


if __name__ == "__main__":
    app()
