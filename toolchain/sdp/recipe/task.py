"""The recipe's [task]: the problem type, the metric and the languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from sdp.recipe.base import Section
from sdp.recipe.benchmark_tasks import TASKS, MetricName, ProblemType, Task, find_task

METRICS_BY_TYPE: dict[ProblemType, tuple[MetricName, ...]] = {
    "classification": ("accuracy", "f1", "macro-f1", "matthews"),
    "multi-label": ("micro-f1", "macro-f1", "accuracy"),
    "regression": ("pearson", "spearman"),
    "tagging": ("entity-f1", "accuracy"),
    "ranking": ("ndcg",),
    "embedding": ("spearman", "pearson"),
    "question-answering": ("answer-f1", "exact-match"),
}


class TaskSection(Section):
    """What is predicted, and how it is scored."""

    filled_in: ClassVar[Mapping[str, str]] = {
        "type": "problem_type",
        "metric": "score",
        "eval_languages": "languages",
        "subsets": "subset_names",
    }

    name: str | None = None
    """A benchmark task that sdp knows (columns, metric and data set come with it). Without it, give `type`."""
    type: ProblemType | None = None
    """The kind of problem, for a task of one's own."""
    metric: MetricName | None = None
    """How it is scored; without it accuracy, for regression pearson, for embedding spearman, for tagging entity-f1, for
    ranking ndcg, for multi-label micro-f1 (there accuracy counts the rows whose labels are all right), for question
    answering answer-f1, of the words of an answer (SQuAD; exact-match is reported beside it). f1 is the F1 of the
    second of two classes, as the data orders them (numbers by value, others by name; a known task by its table),
    whatever the order in a model's head. A known task's other official metric is reported beside it."""
    pooling: Literal["mean", "cls"] | None = None
    """Of an embedding: how one vector is made of the last layer's tokens, their mean or the first one; it is then
    scaled to length 1. Without it both are what modules.json of a sentence-transformers folder states."""
    train_languages: tuple[str, ...] = Field(default=("en",), min_length=1)
    """Languages to train on, where the data's names hold "{language}". Choices are made on their dev rows alone, and
    the other languages' average is the zero-shot one."""
    eval_languages: tuple[str, ...] | Literal["all"] = "all"
    """Languages to evaluate on, where the data's names hold "{language}"; "all" means all that the task lists."""
    subsets: tuple[str, ...] | None = Field(default=None, min_length=1)
    """What "{subset}" stands for in the names of dev and test, each scored by itself; choices are made on the first."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None:
            find_task(name)
        return name

    @model_validator(mode="after")
    def _known_or_described(self) -> TaskSection:
        if self.name is None and self.type is None:
            raise ValueError(f'needs either name (one of {", ".join(sorted(TASKS))}) or type = "classification"')
        if self.name is not None:
            task = find_task(self.name)
            if self.type not in (None, task.type):
                raise ValueError(f'type = "{self.type}" contradicts the task {self.name}, which is {task.type}')
        if self.metric is not None and self.metric not in METRICS_BY_TYPE[self.problem_type]:
            allowed = ", ".join(METRICS_BY_TYPE[self.problem_type])
            raise ValueError(f'metric "{self.metric}" does not fit a {self.problem_type} task; use one of {allowed}')
        for key in ("train_languages", "eval_languages", "subsets"):
            values = getattr(self, key)
            if isinstance(values, tuple) and (not values or "" in values or len(set(values)) < len(values)):
                raise ValueError(f"{key} is empty, or holds an empty name, or one twice")
        if self.pooling is not None and self.problem_type != "embedding":
            raise ValueError(f"pooling makes the vector of an embedding, and this task is {self.problem_type}")
        if self.eval_languages == "all" and self.name is None and self.train_languages != ("en",):
            raise ValueError('eval_languages = "all" needs a task that lists its languages; name them')
        return self

    @property
    def known(self) -> Task | None:
        """The entry in the table of tasks, or None for a custom task."""
        return find_task(self.name) if self.name is not None else None

    @property
    def problem_type(self) -> ProblemType:
        """The problem type, from the table for a known task."""
        return self.known.type if self.known is not None else self.type or "classification"

    @property
    def has_no_classes(self) -> bool:
        """Whether rows have numbers in place of classes."""
        return self.problem_type in ("regression", "ranking", "embedding", "question-answering")

    @property
    def score(self) -> MetricName:
        """The metric of the task, with the defaults filled in."""
        if self.metric is not None:
            return self.metric
        return self.known.metrics[0] if self.known is not None else METRICS_BY_TYPE[self.problem_type][0]

    @property
    def also(self) -> tuple[MetricName, ...]:
        """Other official metrics of a known task, reported beside the score; of question answering always both."""
        official = self.known.metrics if self.known else ()
        if self.problem_type == "question-answering":
            official = METRICS_BY_TYPE[self.problem_type]
        return tuple(metric for metric in official if metric != self.score)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages to evaluate on, with "all" filled in."""
        if self.eval_languages == "all":
            return self.known.languages if self.known is not None else self.train_languages
        return self.eval_languages

    @property
    def subset_names(self) -> tuple[str, ...]:
        """The subsets of dev and test, from the task where the recipe names none."""
        return self.subsets or (self.known.subsets if self.known is not None else ())
