"""Forward passes over the same batches, again and again and each time a little further."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sdp.models.load import plain_forward

Batch = Mapping[str, Tensor]


class _Reached(Exception):  # noqa: N818 - no error
    """Ends a forward pass; what comes behind is not needed."""


class Replay:
    """Runs a network as far as some layers, and computes no block twice that is done with.

    A block that is done with returns what it returned before, whatever it is given: the model's own code runs between
    the blocks, and how it calls them does not matter. A block that runs several times has as many results.

    Args:
        network: in evaluation, without dropout; `close` restores it.
        bf16: compute products in bfloat16.
    """

    def __init__(self, network: PreTrainedModel, *, bf16: bool = False) -> None:
        self._network = network
        self._bf16 = bf16
        self._batch = 0
        self._calls: Counter[str] = Counter()
        self._finished: list[nn.Module] = []

    def inputs(
        self, index: int, batch: Batch, layers: Mapping[str, nn.Module], calls: int | None = None
    ) -> dict[str, list[Tensor]]:
        """Run a batch until layers are called for the last time.

        Args:
            index: of the batch, the same in every pass.
            batch: what a collator makes.
            layers: by name.
            calls: how often they are called, all together; without it, the batch is run to its end.

        Returns:
            name -> its layer's input at each call, in the order of their first calls.
        """
        self._batch, self._calls = index, Counter()
        seen: dict[str, list[Tensor]] = {}

        def keeper(name: str) -> Any:
            def keep(module: nn.Module, given: tuple[Tensor, ...]) -> None:
                seen.setdefault(name, []).append(given[0])
                if sum(map(len, seen.values())) == calls:
                    raise _Reached

            return keep

        hooks = [layer.register_forward_pre_hook(keeper(name)) for name, layer in layers.items()]
        try:
            run_batch(self._network, batch, bf16=self._bf16)
        except _Reached:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return seen

    def finish(self, block: str) -> None:
        """Compute a block once more for each batch, and then return what that gave."""
        module = self._network.get_submodule(block)
        compute = module.forward
        returned: dict[tuple[int, int], Any] = {}

        def once(*given: Any, **options: Any) -> Any:
            call = (self._batch, self._calls[block])
            self._calls[block] += 1
            if call not in returned:
                returned[call] = compute(*given, **options)
            return returned[call]

        module.forward = once
        self._finished.append(module)

    def close(self) -> None:
        """Let every block compute again."""
        for module in self._finished:
            # The forward of its class stands behind it.
            module.__dict__.pop("forward", None)
        self._finished = []


def run_batch(network: PreTrainedModel, batch: Batch, *, bf16: bool = False) -> None:
    """Run a network on a batch, whose labels it is not given."""
    given = {key: value.to(network.device) for key, value in batch.items() if key not in ("labels", "index")}
    with torch.autocast(network.device.type, torch.bfloat16, enabled=bf16):
        plain_forward(network, given)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Switch a network to evaluation, and every module back to what it was."""
    before = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
