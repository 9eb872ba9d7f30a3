"""Forward passes over the same batches, again and again and each time a block further."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sdp.models.load import plain_forward

Batch = Mapping[str, Tensor]


class _Reached(Exception):  # noqa: N818 - no error
    """Ends a forward pass; what comes behind is not needed."""


class Replay:
    """Runs a network block by block, and computes no block twice that is done with.

    A block that is done with returns what it returned before, whatever it is given: the model's own code runs between
    the blocks, and how it calls them does not matter. Blocks that share weights are one block with several calls.

    Args:
        network: in evaluation, without dropout; `close` restores it.
        calls: block -> calls in a forward pass, from `count_calls`.
        bf16: compute products in bfloat16.
    """

    def __init__(self, network: PreTrainedModel, calls: Mapping[str, int], *, bf16: bool = False) -> None:
        self._network = network
        self._calls = calls
        self._bf16 = bf16
        self._batch = 0
        self._returned: Counter[str] = Counter()
        self._outputs: dict[str, dict[int, list[Any]]] = {}
        self._hooks: dict[str, Any] = {}

    def run(self, index: int, inputs: Batch, until: str) -> None:
        """Run a batch as far as a block.

        Args:
            index: of the batch, the same in every pass.
            inputs: what a collator makes.
            until: the block, which is still computed.
        """
        self._batch, self._returned = index, Counter()
        seen: list[None] = []

        def stop(module: nn.Module, given: Any, output: Any) -> None:
            seen.append(None)
            if len(seen) == self._calls[until]:
                raise _Reached

        hook = self._network.get_submodule(until).register_forward_hook(stop)
        try:
            forward(self._network, inputs, bf16=self._bf16)
        except _Reached:
            pass
        finally:
            hook.remove()

    def record(self, block: str) -> None:
        """Keep what a block returns in the passes to come."""
        outputs = self._outputs[block] = {}

        def keep(module: nn.Module, given: Any, output: Any) -> None:
            outputs.setdefault(self._batch, []).append(output)

        self._hooks[block] = self._network.get_submodule(block).register_forward_hook(keep)

    def finish(self, block: str) -> None:
        """Let a block return what was recorded."""
        self._hooks.pop(block).remove()

        def recorded(*given: Any, **options: Any) -> Any:
            self._returned[block] += 1
            return self._outputs[block][self._batch][self._returned[block] - 1]

        self._network.get_submodule(block).forward = recorded

    def close(self) -> None:
        """Let every block compute again."""
        for hook in self._hooks.values():
            hook.remove()
        for block in self._outputs:
            # The class' own forward stood behind it.
            self._network.get_submodule(block).__dict__.pop("forward", None)
        self._outputs, self._hooks = {}, {}


def forward(network: PreTrainedModel, inputs: Batch, *, bf16: bool = False) -> None:
    """Run a network on a batch without labels."""
    given = {key: value.to(network.device) for key, value in inputs.items() if key not in ("labels", "index")}
    with torch.autocast(network.device.type, torch.bfloat16, enabled=bf16):
        plain_forward(network, given)


def count_calls(network: PreTrainedModel, blocks: Sequence[str], inputs: Batch) -> dict[str, int]:
    """Count how often blocks are called in a forward pass.

    Returns:
        block -> calls, in the order of the first one; without the blocks that are not called.
    """
    calls: dict[str, int] = {}

    def counter(block: str) -> Any:
        def count(module: nn.Module, given: Any, output: Any) -> None:
            calls[block] = calls.get(block, 0) + 1

        return count

    hooks = [network.get_submodule(block).register_forward_hook(counter(block)) for block in blocks]
    try:
        forward(network, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return calls
