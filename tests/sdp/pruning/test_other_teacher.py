"""Another network's outputs in the student's terms: layers, classes, tokens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sdp.data.batches import Collator, TokenizedSplit, tokenize
from sdp.data.rows import Split, TaskData
from sdp.losses.needs import layer_indices, matching_rows
from sdp.losses.network_output import NetworkOutput, RowsKey
from sdp.losses.objective import Objective
from sdp.losses.representation import rows_of
from sdp.models.head import unnamed
from sdp.models.load import load_pretrained
from sdp.models.source import ModelFolder
from sdp.models.tokenizer import load_tokenizer
from sdp.pruning.other_teacher import OtherTeacher, OwnTokens, differing_row, on_another_scale
from sdp.pruning.teacher import LiveTeacher
from sdp.recipe.losses import CosineLoss, HiddenLoss, KldLoss, SquaredErrorLoss
from sdp.recipe.pruning import PruneSection
from support.toy import save_tiny_model, save_xlmr_tokenizer


@given(st.integers(1, 6), st.integers(1, 6), st.lists(st.integers(-6, 6), min_size=1, max_size=4, unique=True))
def test_a_layer_is_counted_from_the_same_end_in_both(own: int, others: int, layers: list[int]) -> None:
    layers = [layer for layer in layers if abs(layer) <= min(own, others)] or [0]
    loss = SquaredErrorLoss(name="squared-error", layers=tuple(layers))
    expected: dict[int, int] = {}
    for layer in layers:
        ours, theirs = (list(range(count + 1))[layer] for count in (own, others))
        if expected.setdefault(ours, theirs) != theirs:
            with pytest.raises(ValueError, match="the loss squared-error compares layer"):
                matching_rows([loss], own, others)
            return
    found = matching_rows([loss, KldLoss(name="kld")], own, others)
    assert {key.layer: other.layer for key, other in found.items()} == expected
    assert {key.kind for key in (*found, *found.values())} == {"tokens"}


def test_layers_without_a_counterpart_are_refused() -> None:
    every = HiddenLoss(name="hidden")
    assert {a.layer: b.layer for a, b in matching_rows([every], 3, 3).items()} == {1: 1, 2: 2, 3: 3}
    with pytest.raises(ValueError, match="hidden compares all layers, 3 here and 4 there"):
        matching_rows([every], 3, 4)
    with pytest.raises(ValueError, match="asks for layer 3, and there are 2"):
        matching_rows([SquaredErrorLoss(name="squared-error", layers=(3,))], 3, 2)
    pooled = CosineLoss(name="cosine", representation="pooled")
    assert matching_rows([pooled], 3, 4) == {RowsKey("pooled"): RowsKey("pooled")}


@given(st.integers(1, 8), st.lists(st.integers(-8, 8), min_size=1))
def test_indices_are_what_python_counts(count: int, layers: list[int]) -> None:
    layers = [layer for layer in layers if -count <= layer <= count] or [0]
    states = list(range(count + 1))
    assert layer_indices(tuple(layers), count) == tuple(dict.fromkeys(states[layer] for layer in layers))


class Fixed:
    """A teacher of four layers and three classes."""

    def outputs(self, inputs: Mapping[str, Tensor], index: Tensor) -> NetworkOutput:
        rows = {RowsKey("mean", 4): torch.ones(2, 3), RowsKey("mean", 1): torch.zeros(2, 3)}
        return NetworkOutput(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), stored=rows)


def test_outputs_come_in_the_students_order_and_under_its_names() -> None:
    rows = {RowsKey("mean", 2): RowsKey("mean", 4), RowsKey("mean", 1): RowsKey("mean", 1)}
    found = OtherTeacher(Fixed(), rows, torch.tensor([2, 0, 1])).outputs({}, torch.arange(2))
    assert found.logits is not None
    assert found.logits.tolist() == [[3.0, 1.0, 2.0], [6.0, 4.0, 5.0]]
    means = {key.layer: float(values.mean()) for key, values in found.stored.items()}
    assert means == {2: 1.0, 1: 0.0}


@pytest.mark.parametrize("own", [False, True], ids=["the student's tokens", "its own"])
def test_a_rank_without_rows_gets_outputs_of_none(own: bool, toy_model: Path) -> None:
    losses = PruneSection.model_validate({"losses": [{"name": "hidden"}, {"name": "cosine"}, {"name": "kld"}]}).losses
    objective = Objective("classification", losses, 2)
    model = load_pretrained(ModelFolder("toy", toy_model), "classification", ("a", "b"), torch.device("cpu"))
    tokenizer = load_tokenizer(toy_model)
    split = TokenizedSplit(tokenize([("the film",), ("a good plot",)], tokenizer, 16), np.zeros(2, dtype=np.int64))
    collator, live = Collator(tokenizer), LiveTeacher(model, objective)
    teacher = OwnTokens(live, split, collator, objective.rows) if own else live
    batch = collator([split[0], split[1]])
    index, _ = batch.pop("index"), batch.pop("labels")
    for rows, tokens in ((2, 9), (0, 0)):
        inputs = {name: values[:rows] for name, values in batch.items()}
        found = teacher.outputs(inputs, index[:rows])
        assert found.logits is not None
        assert found.logits.shape == (rows, 2)
        shapes = {len(rows_of(found, inputs["attention_mask"], key)) for key in objective.rows if key.kind == "tokens"}
        assert shapes == {tokens}


def test_pieces_are_compared_and_not_their_ids(toy_model: Path, tmp_path: Path) -> None:
    texts = [("the film was good",), ("a dull zebra",), ("",)]
    own = load_tokenizer(toy_model)
    rows = tokenize(texts, own, 16)
    other_folder = save_tiny_model(tmp_path / "other")
    words = (other_folder / "vocab.txt").read_text().splitlines()

    def compared(vocabulary: list[str]) -> tuple[int | None, list[int]]:
        """The first row that differs, and the ids of row 0."""
        (other_folder / "tokenizer.json").unlink(missing_ok=True)
        (other_folder / "vocab.txt").write_text("\n".join(vocabulary))
        other = load_tokenizer(other_folder)
        others = tokenize(texts, other, 16)
        return differing_row(rows, others, own, other), others[0]["input_ids"]

    differs, ids = compared([*words[:5], *words[:4:-1]])
    assert differs is None
    assert ids != rows[0]["input_ids"]
    assert compared([word for word in words if word != "dull"])[0] == 1
    save_xlmr_tokenizer(tmp_path / "xlmr")
    foreign = load_tokenizer(tmp_path / "xlmr")
    assert differing_row(rows, tokenize(texts, foreign, 16), own, foreign) == 0


@given(st.permutations(range(4)), st.permutations(range(4)))
def test_the_datas_own_order_of_classes_is_known_after_any_others(first: list[int], second: list[int]) -> None:
    names = ("a", "b", "c", "d")
    labels = np.array([3, 0, 1, 2, 1], dtype=np.int64)
    split = Split("train", tuple((str(label),) for label in labels), labels, ("",) * 5)
    data = TaskData(split, split, None, names)
    turned = data.in_order([names[place] for place in first]).in_order([names[place] for place in second])
    assert turned.own_label_names == names
    assert [turned.label_names[label] for label in turned.train.labels] == [names[label] for label in labels]
    # Class 1 of the data, wherever it went.
    assert turned.label_names[turned.train.positive] == "b"


def test_another_scale_is_one_that_the_mean_beats() -> None:
    labels = np.array([0.0, 1.0, 2.0, 5.0], dtype=np.float32)
    assert not on_another_scale(labels[:, None] + 0.5, labels)
    assert on_another_scale(labels[:, None] / 5, labels)
    assert on_another_scale(labels[:, None] + 100, labels)


def test_names_that_are_numbers_alone() -> None:
    assert unnamed(("LABEL_0", "1"))
    assert not unnamed(("LABEL_0", "good"))
