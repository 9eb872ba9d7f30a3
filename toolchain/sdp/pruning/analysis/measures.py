"""The numbers that the analysis gives for one look at the student, and for the weights before one mask update."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sdp.pruning.analysis.probe import Reading
from sdp.pruning.analysis.representations import agreement, class_separability, fisher_ratio, linear_cka, mean_cosine

Measures = dict[str, float | None]


def own_measures(reading: Reading, *, classes: bool) -> Measures:
    """Measure one network alone: "metric", with classes "separability" and "fisher"; None is undefined.

    Args:
        reading: its outputs.
        classes: whether labels are classes. Numbers and lists have nothing to separate.
    """
    measures: Measures = {"metric": None if isnan(reading.metric) else reading.metric}
    if classes:
        labels = reading.labels.astype("int64")
        measures["separability"] = class_separability(reading.rows, labels)
        measures["fisher"] = fisher_ratio(reading.rows, labels)
    return measures


def student_measures(student: Reading, teacher: Reading, *, classes: bool) -> Measures:
    """`own_measures` of the student, and how near it is to the teacher: "output_snr_db", "cka", "cosine", and with
    classes "agreement"."""
    measures = own_measures(student, classes=classes)
    measures["output_snr_db"] = output_snr(teacher.rows, student.rows)
    measures["cka"] = linear_cka(student.rows, teacher.rows)
    measures["cosine"] = mean_cosine(student.rows, teacher.rows)
    if classes:
        measures["agreement"] = agreement(student.logits, teacher.logits)
    return measures


def weight_measures(
    weights: Mapping[str, Tensor], old: Mapping[str, Tensor], new: Mapping[str, Tensor]
) -> dict[str, Any]:
    """The weights just before a mask update.

    Args:
        weights: name -> weight, not yet masked anew.
        old: name -> mask until now, bool. Shares and sparseness are those of the weights that it keeps.
        new: name -> mask from now on, bool. The signal is what it keeps of the weights.

    Returns:
        "snr_db", "below" (share smaller than 1e-3 of the largest) and "hoyer" of all weights together, and "layers":
        name -> the same of one weight.
    """
    largest = max((float(weight.detach().abs().max()) for weight in weights.values()), default=0.0)
    layers: dict[str, Measures] = {}
    total, small, signal, noise = Norms(), 0.0, 0.0, 0.0
    for name, weight in weights.items():
        magnitudes = weight.detach().abs()[old[name]]
        norms = Norms.of(magnitudes)
        energies = split_energy(weight, new[name].to(weight.device))
        own_largest = float(magnitudes.max()) if norms.count else 0.0
        layers[name] = {
            "snr_db": decibels(*energies),
            "below": share_below(magnitudes, own_largest),
            "hoyer": norms.hoyer,
        }
        total += norms
        small += (share_below(magnitudes, largest) or 0.0) * norms.count
        signal, noise = signal + energies[0], noise + energies[1]
    below = small / total.count if total.count and largest else None
    return {"snr_db": decibels(signal, noise), "below": below, "hoyer": total.hoyer, "layers": layers}


def decibels(signal: float, noise: float) -> float | None:
    """10 log10(signal / noise) of two energies; None where either is zero: JSON knows no infinity."""
    return 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None


def split_energy(weight: Tensor, mask: Tensor) -> tuple[float, float]:
    """Energy of what a mask keeps and of what it prunes: |M * W|_F^2 and |(1 - M) * W|_F^2.

    Args:
        weight: any shape, as it is just before the mask is applied.
        mask: bool, the same shape; True is kept.
    """
    squares = weight.detach().double().square()
    kept = squares * mask
    return float(kept.sum()), float((squares - kept).sum())


def output_snr(teacher: NDArray[np.floating], student: NDArray[np.floating]) -> float | None:
    """How loud the teacher's representation is over what pruning changed: 10 log10(|z_T|^2 / |z_T - z_S|^2).

    Args:
        teacher: z_T, [N, d].
        student: z_S, [N, d].

    Returns:
        decibels; None where the two are equal or the teacher's is zero.
    """
    signal = teacher.astype(np.float64)
    return decibels(float(np.sum(signal**2)), float(np.sum((signal - student) ** 2)))


NEAR_ZERO = 1e-3


def share_below(magnitudes: Tensor, largest: float) -> float | None:
    """Share of weights smaller than 1e-3 of the largest; None without weights, or where all are zero.

    Args:
        magnitudes: |w| of the weights, [n].
        largest: the largest |w| of the group that they are compared with.
    """
    if magnitudes.numel() == 0 or largest == 0:
        return None
    return int((magnitudes < NEAR_ZERO * largest).sum()) / magnitudes.numel()


@dataclass(frozen=True)
class Norms:
    """Number, sum of magnitudes and sum of squares of some weights; those of two groups add up."""

    count: int = 0
    l1: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, magnitudes: Tensor) -> Norms:
        """Those of |w|, [n], summed in float64."""
        exact = magnitudes.double()
        return cls(exact.numel(), float(exact.sum()), float(exact.square().sum()))

    def __add__(self, other: Norms) -> Norms:
        return Norms(self.count + other.count, self.l1 + other.l1, self.squares + other.squares)

    @property
    def hoyer(self) -> float | None:
        """Hoyer's sparseness, (sqrt(n) - l1 / l2) / (sqrt(n) - 1) (Hoyer, JMLR 5, 2004): 0 where all magnitudes are
        equal, 1 where a single weight is not zero; None with fewer than two weights, or where all are zero."""
        if self.count < 2 or self.squares == 0:
            return None
        root = math.sqrt(self.count)
        return (root - self.l1 / math.sqrt(self.squares)) / (root - 1)
