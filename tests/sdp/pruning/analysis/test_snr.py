"""Signal-to-noise ratios with known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sdp.pruning.analysis.measures import decibels, output_snr, split_energy


def test_ten_times_the_energy_is_ten_decibels() -> None:
    assert decibels(10.0, 1.0) == pytest.approx(10)
    assert decibels(1.0, 2.0) == pytest.approx(-3.0103, abs=1e-4)


@pytest.mark.parametrize(("signal", "noise"), [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0)])
def test_infinities_are_none(signal: float, noise: float) -> None:
    assert decibels(signal, noise) is None


def test_a_mask_splits_the_energy_of_a_weight() -> None:
    weight = torch.tensor([[3.0, -1.0], [0.5, 4.0]], requires_grad=True)
    mask = torch.tensor([[True, False], [False, True]])
    assert split_energy(weight, mask) == (25.0, 1.25)
    assert split_energy(weight, ~mask) == (1.25, 25.0)


def test_energies_of_millions_of_weights_do_not_drown_in_float32() -> None:
    weight = torch.full((4_000_000,), 0.1)
    kept, pruned = split_energy(weight, torch.arange(4_000_000) % 4 > 0)
    exact = float(np.float64(np.float32(0.1)) ** 2)
    assert kept == pytest.approx(3_000_000 * exact, rel=1e-9)
    assert pruned == pytest.approx(1_000_000 * exact, rel=1e-9)


def test_noise_of_a_hundredth_of_the_energy_is_twenty_decibels() -> None:
    generator = np.random.default_rng(0)
    teacher = generator.normal(size=(400, 300)).astype(np.float32)
    student = teacher + generator.normal(scale=0.1, size=teacher.shape).astype(np.float32)
    assert output_snr(teacher, student) == pytest.approx(20, abs=0.1)
    loops = sum(x * x for x in teacher[:3].ravel().tolist()) / sum(
        (x - y) ** 2 for x, y in zip(teacher[:3].ravel().tolist(), student[:3].ravel().tolist(), strict=True)
    )
    assert output_snr(teacher[:3], student[:3]) == pytest.approx(10 * math.log10(loops), rel=1e-9)


def test_equal_representations_have_no_noise() -> None:
    rows = np.ones((3, 2), dtype=np.float32)
    assert output_snr(rows, rows) is None
    assert output_snr(0 * rows, rows) is None
    assert output_snr(rows, 0 * rows) == pytest.approx(0), "a dead student: as much noise as signal"
