"""How far the outputs of two files are from each other. Pure functions on arrays, and the runs that they need."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sdp.pipeline.artifacts.base import present
from sdp.shrink.artifacts import Agreement
from sdp.shrink.samples import Batch
from sdp_onnx.runtimes.base import LoadedModel

LOGITS = "logits"
"""What transformers and its exporters call the output of a classifier."""
Vectors = NDArray[np.float64]


def first_outputs(model: LoadedModel, batches: Sequence[Batch]) -> tuple[str, Vectors]:
    """Run a file; return the name of its first output, and its vectors: of each row, or of each real token, [N, C]."""
    name, found = "", []
    for batch in batches:
        name, output = next(iter(model.outputs({own: batch[own] for own in model.input_names}).items()))
        of_tokens = output.ndim == 3 and output.shape[:2] == batch["attention_mask"].shape
        found.append(output[batch["attention_mask"].astype(bool)] if of_tokens else output.reshape(len(output), -1))
    return name, np.concatenate(found).astype(np.float64)


def agreement(name: str, before: Vectors, after: Vectors, rows: int) -> Agreement:
    """Compare the vectors of two files, [N, C].

    Args:
        name: of the output.
        before, after: of the original file and of the new one.
        rows: that they are of.
    """
    products = (before * after).sum(axis=1)
    norms = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    cosines = products / np.maximum(norms, np.finfo(np.float64).tiny)
    size = max(float(np.linalg.norm(before)), np.finfo(np.float64).tiny)
    same = float((before.argmax(axis=1) == after.argmax(axis=1)).mean())
    return Agreement(
        rows=rows,
        **present(same_predictions=same if name == LOGITS and before.shape[1] > 1 else None),
        cosine=float(cosines.mean()),
        relative_difference=float(np.linalg.norm(before - after)) / size,
    )
