"""The points of the picture: every exported file that picture.py makes of a task's model, and the settings of each.

All of them come from one fine-tuned network, the teacher of them all: dense in int8; pruned in two patterns; with fewer
heads and neurons, and its first layers alone, dense and with 1x4 blocks of zeros in what is left.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from languages import LANGUAGES
from sdp.pipeline.stages import PRUNE
from study import FILES

Family = Literal[
    "dense",
    "1x4",
    "unstructured",
    "structured, fp32",
    "structured, int8",
    "structured and 1x4",
    "fewer layers, fp32",
    "fewer layers, int8",
    "fewer layers and 1x4",
    "peer",
    "structured in other engines",
]

SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95)
TASKS = ("sst2", "mrpc", "xnli")
# Layers that are kept: of 6, and of 12 on XNLI.
LAYERS = {"sst2": (1, 2, 3, 4), "mrpc": (1, 2, 3, 4), "xnli": (2, 4, 6, 8)}
# How many times as fast as the dense file a network with fewer heads and neurons shall be in fp32.
SPEEDUPS = (1.5, 2.0, 3.0)
STRUCTURED: Family = "structured, fp32"
# The point whose network other engines run as well.
IN_PEERS = "structured-2x"
# Such a speed-up, and the share of zeros in what is left.
COMBINED = ((2.0, 0.8), (2.0, 0.9), (3.0, 0.8))
# Zeros in what is left of half of the layers, and of two thirds.
ZEROS_IN_LAYERS = (0.8, 0.9)
# Of every file.
THREADS = 2


@dataclass(frozen=True)
class Point:
    """One exported file.

    Attributes:
        name: of its run folder, and in the JSON.
        title: beside its mark.
        family: points of one family are joined by a line.
        settings: overrides of the task's recipe.
        trains: whether it has steps of training after fine-tuning.
        source: the point whose finished stages it takes, up to `shared`.
        shared: name of the last of these stages.
        start: the point whose pruned network it prunes further.
    """

    name: str
    title: str
    family: Family
    settings: tuple[str, ...]
    trains: bool = True
    source: str | None = None
    shared: str = "finetune"
    start: str | None = None


INT8 = 'export.precision="int8"'
# Fine-tuning is in its run folder.
DENSE = Point("dense-int8", "dense int8", "dense", ("prune.sparsity=0", "prune.steps=0", INT8), trains=False)


def _pruned(pattern: Literal["1x4", "unstructured"], sparsity: float) -> Point:
    precision = (INT8,) if pattern == "1x4" else ()
    settings = (f"prune.sparsity={sparsity}", f'prune.pattern="{pattern}"', *precision)
    return Point(f"{pattern}-{sparsity * 100:.0f}", f"{sparsity:.0%}", pattern, settings, source=DENSE.name)


def _fewer_layers(layers: int) -> tuple[Point, Point]:
    """The same network in both precisions; it is trained once."""
    name, title = f"layers-{layers}", f"{layers} layer{'s' * (layers > 1)}"
    fp32 = Point(name, title, "fewer layers, fp32", ("prune.sparsity=0", f"prune.layers={layers}"), source=DENSE.name)
    int8 = replace(fp32, name=f"{name}-int8", family="fewer layers, int8", settings=(*fp32.settings, INT8))
    return fp32, replace(int8, source=name, shared="evaluate")


def _zeros_in_layers(layers: int, sparsity: float) -> Point:
    """Zeros in blocks in the first layers, in one training."""
    (first, _), pruned = _fewer_layers(layers), _pruned("1x4", sparsity)
    return replace(
        pruned,
        name=f"{first.name}-{pruned.name}",
        title=f"{first.title}, {pruned.title}",
        family="fewer layers and 1x4",
        settings=(*pruned.settings, f"prune.layers={layers}"),
    )


def _structured(speedup: float) -> Point:
    """As many times as fast as the dense file, both in fp32, with as many threads as the picture."""
    settings = ('prune.pattern="structured"', f"prune.target_speedup={speedup}", f"bench.threads=[{THREADS}]")
    return Point(f"structured-{speedup:g}x", f"{speedup:g}x", STRUCTURED, settings, source=DENSE.name)


def _combined(speedup: float, sparsity: float) -> Point:
    """Zeros in blocks in the network of another point."""
    first, pruned = _structured(speedup), _pruned("1x4", sparsity)
    return replace(
        pruned,
        name=f"{first.name}-{pruned.name}",
        title=f"{first.title}, {pruned.title}",
        family="structured and 1x4",
        start=first.name,
    )


_ALIKE = (
    DENSE,
    *(_pruned("1x4", sparsity) for sparsity in SPARSITIES),
    *(_pruned("unstructured", sparsity) for sparsity in SPARSITIES),
    *map(_structured, SPEEDUPS),
    *(_combined(speedup, sparsity) for speedup, sparsity in COMBINED),
)


def points_of(task: str) -> tuple[Point, ...]:
    """The points of a task; one that takes from another comes after it."""
    layers = LAYERS[task]
    return (
        *_ALIKE,
        *(point for count in layers for point in _fewer_layers(count)),
        *(_zeros_in_layers(count, sparsity) for count in layers[-2:] for sparsity in ZEROS_IN_LAYERS),
    )


def recipe_file(task: str) -> Path:
    """The recipe of a task."""
    return Path(__file__).parent / "recipes" / f"picture_{task}.toml"


def data_settings(task: str, data: Path) -> tuple[str, ...]:
    """The settings that name a task's files; `data` has a folder for each task."""
    folder = (data / task).resolve()
    if task in LANGUAGES:
        return (
            f'data.train="{folder}/train.en.tsv.gz"',
            f'data.dev="{folder}/dev.{{language}}.tsv.gz"',
            f'data.test="{folder}/test.{{language}}.tsv.gz"',
            f"task.eval_languages={json.dumps(LANGUAGES[task])}",
        )
    return tuple(
        f'data.{split}="{folder / file}"' for split, file in zip(("train", "dev", "test"), FILES[task], strict=True)
    )


def point_settings(point: Point, task: str, data: Path, model: str | None, steps: int | None, runs: Path) -> list[str]:
    """All overrides of a point's recipe.

    Args:
        point: the point.
        task: its task.
        data: has a folder for each task.
        model: in place of the recipe's.
        steps: of training after fine-tuning; sdp's default without it.
        runs: the task's folder of runs.
    """
    settings = [*data_settings(task, data)]
    if model is not None:
        settings.append(f'model.name="{model}"')
    if point.start is not None:
        settings.append(f'prune.start="{runs / point.start / PRUNE.folder}"')
    if point.trains and steps is not None:
        settings.append(f"prune.steps={steps}")
    return [*settings, *point.settings]
