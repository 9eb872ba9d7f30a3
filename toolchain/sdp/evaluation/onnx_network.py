"""An exported file in onnxruntime as a `Network`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sdp.data.batches import Collator, TokenizedSplit
from sdp.evaluation.predict import Network


def onnx_network(session: Any) -> Network:
    """Wrap an onnxruntime.InferenceSession, whose only output is logits, for `predict_logits`."""
    names = [value.name for value in session.get_inputs()]

    def network(inputs: Mapping[str, Tensor]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = session.run(None, _as_int64(inputs, names))[0]
        return logits

    return network


def model_inputs(
    split: TokenizedSplit, indices: Sequence[int], collator: Collator, names: Sequence[str]
) -> dict[str, NDArray[np.int64]]:
    """Pad rows of a split into one batch of the inputs that a file declares, each [B, L], int64."""
    return _as_int64(collator([split[index] for index in indices]), names)


def _as_int64(batch: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    return {name: batch[name].numpy().astype(np.int64) for name in names}
