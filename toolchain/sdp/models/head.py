"""The trained head of a checkpoint: its classes in its order, and their match with the data. Needs no torch.

A checkpoint has a trained head if its weights hold the output layer of one; an encoder, or one with the head of its
pretraining, has none. Labels are matched by name: exactly, or else without regard to case. Names that are numbers or
LABEL_0, LABEL_1, ... (what transformers calls classes without a name) match integer labels, and the classes of a
benchmark by their number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sdp.errors import ModelError, RunError
from sdp.models.architectures import ANY_LAYOUT
from sdp.models.parts import tensor_shapes
from sdp.models.source import ModelFolder
from sdp.pipeline.files import read_json
from sdp.recipe.benchmark_tasks import ProblemType
from sdp.recipe.sections import Recipe

# A config may keep the architecture of the pretraining.
_PRETRAINING = ("ForMaskedLM", "ForPreTraining")
_CLASSES: Mapping[ProblemType, str] = {
    "tagging": "ForTokenClassification",
    "question-answering": "ForQuestionAnswering",
}
_OUTPUTS: Mapping[ProblemType, int] = {"question-answering": 2}
_NUMBER = re.compile(r"(?:LABEL_)?(0|[1-9]\d{0,8})")
# A config may come from anywhere.
_MOST_CLASSES = 10_000
_MOST_SHOWN = 30
TRAINED_FOR: Mapping[ProblemType, str] = {
    "classification": "single_label_classification",
    "multi-label": "multi_label_classification",
}
"""How transformers names the kinds of tasks whose outputs are classes of a row."""


@dataclass(frozen=True)
class Head:
    """A trained head, as config.json and the weights describe it.

    Attributes:
        names: the classes in the order of the outputs.
        outputs: rows of the output layer.
        architecture: the model class that it belongs to; empty where config.json names none.
        problem_type: what it was trained for, as transformers names it; None where config.json does not hold it.
    """

    names: tuple[str, ...]
    outputs: int
    architecture: str = ""
    problem_type: str | None = None


@dataclass(frozen=True)
class KeptHead:
    """A trained head that fits the data.

    Attributes:
        names: its classes in its order.
        labels: the data's names of the same classes, in the same order; empty for tasks without classes.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def line(self) -> str:
        """A line for output."""
        if not self.labels:
            gives = "one score" if len(self.names) == 1 else "start and end of an answer"
            return f"the checkpoint's head is kept: it gives {gives}"
        own = f" (in the data: {_listed(self.labels)})" if self.labels != self.names else ""
        return f"the checkpoint's head is kept: its classes in its order: {_listed(self.names)}{own}"


def read_head(folder: ModelFolder) -> Head | None:
    """Read the trained head of a checkpoint; None without one.

    Raises:
        ModelError: a safetensors file is damaged.
    """
    shapes = tensor_shapes(folder)
    output = next((shapes[name] for name in ANY_LAYOUT.outputs if len(shapes.get(name, ())) == 2), None)
    if output is None:
        return None
    config = read_json(folder.path / "config.json") or {}
    named = config.get("architectures")
    architecture = str(named[0]) if isinstance(named, list) and named else ""
    kind = config.get("problem_type")
    return Head(config_names(config), output[0], architecture, kind if isinstance(kind, str) else None)


def config_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the classes in a config.json, in the order of their ids; LABEL_0, ... without names."""
    names = config.get("id2label")
    if isinstance(names, dict) and set(names) == {str(place) for place in range(len(names))}:
        return tuple(str(names[str(place)]) for place in range(len(names)))
    count = config.get("num_labels")
    # transformers' default is two.
    return tuple(f"LABEL_{place}" for place in range(min(count, _MOST_CLASSES) if isinstance(count, int) else 2))


def match_labels(names: Sequence[str], labels: Sequence[str], *, numbered: bool) -> tuple[str, ...] | None:
    """Return the data's labels in the order of a head's names; None where the classes differ.

    Args:
        names: the head's classes by output.
        labels: the data's classes by their number.
        numbered: whether the number of a class stands for it in the data, as in a benchmark.
    """
    if len(names) != len(labels) or len(set(names)) < len(names):
        return None
    spellings: tuple[Callable[[str], str], ...] = (str, str.casefold)
    for spelled in spellings:
        by_name = {spelled(label): label for label in labels}
        # Two labels that differ in case alone stay two.
        if len(by_name) == len(labels) and {spelled(name) for name in names} == by_name.keys():
            return tuple(by_name[spelled(name)] for name in names)
    by_number = dict(enumerate(labels)) if numbered else {_number(label): label for label in labels}
    numbers = [_number(name) for name in names]
    if set(numbers) == set(range(len(names))) == by_number.keys():
        return tuple(by_number[number] for number in numbers)
    return None


def unnamed(names: Sequence[str]) -> bool:
    """Whether the names of classes are numbers alone."""
    return all(_number(name) >= 0 for name in names)


def _number(name: str) -> int:
    """Return the number of a class whose name is a number; -1 for a class with another name."""
    found = _NUMBER.fullmatch(name)
    return int(found[1]) if found else -1


def choose_head(recipe: Recipe, folder: ModelFolder, labels: Sequence[str]) -> KeptHead | None:
    """Return the checkpoint's head if it exists and the recipe keeps it; None for a new head.

    Args:
        recipe: the recipe.
        folder: the checkpoint.
        labels: the data's classes by their number; empty for regression and ranking.

    Raises:
        ModelError: the head does not fit the data, or `finetune.epochs = 0` wants one and there is none.
    """
    head = read_head(folder) if recipe.model.head == "auto" else None
    untrained = not recipe.finetune.trains
    if head is None:
        if untrained:
            what = "finetune.epochs = 0 takes the checkpoint as it is, and it has no trained head"
            hint = "Set finetune.epochs to 1 or more, or name a checkpoint that is fine-tuned for the task."
            raise ModelError(what, where=str(folder.path), hint=hint)
        return None
    problem, order = fit_head(head, recipe.task.problem_type, labels, numbered=recipe.task.known is not None)
    if problem is not None:
        new = 'Set model.head = "new" to train a new head'
        new += ", and finetune.epochs to 1 or more" if untrained else ""
        hint = f"{new}. A head for the same classes is kept if config.json (id2label) names them as the data does."
        raise ModelError(problem, where=str(folder.path), hint=hint)
    return KeptHead(head.names, order)


def fit_head(
    head: Head, kind: ProblemType, labels: Sequence[str], *, numbered: bool
) -> tuple[str | None, tuple[str, ...]]:
    """Return the reason why a head does not fit a task, or None and the data's labels in its order.

    Args:
        head: the head.
        kind: the kind of task.
        labels: the data's classes by their number; empty for regression and ranking.
        numbered: as in `match_labels`.
    """
    wanted = _CLASSES.get(kind, "ForSequenceClassification")
    # Some kinds have two classes for one task, such as XLMForQuestionAnsweringSimple.
    if "For" in head.architecture and not head.architecture.removesuffix("Simple").endswith((wanted, *_PRETRAINING)):
        return f"the checkpoint's head belongs to {head.architecture}, and the task is {kind}", ()
    if kind in TRAINED_FOR and head.problem_type not in (None, TRAINED_FOR[kind]):
        return f"the checkpoint's head was trained for {head.problem_type}, and the task is {kind}", ()
    if len(head.names) != head.outputs:
        count = f"{len(head.names)} class{'es' * (len(head.names) != 1)}"
        return f"config.json names {count}, and the checkpoint's head has {head.outputs} outputs", ()
    if not labels:
        what = f"the checkpoint's head has {head.outputs} classes ({_listed(head.names)}), and a {kind} has one score"
        if kind == "question-answering":
            what = f"the checkpoint's head has {head.outputs} outputs, and an answer has two, its start and its end"
        return (None if head.outputs == _OUTPUTS.get(kind, 1) else what), ()
    order = match_labels(head.names, labels, numbered=numbered)
    if order is not None:
        return None, order
    return f"the checkpoint's head has {_set(head.names, labels)}; the data has {_set(labels, head.names)}", ()


def finetuned_order(recipe: Recipe, folder: ModelFolder, labels: Sequence[str]) -> tuple[str, ...]:
    """Return the data's labels in the order of a fine-tuned model's outputs.

    Raises:
        RunError: its config.json names other classes.
    """
    names = config_names(read_json(folder.path / "config.json") or {})
    order = match_labels(names, labels, numbered=recipe.task.known is not None)
    if order is None:
        what = f"damaged: it names the classes {_listed(names)}; the data has {_listed(labels)}"
        hint = "Delete the stage's folder: the same command makes it again."
        raise RunError(what, where=str(folder.path / "config.json"), hint=hint)
    return order


def _set(own: Sequence[str], other: Sequence[str]) -> str:
    """Format the number and names of classes; of many only those that the other set lacks."""
    only = [name for name in own if name not in other] if len(own) > _MOST_SHOWN else []
    which = f" that are not in the other: {_listed(only)}" if only else f": {_listed(own)}"
    return f"{len(own)} class{'es' * (len(own) != 1)}" + (f", {len(only)}" if only else "") + which


def _listed(names: Sequence[str]) -> str:
    more = f", and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(names[:_MOST_SHOWN]) + more
