"""The numbers that the analysis gives for one look at the student, and for the weights before one mask update."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import Any

from torch import Tensor

from sdp.pruning.analysis.probe import Reading
from sdp.pruning.analysis.separability import class_separability, fisher_ratio
from sdp.pruning.analysis.similarity import agreement, linear_cka, mean_cosine
from sdp.pruning.analysis.snr import decibels, output_snr, split_energy
from sdp.pruning.analysis.weights import Norms, share_below

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
