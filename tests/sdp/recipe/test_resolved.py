"""Resolved settings: every default as a value, whatever it comes from."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from sdp.recipe import benchmark_tasks, gate, task
from sdp.recipe.base import Section
from sdp.recipe.bench import BenchSection
from sdp.recipe.export import ExportSection
from sdp.recipe.gate import GateSection
from sdp.recipe.pruning import PruneSection
from sdp.recipe.sections import Recipe
from sdp.recipe.task import TaskSection

XNLI = TaskSection(name="xnli")


@pytest.mark.parametrize(
    ("silent", "explicit"),
    [
        (TaskSection(type="tagging"), TaskSection(type="tagging", metric="entity-f1")),
        (TaskSection(type="ranking"), TaskSection(type="ranking", eval_languages=("en",))),
        (XNLI, TaskSection(name="xnli", type="classification", metric="accuracy", eval_languages=XNLI.languages)),
        (ExportSection(), ExportSection(tolerance=1e-4)),
        (ExportSection(precision="int8"), ExportSection(precision="int8", tolerance=0.2)),
        (BenchSection(threads=4), BenchSection(threads=(4,))),
        (
            PruneSection(),
            PruneSection(sparsity=0.9, labels=False, freeze_head=True, freeze_embeddings=True, max_layer_sparsity=0.98),
        ),
        (PruneSection(scope="layer"), PruneSection(scope="layer", max_layer_sparsity=1.0)),
    ],
)
def test_a_default_is_its_value(silent: Section, explicit: Section) -> None:
    assert silent != explicit or silent.model_fields_set != explicit.model_fields_set
    assert silent.resolved() == explicit.resolved()


def test_keys_are_those_of_the_file_and_properties_that_fill_in_none_follow() -> None:
    resolved = GateSection().resolved()
    fields = list(GateSection.model_fields)
    assert list(resolved) == [*fields, "default_applies", "measured_again", "thresholds"]
    assert resolved["max_metric_drop"] == gate.DEFAULT_METRIC_DROP
    *_, loss = PruneSection().resolved()["losses"]
    assert (loss["off_diagonal"], loss["reads"], loss["shares"]) == (0.005, "rows", False)


def test_a_known_task_is_recorded_with_its_row_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = XNLI.resolved()
    assert resolved["known"]["labels"] == list(benchmark_tasks.INFERENCE)
    assert resolved["known"]["text"] == list(benchmark_tasks.find_task("xnli").text)
    assert len(resolved["eval_languages"]) == 15
    monkeypatch.setitem(task.METRICS_BY_TYPE, "regression", ("spearman", "pearson"))
    assert TaskSection(type="regression").resolved()["metric"] == "spearman"


@pytest.mark.parametrize("name", sorted(Recipe.model_fields.keys() - {"name", "seed"}))
def test_every_property_of_a_section_is_resolved(name: str) -> None:
    """A default that a property supplies is in the fingerprint, also one that is added tomorrow."""
    annotation: Any = Recipe.model_fields[name].annotation
    section = next(kind for kind in (*get_args(annotation), annotation) if isinstance(kind, type))
    bases = [base for base in section.__mro__ if issubclass(base, Section)]
    known = {key for base in bases for key, value in vars(base).items() if isinstance(value, property)}
    given = {"task": {"type": "regression"}, "model": {"name": "m"}, "vocabulary": {"size": 9}}.get(name, {})
    resolved = section.model_validate(given).resolved()
    assert known <= resolved.keys() | set(section.filled_in.values())
    assert set(section.filled_in.values()) <= known
    assert section.filled_in.keys() <= section.model_fields.keys()
