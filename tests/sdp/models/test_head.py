"""The trained head of a checkpoint: which classes match which, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from sdp.errors import ModelError, RunError
from sdp.models.head import choose_head, config_names, finetuned_order, match_labels, read_head
from sdp.models.source import ModelFolder
from sdp.recipe.sections import Recipe

SEQUENCE, TOKEN = "BertForSequenceClassification", "BertForTokenClassification"
INFERENCE = ("entailment", "neutral", "contradiction")
FILES = {"train": "t.tsv", "dev": "d.tsv", "text": ("x",), "label": "y"}


def checkpoint(folder: Path, outputs: int, output: str = "classifier.weight", **config: object) -> ModelFolder:
    save_file({output: np.zeros((outputs, 4), np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architectures": [SEQUENCE], **config}))
    return ModelFolder("m", folder)


def named(*names: str) -> dict[str, dict[str, str]]:
    return {"id2label": {str(place): name for place, name in enumerate(names)}}


def recipe(head: str = "auto", epochs: float = 3, **task: object) -> Recipe:
    content = {"task": task or {"type": "classification"}, "data": {} if "name" in task else FILES}
    if task.get("type") == "ranking":
        content["data"] = {**FILES, "group": "q"}
    sections = {"model": {"name": "m", "head": head}, "finetune": {"epochs": epochs}}
    return Recipe.model_validate({"name": "r", **sections, **content})


@pytest.mark.parametrize(
    ("names", "labels", "order"),
    [
        (("c", "a", "b"), ("a", "b", "c"), ("c", "a", "b")),
        (("POSITIVE", "NEGATIVE"), ("negative", "positive"), ("positive", "negative")),
        (("straße", "B"), ("STRASSE", "b"), ("STRASSE", "b")),
        # Two classes that differ in case alone stay two.
        (("a", "A"), ("A", "a"), ("a", "A")),
        (("a", "A"), ("a", "b"), None),
        (("A", "b"), ("A", "a"), None),
        (("LABEL_0", "LABEL_1", "LABEL_2"), ("0", "1", "2"), ("0", "1", "2")),
        (("LABEL_1", "LABEL_0"), ("0", "1"), ("1", "0")),
        (("1", "0"), ("LABEL_0", "LABEL_1"), ("LABEL_1", "LABEL_0")),
        (tuple(f"LABEL_{n}" for n in range(11)), tuple(map(str, range(11))), tuple(map(str, range(11)))),
        (("LABEL_0", "LABEL_1"), ("1", "2"), None),
        (("LABEL_0", "LABEL_1"), ("neg", "pos"), None),
        (("LABEL_0", "LABEL_00"), ("0", "1"), None),
        (("a", "b", "c"), ("a", "b"), None),
        (("a", "b"), ("a", "b", "c"), None),
        (("a", "a"), ("a", "b"), None),
    ],
)
def test_matching(names: tuple[str, ...], labels: tuple[str, ...], order: tuple[str, ...] | None) -> None:
    assert match_labels(names, labels, numbered=False) == order


def test_the_classes_of_a_benchmark_have_numbers() -> None:
    for names in (("LABEL_0", "LABEL_1", "LABEL_2"), ("0", "1", "2")):
        assert match_labels(names, INFERENCE, numbered=True) == INFERENCE
    turned = ("contradiction", "entailment", "neutral")
    assert match_labels(("LABEL_2", "LABEL_0", "LABEL_1"), INFERENCE, numbered=True) == turned
    # Names come first.
    assert match_labels(("CONTRADICTION", "ENTAILMENT", "NEUTRAL"), INFERENCE, numbered=True) == turned


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (named("b", "a"), ("b", "a")),
        ({"id2label": {"1": "a", "0": "b"}}, ("b", "a")),
        ({"id2label": {"0": 1, "1": 0}}, ("1", "0")),
        ({}, ("LABEL_0", "LABEL_1")),
        ({"num_labels": 3}, ("LABEL_0", "LABEL_1", "LABEL_2")),
        ({"id2label": {"1": "a", "2": "b"}}, ("LABEL_0", "LABEL_1")),
        ({"id2label": ["a", "b"], "num_labels": "x"}, ("LABEL_0", "LABEL_1")),
    ],
)
def test_names_in_a_config(config: dict[str, object], names: tuple[str, ...]) -> None:
    assert config_names(config) == names
    assert len(config_names({"num_labels": 10**15})) < 10**6


@pytest.mark.parametrize(
    "output",
    ["classifier.weight", "classifier.out_proj.weight", "score.weight", "sequence_summary.summary.weight"],
)
def test_a_head_is_found_by_its_output_layer(tmp_path: Path, output: str) -> None:
    head = read_head(checkpoint(tmp_path, 3, output, **named("c", "a", "b")))
    assert head is not None
    assert (head.names, head.outputs, head.architecture) == (("c", "a", "b"), 3, SEQUENCE)


@pytest.mark.parametrize("output", ["cls.predictions.decoder.weight", "mask_predictions.classifier.weight", "x"])
def test_a_pretrained_encoder_has_none(tmp_path: Path, output: str) -> None:
    folder = checkpoint(tmp_path, 2, output, architectures=["BertForMaskedLM"])
    assert read_head(folder) is None
    assert choose_head(recipe(), folder, ("a", "b")) is None
    with pytest.raises(ModelError, match="has no trained head") as caught:
        choose_head(recipe(epochs=0), folder, ("a", "b"))
    assert "finetune.epochs to 1 or more" in caught.value.hint


def test_a_head_that_fits_is_kept(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 3, **named("c", "a", "b"))
    for epochs in (0, 3):
        kept = choose_head(recipe(epochs=epochs), folder, ("a", "b", "c"))
        assert kept is not None
        assert kept.line == "the checkpoint's head is kept: its classes in its order: c, a, b"
    assert choose_head(recipe("new"), folder, ("a", "b", "c")) is None
    kept = choose_head(recipe(), checkpoint(tmp_path, 2, **named("POSITIVE", "NEGATIVE")), ("negative", "positive"))
    assert kept is not None
    assert kept.labels == ("positive", "negative")
    assert kept.line.endswith("in its order: POSITIVE, NEGATIVE (in the data: positive, negative)")
    kept = choose_head(recipe(name="mnli"), checkpoint(tmp_path, 3, num_labels=3), INFERENCE)
    assert kept is not None
    assert kept.labels == INFERENCE


@pytest.mark.parametrize("problem", [{}, {"problem_type": "multi_label_classification"}])
def test_a_head_of_several_labels(tmp_path: Path, problem: dict[str, str]) -> None:
    folder = checkpoint(tmp_path, 2, **problem, **named("b", "a"))
    kept = choose_head(recipe(type="multi-label"), folder, ("a", "b"))
    assert kept is not None
    assert kept.labels == ("b", "a")


@pytest.mark.parametrize("kind", ["regression", "ranking"])
def test_a_head_with_one_score(tmp_path: Path, kind: str) -> None:
    kept = choose_head(recipe(type=kind), checkpoint(tmp_path, 1, **named("LABEL_0")), ())
    assert kept is not None
    assert kept.labels == ()
    assert "one score" in kept.line


TAGS = ("B-X", "I-X", "O")


def test_the_head_of_a_tagger(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 3, architectures=[TOKEN], **named("O", "B-X", "I-X"))
    kept = choose_head(recipe(type="tagging"), folder, TAGS)
    assert kept is not None
    assert kept.labels == ("O", "B-X", "I-X")


@pytest.mark.parametrize(
    ("outputs", "config", "task", "labels", "what"),
    [
        (2, named("a", "b"), "classification", ("a", "c"), "has 2 classes: a, b; the data has 2 classes: a, c"),
        (3, named("a", "b", "c"), "classification", ("a", "b"), "3 classes: a, b, c; the data has 2 classes: a, b"),
        (2, {}, "classification", ("no", "yes"), "2 classes: LABEL_0, LABEL_1; the data has 2 classes: no, yes"),
        (1, named("LABEL_0"), "classification", ("a", "b"), "1 class: LABEL_0; the data has 2 classes: a, b"),
        (
            3,
            {},
            "classification",
            ("0", "1", "2"),
            "config.json names 2 classes, and the checkpoint's head has 3 outputs",
        ),
        (3, named("O", "B-X", "I-X"), "tagging", TAGS, f"belongs to {SEQUENCE}, and the task is tagging"),
        (
            *(3, {"architectures": [TOKEN], **named("a", "b", "c")}, "classification", ("a", "b", "c")),
            f"belongs to {TOKEN}, and the task is classification",
        ),
        (2, {"architectures": ["BertForMultipleChoice"]}, "classification", ("0", "1"), "BertForMultipleChoice"),
        (
            *(2, {"problem_type": "multi_label_classification", **named("a", "b")}, "classification", ("a", "b")),
            "trained for multi_label_classification",
        ),
        (
            *(2, {"problem_type": "single_label_classification", **named("a", "b")}, "multi-label", ("a", "b")),
            "trained for single_label_classification, and the task is multi-label",
        ),
        (3, named("a", "b", "c"), "multi-label", ("a", "b"), "3 classes: a, b, c; the data has 2 classes: a, b"),
        (2, named("a", "b"), "regression", (), "has 2 classes (a, b), and a regression has one score"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, outputs: int, config: dict[str, object], task: str, labels: tuple[str, ...], what: str
) -> None:
    folder = checkpoint(tmp_path, outputs, **config)
    for epochs, also in ((3, ""), (0, ", and finetune.epochs to 1 or more")):
        with pytest.raises(ModelError) as caught:
            choose_head(recipe(epochs=epochs, type=task), folder, labels)
        assert what in caught.value.what
        assert f'Set model.head = "new" to train a new head{also}.' in caught.value.hint
        assert caught.value.where == str(tmp_path)
    assert choose_head(recipe("new", type=task), folder, labels) is None


def test_of_many_classes_the_different_ones_are_listed(tmp_path: Path) -> None:
    names = [f"class {place}" for place in range(77)]
    folder = checkpoint(tmp_path, 77, **named(*names))
    with pytest.raises(ModelError) as caught:
        choose_head(recipe(), folder, (*names[:-1], "spelled otherwise"))
    assert "77 classes, 1 that are not in the other: class 76;" in caught.value.what
    assert "77 classes, 1 that are not in the other: spelled otherwise" in caught.value.what


def test_the_order_of_a_finetuned_model(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 2, **named("POS", "NEG"))
    assert finetuned_order(recipe(), folder, ("neg", "pos")) == ("pos", "neg")
    with pytest.raises(RunError, match="names the classes POS, NEG; the data has a, b"):
        finetuned_order(recipe(), folder, ("a", "b"))
