"""The benchmark tasks that sdp knows: a literal table, one row a task.

A recipe names one with `task.name`; anything else in `[data]` overrides what stands here, so the same task can be read
from the hub, from a folder of the same form, or from plain files.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

XNLI_LANGUAGES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")


@dataclass(frozen=True)
class Task:
    """Where a benchmark task is found on the hub, its columns, its score and its languages."""

    name: str
    type: Literal["classification", "regression"]
    metric: Literal["accuracy", "f1", "matthews", "pearson"]
    dataset: str
    config: str | None
    text: tuple[str, ...]
    label: str
    train: str = "train"
    dev: str = "validation"
    test: str | None = None
    languages: tuple[str, ...] = ("en",)


# GLUE's own test sets have no public labels, so its tasks have no test split here.
_TASKS = (
    Task("sst2", "classification", "accuracy", "nyu-mll/glue", "sst2", ("sentence",), "label"),
    Task(
        name="xnli",
        type="classification",
        metric="accuracy",
        dataset="facebook/xnli",
        config="{language}",
        text=("premise", "hypothesis"),
        label="label",
        test="test",
        languages=XNLI_LANGUAGES,
    ),
)

TASKS: dict[str, Task] = {task.name: task for task in _TASKS}


def find_task(name: str) -> Task:
    """Return the task of that name.

    Raises:
        ValueError: there is none; the message names the nearest.
    """
    if name in TASKS:
        return TASKS[name]
    near = difflib.get_close_matches(name, TASKS, n=1)
    meant = f'; did you mean "{near[0]}"?' if near else ""
    raise ValueError(f'unknown task "{name}"{meant} (known: {", ".join(sorted(TASKS))}; or give type for your own)')
