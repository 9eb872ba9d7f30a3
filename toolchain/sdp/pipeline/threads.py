"""Set torch's threads in a stage, where the recipe sets runtime.threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sdp.pipeline.stages import Stage
from sdp.recipe.sections import RuntimeSection


@contextmanager
def stage_threads(stage: Stage, runtime: RuntimeSection) -> Iterator[None]:
    """Let torch use runtime.threads threads for the length of a stage; a stage without torch does not load it.

    Of an operator, that is: nothing here runs several operators at once, for which torch has other threads.
    """
    if runtime.threads is None or "torch" not in stage.libraries:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(runtime.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
