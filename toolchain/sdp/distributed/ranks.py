"""The processes of one command that torchrun started: which of them this is, and how the first leads the others.

Rank 0 alone decides what is up to date, holds the lock, writes and prints. When it starts a stage that all ranks work
on, it sends them the stage through the store that they met in; when no such stage is left it lets them go. This module
loads torch only where there are several ranks.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from sdp.distributed.launcher import clear_leftovers, process_count, require_whole
from sdp.errors import UsageError

# Rank 0 evaluates while the others wait for its next step. A rank that died is noticed at once all the same.
PATIENCE = timedelta(days=7)
POLL_SECONDS = 0.1
# The first rank to fail may have died of a second blow before it spoke.
REPORTING = timedelta(seconds=10)


class _Meeting:
    """The store that the ranks have in common, how many messages this one sent or read, and whether they parted."""

    store: Any = None
    messages = 0
    parted = False


def rank() -> int:
    """The number of this process among them; 0 is the one that writes and prints."""
    return int(os.environ["RANK"]) if process_count() > 1 else 0


def ranks_here() -> int:
    """Number of those processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if process_count() > 1 else 1


def require_one_process(what: str) -> None:
    """Refuse to go on as one of several ranks.

    Raises:
        UsageError: there are several, or the environment hints at several.
    """
    require_whole()
    if process_count() > 1:
        hint = "torchrun serves the commands that bring one run up to date: sdp run, finetune, prune, and those after."
        raise UsageError(f"{what} does not run under torchrun", hint=hint)


def join() -> None:
    """Meet the other ranks, if there are any; from here on they can talk and compute together.

    What other launchers left in the environment is taken out of it.
    """
    clear_leftovers()
    if process_count() == 1 or _Meeting.store is not None:
        return
    # Before torch is loaded: DistributedDataParallel warns that it looked for unused parameters and found none.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    import torch
    import torch.distributed as dist

    from sdp.compat.torch import meet_ranks

    cuda = torch.cuda.is_available() and ranks_here() <= torch.cuda.device_count()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    _Meeting.store, number, count = meet_ranks()
    # Both, because messages about the work (stop, save, which masks) do not lie on a GPU.
    backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
    dist.init_process_group(backend, store=_Meeting.store, rank=number, world_size=count, timeout=PATIENCE)


def send(message: dict[str, Any] | None) -> None:
    """Rank 0: send the others a stage to work on; None lets them go."""
    if process_count() > 1 and not _Meeting.parted:
        _Meeting.store.set(f"sdp/message/{_Meeting.messages}", json.dumps(message))
        _Meeting.messages += 1
        if message is None:
            _part()


def receive() -> dict[str, Any] | None:
    """Another rank: wait for the next message of `send`."""
    key = f"sdp/message/{_Meeting.messages}"
    # A blocking read would not hear the signal by which torchrun ends what is left of a failed run.
    while not _Meeting.store.check([key]):
        time.sleep(POLL_SECONDS)
    _Meeting.messages += 1
    message: dict[str, Any] | None = json.loads(_Meeting.store.get(key))
    if message is None:
        _part()
    return message


def _part() -> None:
    import torch.distributed as dist

    _Meeting.parted = True
    dist.destroy_process_group()


def is_lost_rank(error: BaseException) -> bool:
    """Whether an error means only that another rank has ended."""
    words = ("closed by peer", "reset by peer", "Broken pipe", "ncclRemoteError")
    return process_count() > 1 and isinstance(error, RuntimeError) and any(word in str(error) for word in words)


@contextmanager
def first_to_fail() -> Iterator[bool]:
    """Whether this rank is the first that ends with an error: it prints the reason, and the others nothing.

    The others leave the body when the first has printed it, because torchrun ends every rank as soon as one has ended.
    """
    if _Meeting.store is None:
        yield True
        return
    try:
        first = _Meeting.store.add("sdp/failed", 1) == 1
    except RuntimeError:
        # The store is gone with the rank that held it.
        first = False
    yield first
    with suppress(RuntimeError):
        if first:
            _Meeting.store.set("sdp/reported", "")
        else:
            _Meeting.store.wait(["sdp/reported"], REPORTING)
