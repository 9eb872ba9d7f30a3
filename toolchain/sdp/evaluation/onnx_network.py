"""An exported file as a network that predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sdp.data.batches import Collator, TokenizedSplit
from sdp.evaluation.predict import Network
from sdp_onnx.runtimes.base import LoadedModel


def onnx_network(model: LoadedModel) -> Network:
    """A loaded file as the network of `predict_logits`: its first output is the logits."""

    def network(inputs: Mapping[str, Tensor]) -> NDArray[np.float32]:
        return model.run(_as_int64(inputs, model.input_names))

    return network


def model_inputs(
    split: TokenizedSplit, indices: Sequence[int], collator: Collator, names: Sequence[str]
) -> dict[str, NDArray[np.int64]]:
    """Pad rows of a split into one batch of the inputs that a file declares, each [B, L], int64."""
    return _as_int64(collator([split[index] for index in indices]), names)


def _as_int64(batch: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    return {name: batch[name].numpy().astype(np.int64) for name in names}
