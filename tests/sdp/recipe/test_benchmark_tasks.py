"""The table of tasks agrees with itself and with what the benchmarks publish."""

from __future__ import annotations

import pytest

from sdp.recipe.benchmark_tasks import TASKS, Task
from sdp.recipe.task import METRICS_BY_TYPE

GLUE = {"cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte"}
XGLUE = {"xnli", "pawsx", "nc", "ner", "pos", "qam", "qadsm", "wpr"}
SQUAD = {"squad", "squad-v2"}
# GLUE (arXiv 1804.07461), table 1; XGLUE (arXiv 2004.01401), table 1.
METRICS = {
    "cola": {"matthews"},
    "mrpc": {"f1", "accuracy"},
    "qqp": {"f1", "accuracy"},
    "stsb": {"pearson", "spearman"},
    "ner": {"entity-f1"},
    "wpr": {"ndcg"},
    # SQuAD (arXiv 1606.05250 and 1806.03822).
    "squad": {"answer-f1", "exact-match"},
    "squad-v2": {"answer-f1", "exact-match"},
}


def test_the_tasks_and_their_metrics() -> None:
    assert set(TASKS) == GLUE | XGLUE | SQUAD
    assert {name: set(task.metrics) for name, task in TASKS.items()} == {
        name: METRICS.get(name, {"accuracy"}) for name in TASKS
    }


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_an_entry_is_whole(task: Task) -> None:
    assert set(task.metrics) <= set(METRICS_BY_TYPE[task.type])
    assert len(set(task.labels)) == len(task.labels)
    assert bool(task.labels) == (task.type not in ("regression", "question-answering"))
    assert (task.group is not None) == (task.type == "ranking")
    assert 1 <= len(task.text) <= 3
    assert ("{language}" in f"{task.config}{task.dev}") == (len(task.languages) > 1)
    assert ("{subset}" in task.dev) == bool(task.subsets)
    assert "en" in task.languages, "what the training rows are in"
    assert list(task.languages) == sorted(set(task.languages))
    assert (task.test is None) == (task.name in GLUE | SQUAD), "their test labels are hidden"


@pytest.mark.parametrize(
    ("name", "count"),
    [("xnli", 15), ("pawsx", 7), ("nc", 5), ("ner", 4), ("pos", 18), ("qam", 3), ("qadsm", 3), ("wpr", 7)],
)
def test_languages(name: str, count: int) -> None:
    assert len(TASKS[name].languages) == count


@pytest.mark.parametrize(
    ("name", "count"),
    [("ner", 4 * 2 + 1), ("pos", 17), ("nc", 10), ("wpr", 5), ("mnli", 3), ("xnli", 3), ("cola", 2), ("qadsm", 2)],
)
def test_classes(name: str, count: int) -> None:
    assert len(TASKS[name].labels) == count
