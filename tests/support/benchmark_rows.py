"""Generated rows with the columns, splits and configurations of the benchmark tasks, as folders in hub form."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pandas as pd

from sdp.recipe.benchmark_tasks import Task
from support.toy import BAD, FILLER, GOOD

Rows = dict[str, list[Any]]
_ANSWERS = {"text": "string", "answer_start": "int32"}


def task_rows(task: Task, count: int, seed: int) -> Rows:
    """Rows that carry their label in their words, as the data set stores them: class ids, tag ids, numbers."""
    generator = random.Random(seed)
    return {
        "classification": _texts,
        "regression": _texts,
        "tagging": _sentences,
        "ranking": _texts,
        "question-answering": _questions,
    }[task.type](task, count, generator)


def _texts(task: Task, count: int, generator: random.Random) -> Rows:
    rows: Rows = {column: [] for column in (*task.text, task.label)}
    for index in range(count):
        label = index % max(len(task.labels), 2)
        for column in task.text:
            words = [generator.choice(FILLER) for _ in range(3)]
            # The label is how many words of praise there are.
            rows[column].append(" ".join([*words, *[generator.choice(GOOD)] * label]))
        rows[task.label].append(label + 0.5 if task.type == "regression" else label)
        if task.group:
            rows[task.group][-1] = f"{FILLER[index // 4 % len(FILLER)]} {index // 4}"
    return rows


def _sentences(task: Task, count: int, generator: random.Random) -> Rows:
    words = [*GOOD, *BAD, *FILLER]
    rows: Rows = {task.text[0]: [], task.label: []}
    for _ in range(count):
        ids = [generator.randrange(len(task.labels)) for _ in range(generator.randint(2, 5))]
        rows[task.text[0]].append([words[i] for i in ids])
        rows[task.label].append(ids)
    return rows


def _questions(task: Task, count: int, generator: random.Random) -> Rows:
    rows: Rows = {column: [] for column in (*task.text, task.label)}
    for index in range(count):
        words = [generator.choice(FILLER) for _ in range(generator.randint(2, 80))]
        praise = generator.choice(GOOD)
        before = " ".join(words)
        # SQuAD 2.0 has questions without an answer.
        answered = task.name == "squad" or index % 3 > 0
        rows[task.text[0]].append("what is praise")
        rows[task.text[1]].append(f"{before} {praise}" if answered else before)
        starts = [len(before) + 1] if answered else []
        rows[task.label].append({"text": [praise] * len(starts), "answer_start": starts})
    return rows


def write_hub_folder(folder: Path, task: Task, *, train: int, evaluation: int) -> None:
    """Write a task's data set as the hub stores it: parquet files by configuration, and a README about them."""
    languages = task.languages if "{language}" in f"{task.config}{task.dev}" else ("",)
    described = []
    for config in dict.fromkeys(task.config.replace("{language}", language) for language in languages):
        splits = {task.train: train}
        for split in filter(None, (task.dev, task.test)):
            for part in task.subsets or languages:
                splits[split.replace("{language}", part).replace("{subset}", part)] = evaluation
        (folder / config).mkdir(parents=True)
        for number, (split, count) in enumerate(splits.items()):
            rows = pd.DataFrame(task_rows(task, count, seed=number))
            rows.to_parquet(folder / config / f"{split}-00000-of-00001.parquet")
        described.append((config, list(splits)))
    (folder / "README.md").write_text(_readme(task, described))


def _readme(task: Task, described: list[tuple[str, list[str]]]) -> str:
    features, configs = [], []
    for config, splits in described:
        features.append(f"- config_name: {config}\n  features:")
        features += [_feature(column, "string", many=task.type == "tagging") for column in task.text]
        if task.type == "question-answering":
            features.append(f"  - name: {task.label}\n    sequence:")
            features += [f"    - name: {name}\n      dtype: {kind}" for name, kind in _ANSWERS.items()]
        else:
            features.append(_feature(task.label, _label_type(task), many=task.type == "tagging"))
        configs.append(f"- config_name: {config}\n  data_files:")
        configs += [f"  - split: {split}\n    path: {config}/{split}-*" for split in splits]
    return "\n".join(["---", "dataset_info:", *features, "configs:", *configs, "---", ""])


def _feature(name: str, kind: str, *, many: bool) -> str:
    return f"  - name: {name}\n    {'sequence' if many else 'dtype'}:{kind if kind[0].isspace() else f' {kind}'}"


def _label_type(task: Task) -> str:
    if not task.labels:
        return "float64"
    names = "".join(f"\n{' ' * 10}'{i}': '{name}'" for i, name in enumerate(task.labels))
    return f"\n      class_label:\n        names:{names}"
