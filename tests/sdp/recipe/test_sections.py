"""What the sections work out from what a recipe says, and the rules between their keys."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sdp.recipe.base import Section
from sdp.recipe.benchmark_tasks import TASKS, XNLI_LANGUAGES
from sdp.recipe.data import DataSection
from sdp.recipe.losses import LOSSES
from sdp.recipe.pruning import PruneSection
from sdp.recipe.sections import Recipe
from sdp.recipe.task import METRICS_BY_TYPE, TaskSection

FILES: dict[str, Any] = {"train": "a.tsv", "dev": "b.tsv", "text": ("t",), "label": "l"}
DOCSTRINGS = {"packages": ("json", "ast"), "train": 10, "dev": 10}


SECTIONS = [field for field in Recipe.model_fields.values() if isinstance(field.annotation, type(Section))]


def recipe(**sections: Any) -> Recipe:
    given = {"name": "x", "model": {"name": "m"}, "task": {"type": "classification"}, "data": FILES}
    return Recipe.model_validate(given | sections)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_known_task_brings_type_metric_and_languages(name: str) -> None:
    task = TaskSection(name=name)
    assert (task.problem_type, task.score) == (TASKS[name].type, TASKS[name].metrics[0])
    assert task.languages == TASKS[name].languages
    assert recipe(task={"name": name}, data={}).data.train is None


def test_languages() -> None:
    assert len(TaskSection(name="xnli").languages) == len(set(XNLI_LANGUAGES)) == 15
    assert TaskSection(name="xnli", eval_languages=("de", "sw")).languages == ("de", "sw")
    assert TaskSection(type="classification").languages == ("en",)
    own = TaskSection(type="classification", train_languages=("de",), eval_languages=("de", "fr"))
    assert own.languages == ("de", "fr")
    with pytest.raises(ValidationError, match="name them"):
        TaskSection(type="classification", train_languages=("de",))


def test_the_two_metrics_of_a_task() -> None:
    assert (TaskSection(name="mrpc").score, TaskSection(name="mrpc").also) == ("f1", ("accuracy",))
    assert (TaskSection(name="stsb").score, TaskSection(name="stsb").also) == ("pearson", ("spearman",))
    assert TaskSection(name="qqp", metric="accuracy").also == ("f1",)
    assert TaskSection(type="classification", metric="f1").also == ()


def test_subsets() -> None:
    assert TaskSection(name="mnli").subset_names == ("matched", "mismatched")
    assert TaskSection(name="sst2").subset_names == ()
    assert TaskSection(type="classification", subsets=("old", "new")).subset_names == ("old", "new")
    for bad in ((), ("a", "a"), ("",)):
        with pytest.raises(ValidationError):
            TaskSection(type="classification", subsets=bad)
        with pytest.raises(ValidationError, match=r"eval_languages|at least"):
            TaskSection(name="xnli", eval_languages=bad)


def test_columns_fit_the_kind_of_problem() -> None:
    with pytest.raises(ValidationError, match=r"data\.group"):
        recipe(task={"type": "ranking"})
    assert recipe(task={"type": "ranking"}, data={**FILES, "group": "q"}).data.group == "q"
    with pytest.raises(ValidationError, match="forms the lists"):
        recipe(data={**FILES, "group": "q"})
    with pytest.raises(ValidationError, match="one column of words"):
        recipe(task={"type": "tagging"}, data={**FILES, "text": ("a", "b")})


def test_the_language_of_a_single_training_split_is_not_ours_to_choose() -> None:
    with pytest.raises(ValidationError, match="English alone"):
        recipe(task={"name": "ner", "train_languages": ("de",)}, data={})
    assert recipe(task={"name": "xnli", "train_languages": ("de",)}, data={}).task.train_languages == ("de",)
    own = {"train": "train.de.tsv", "dev": "dev.{language}.tsv"}
    assert recipe(task={"name": "ner", "train_languages": ("de",)}, data=own).data.train == "train.de.tsv"


def test_metrics_fit_their_problem() -> None:
    assert TaskSection(type="classification").score == "accuracy"
    assert TaskSection(type="regression").score == "pearson"
    assert TaskSection(name="sst2", metric="matthews").score == "matthews"
    for kind, metrics in METRICS_BY_TYPE.items():
        for others in METRICS_BY_TYPE.values():
            for metric in others:
                if metric in metrics:
                    assert TaskSection(type=kind, metric=metric).score == metric
                else:
                    with pytest.raises(ValidationError, match=f"use one of {metrics[0]}"):
                        TaskSection(type=kind, metric=metric)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, "needs either name"),
        ({"name": "xnly"}, 'did you mean "xnli"'),
        ({"name": "xnli", "type": "regression"}, "contradicts"),
    ],
)
def test_tasks_that_cannot_be(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        TaskSection(**keys)


@pytest.mark.parametrize("key", ["train", "dev", "text", "label"])
def test_a_task_of_ones_own_needs_its_columns_and_files(key: str) -> None:
    with pytest.raises(ValidationError, match=f"data.{key}"):
        recipe(data={name: value for name, value in FILES.items() if name != key})


def test_docstrings_stand_alone() -> None:
    assert recipe(data={"docstrings": DOCSTRINGS}).data.docstrings is not None
    with pytest.raises(ValidationError, match="remove train, label"):
        DataSection.model_validate({"docstrings": DOCSTRINGS, "train": "a.tsv", "label": "l"})
    with pytest.raises(ValidationError, match="classification source"):
        recipe(task={"type": "regression"}, data={"docstrings": DOCSTRINGS})
    with pytest.raises(ValidationError, match="at least 2"):
        recipe(data={"docstrings": DOCSTRINGS | {"packages": ("json",)}})


def test_a_configuration_belongs_to_a_data_set() -> None:
    with pytest.raises(ValidationError, match="belongs to dataset"):
        DataSection(config="en")


def test_losses() -> None:
    assert [loss.name for loss in PruneSection().losses] == ["squared-error", "cross-correlation"]
    for name, row in LOSSES.items():
        (loss,) = PruneSection.model_validate({"losses": ({"name": name},)}).losses
        assert type(loss) is row.settings
    with pytest.raises(ValidationError, match="less than or equal"):
        PruneSection.model_validate({"losses": ({"name": "kld", "weight": 1.5},)})
    with pytest.raises(ValidationError, match="not a layer; remove layers"):
        PruneSection.model_validate({"losses": ({"name": "cosine", "representation": "pooled", "layers": (2,)},)})


@pytest.mark.parametrize("name", ["cosine", "cross-correlation"])
def test_a_tagging_task_has_no_pooled_representation(name: str) -> None:
    losses = ({"name": "kld"}, {"name": name, "representation": "pooled"})
    assert recipe(prune={"losses": losses}).prune.losses[1].name == name
    with pytest.raises(ValidationError, match=f'no pooled representation; give the loss {name} "tokens"'):
        recipe(task={"type": "tagging"}, prune={"losses": losses})
    others = ({"name": "kld"}, {"name": name, "representation": "tokens"})
    assert recipe(task={"type": "tagging"}, prune={"losses": others}).task.problem_type == "tagging"


@pytest.mark.parametrize("kind", ["regression", "ranking"])
def test_numbers_are_not_the_same_predictions(kind: str) -> None:
    task, data = {"type": kind}, {**FILES, "group": "g" if kind == "ranking" else None}
    assert recipe(task=task, data=data, gate={"max_relative_error": 1e-3}).gate.min_same_predictions is None
    with pytest.raises(ValidationError, match=r"max_relative_error fits"):
        recipe(task=task, data=data, gate={"min_same_predictions": 0.9})


def test_only_what_is_timed_is_measured_again() -> None:
    assert not recipe(gate={"min_metric": 0.5, "max_size_mb": 3.0}).gate.measured_again
    assert recipe(gate={"max_memory_mb": 200.0}).gate.measured_again
    assert not recipe(gate={"max_memory_mb": 200.0, "budget_seconds": 0.0}).gate.measured_again


def test_threads_are_one_number_or_several() -> None:
    assert recipe(bench={"threads": 3}).bench.thread_counts == (3,)
    assert recipe(bench={"threads": (1, 2)}).bench.thread_counts == (1, 2)


@pytest.mark.parametrize("name", ["a", "A.b-c_1", "0"])
def test_names_that_are_folders(name: str) -> None:
    assert recipe(name=name).name == name


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a\\b", "-x", "a b", "a\n", "ä", "x" * 101])
def test_names_that_are_no_folder(name: str) -> None:
    with pytest.raises(ValidationError):
        recipe(name=name)


@pytest.mark.parametrize(
    "section", [Recipe, *(row.settings for row in LOSSES.values()), *(field.annotation for field in SECTIONS)]
)
def test_every_section_is_frozen_strict_about_keys_and_described(section: type[Section]) -> None:
    assert section.model_config.get("frozen") is True
    assert section.model_config.get("extra") == "forbid"
    assert section.model_config.get("allow_inf_nan") is False
    assert section.__doc__
