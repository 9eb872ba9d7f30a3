"""The inputs of a benchmark, and the file that passes them to the worker processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Inputs = dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Case:
    """One cell of the benchmark's grid.

    Attributes:
        name: name for output.
        batch_size: rows per batch.
        sequence_length: tokens per row; None where the rows have the task's own lengths.
        batches: inputs by name, each int64 [batch_size, tokens]; run in turn, over and over.
    """

    name: str
    batch_size: int
    sequence_length: int | None
    batches: list[Inputs]


def save_batches(path: Path, cases: Sequence[Case]) -> None:
    """Write the batches of all cases to one .npz file."""
    arrays = {
        f"{case_index}/{batch_index}/{name}": array
        for case_index, case in enumerate(cases)
        for batch_index, batch in enumerate(case.batches)
        for name, array in batch.items()
    }
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub takes keyword arrays for allow_pickle


def load_batches(path: Path) -> list[list[Inputs]]:
    """Read a file of `save_batches`: the batches of each case."""
    cases: list[list[Inputs]] = []
    with np.load(path, allow_pickle=False) as archive:
        for key in archive.files:
            case_index, batch_index, name = key.split("/", 2)
            while len(cases) <= int(case_index):
                cases.append([])
            while len(cases[int(case_index)]) <= int(batch_index):
                cases[int(case_index)].append({})
            cases[int(case_index)][int(batch_index)][name] = archive[key]
    return cases
