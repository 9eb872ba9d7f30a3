"""The numbers of one look, and of weights over several layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sdp.pruning.analysis.measures import own_measures, student_measures, weight_measures
from sdp.pruning.analysis.probe import Reading


def reading(seed: int, labels: np.ndarray) -> Reading:
    generator = np.random.default_rng(seed)
    rows, logits = (generator.normal(size=(len(labels), width)).astype(np.float32) for width in (6, 3))
    return Reading(rows, logits, labels, metric=0.25)


def test_classes_are_separated_and_compared_and_numbers_are_not() -> None:
    classes = np.array([0, 1, 2, 0, 1, 2])
    student, teacher = reading(1, classes), reading(2, classes)
    everything = {"metric", "separability", "fisher", "output_snr_db", "cka", "cosine", "agreement"}
    assert student_measures(student, teacher, classes=True).keys() == everything
    of_numbers = student_measures(student, teacher, classes=False)
    assert of_numbers.keys() == everything - {"separability", "fisher", "agreement"}
    assert own_measures(teacher, classes=False) == {"metric": 0.25}


def test_a_student_that_is_its_teacher_is_like_it() -> None:
    same = reading(1, np.array([0, 1, 0, 1]))
    measures = student_measures(same, same, classes=True)
    assert measures["output_snr_db"] is None
    assert (measures["cka"], measures["cosine"], measures["agreement"]) == pytest.approx((1, 1, 1))
    assert {name: measures[name] for name in ("separability", "fisher")} == {
        name: own_measures(same, classes=True)[name] for name in ("separability", "fisher")
    }


def test_weights_of_all_layers_together_are_those_of_one_long_vector() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = {"a": torch.randn(7, 5, generator=generator), "b": torch.randn(4, 9, generator=generator) * 1e-2}
    old = {name: torch.rand(weight.shape, generator=generator) > 0.3 for name, weight in weights.items()}
    new = {name: old[name] & (torch.rand(weight.shape, generator=generator) > 0.5) for name, weight in weights.items()}
    weights = {name: weight * old[name] for name, weight in weights.items()}
    found = weight_measures(weights, old, new)

    flat = np.concatenate([w.double().numpy().ravel() for w in weights.values()])
    alive, kept = (np.concatenate([m.numpy().ravel() for m in masks.values()]) for masks in (old, new))
    assert found["snr_db"] == pytest.approx(10 * np.log10(np.sum(flat[kept] ** 2) / np.sum(flat[~kept] ** 2)), rel=1e-9)
    magnitudes = np.abs(flat[alive])
    assert found["below"] == pytest.approx(np.mean(magnitudes < 1e-3 * magnitudes.max()))
    assert found["below"] > 0
    root = np.sqrt(len(magnitudes))
    hoyer = (root - magnitudes.sum() / np.sqrt(np.sum(magnitudes**2))) / (root - 1)
    assert found["hoyer"] == pytest.approx(hoyer, rel=1e-9)
    alone = weight_measures({"b": weights["b"]}, {"b": old["b"]}, {"b": new["b"]})
    assert found["layers"]["b"] == alone["layers"]["b"]
    assert alone["layers"]["b"] == {name: alone[name] for name in ("snr_db", "below", "hoyer")}
    assert found["layers"]["b"]["below"] != found["below"], "a layer is measured by its own largest weight"


def test_masks_that_prune_nothing_or_everything_have_no_ratio() -> None:
    weight = {"a": torch.ones(2, 3)}
    keep, drop = {"a": torch.ones(2, 3, dtype=torch.bool)}, {"a": torch.zeros(2, 3, dtype=torch.bool)}
    assert weight_measures(weight, keep, keep)["snr_db"] is None
    assert weight_measures(weight, keep, drop)["snr_db"] is None
    dead = weight_measures({"a": torch.zeros(2, 3)}, drop, drop)
    assert dead == {
        "snr_db": None,
        "below": None,
        "hoyer": None,
        "layers": {"a": {"snr_db": None, "below": None, "hoyer": None}},
    }
