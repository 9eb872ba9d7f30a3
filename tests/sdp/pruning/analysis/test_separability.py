"""Separability against double loops over pairs of rows, and scatter against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import calinski_harabasz_score

from sdp.pruning.analysis.representations import class_separability, fisher_ratio


def sample(seed: int, sizes: tuple[int, ...], width: int = 5) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)) * 3 + 1, sizes)  # ids need not be consecutive
    rows = generator.normal(size=(len(labels), width)) + generator.normal(size=(len(sizes), width))[labels // 3]
    order = generator.permutation(len(labels))
    return rows[order].astype(np.float32), labels[order]


def distance(first: np.ndarray, second: np.ndarray) -> float:
    lengths = float(np.sqrt(first @ first) * np.sqrt(second @ second))
    return 1 - (float(first @ second) / lengths if lengths else 0.0)


def naive_separability(rows: np.ndarray, labels: np.ndarray) -> float:
    """The paper's sums, pair by pair."""
    exact = rows.astype(np.float64)
    classes = {value: [row for row, label in zip(exact, labels, strict=True) if label == value] for value in labels}
    within = total = 0.0
    for one in classes.values():
        for other in classes.values():
            mean = sum(distance(x, y) for x in one for y in other) / (len(one) * len(other))
            total += mean / len(classes) ** 2
            if one is other:
                within += mean / len(classes)
    return 1 - within / total


@pytest.mark.parametrize("sizes", [(4, 4), (2, 9), (1, 3, 7, 2), (1, 1)])
def test_it_is_the_double_loop(sizes: tuple[int, ...]) -> None:
    rows, labels = sample(3, sizes)
    assert class_separability(rows, labels) == pytest.approx(naive_separability(rows, labels), rel=1e-9, abs=1e-12)


def test_a_zero_row_has_cosine_zero_with_all() -> None:
    rows, labels = sample(4, (3, 4))
    rows[2] = 0
    assert class_separability(rows, labels) == pytest.approx(naive_separability(rows, labels), rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 6), min_size=2, max_size=4), st.floats(0.01, 100))
def test_lengths_of_rows_and_sizes_of_classes_do_not_count(seed: int, sizes: list[int], scale: float) -> None:
    rows, labels = sample(seed, tuple(sizes))
    value = class_separability(rows, labels)
    assert value is not None
    assert value <= 1 + 1e-12
    scales = np.random.default_rng(seed).uniform(0.1, scale + 0.1, size=(len(rows), 1))
    assert class_separability(rows * scales, labels) == pytest.approx(value, abs=1e-5)
    first = labels == labels[0]
    doubled = np.concatenate([rows, rows[first]]), np.concatenate([labels, labels[first]])
    assert class_separability(*doubled) == pytest.approx(value, abs=1e-9)


def test_classes_that_are_points_are_separated_and_equal_ones_are_not() -> None:
    labels = np.array([0, 0, 1, 1])
    points = np.array([[1.0, 0], [2, 0], [0, 1], [0, 3]])
    assert class_separability(points, labels) == pytest.approx(1)
    same = np.array([[1.0, 0], [0, 1], [1, 0], [0, 1]])
    assert class_separability(same, labels) == pytest.approx(0)
    assert fisher_ratio(same, labels) == pytest.approx(0)


def test_fisher_is_the_ratio_of_scatters_of_scikit_learn() -> None:
    rows, labels = sample(5, (4, 9, 2))
    between_over_within = calinski_harabasz_score(rows, labels) * (3 - 1) / (len(rows) - 3)
    assert fisher_ratio(rows, labels) == pytest.approx(between_over_within, rel=1e-6)


def test_fisher_does_not_change_when_rows_are_moved_and_scaled() -> None:
    rows, labels = sample(6, (5, 6))
    assert fisher_ratio(rows * 7 + 100, labels) == pytest.approx(fisher_ratio(rows, labels), rel=1e-3)


def test_what_is_not_defined_is_none() -> None:
    rows, _ = sample(7, (3, 3))
    one_class = np.zeros(6, dtype=np.int64)
    assert class_separability(rows, one_class) is None
    assert fisher_ratio(rows, one_class) is None
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert class_separability(np.tile([[1.0, 2.0]], (6, 1)), labels) is None
    # Every class a point: no scatter within, though rounding may leave a trace of it.
    assert fisher_ratio(np.repeat([[0.1, 0.3], [0.7, 0.2]], 3, axis=0), labels) is None
    assert fisher_ratio(np.ones((6, 2)), labels) is None
