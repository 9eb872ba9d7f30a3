"""The processes (ranks) of one command that torchrun started, and the messages from rank 0 to the others.

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

from sdp.distributed.launcher import clear_leftovers, process_count, require_complete
from sdp.errors import UsageError

# Rank 0 evaluates while the others wait for its next step. A dead rank is still noticed at once.
PATIENCE = timedelta(days=7)
POLL_SECONDS = 0.1
# The first rank to fail may be killed before it prints its error.
REPORTING = timedelta(seconds=10)


class _Group:
    """The shared store of the ranks, the number of messages sent or received, and whether the group has ended."""

    store: Any = None
    messages = 0
    ended = False


def rank() -> int:
    """The number of this process among them; 0 is the one that writes and prints."""
    return int(os.environ["RANK"]) if process_count() > 1 else 0


def ranks_here() -> int:
    """Return the number of these processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if process_count() > 1 else 1


def require_one_process(what: str) -> None:
    """Reject a command that runs as one of several ranks.

    Raises:
        UsageError: there are several, or the environment hints at several.
    """
    require_complete()
    if process_count() > 1:
        hint = "torchrun serves the commands that bring one run up to date: sdp run, finetune, prune, and those after."
        raise UsageError(f"{what} does not run under torchrun", hint=hint)


def join() -> None:
    """Join the process group, if there are several ranks.

    Variables of other launchers are removed from the environment.
    """
    clear_leftovers()
    if process_count() == 1 or _Group.store is not None:
        return
    # Before torch is loaded: DistributedDataParallel warns when it finds no unused parameters.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    import torch
    import torch.distributed as dist

    from sdp.compat.torch import meet_ranks

    cuda = torch.cuda.is_available() and ranks_here() <= torch.cuda.device_count()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    _Group.store, number, count = meet_ranks()
    # Both backends: control messages (stop, save, masks) are not on a GPU.
    backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
    dist.init_process_group(backend, store=_Group.store, rank=number, world_size=count, timeout=PATIENCE)


def send(message: dict[str, Any] | None) -> None:
    """Rank 0: send the others a stage to work on; None lets them go."""
    if process_count() > 1 and not _Group.ended:
        _Group.store.set(f"sdp/message/{_Group.messages}", json.dumps(message))
        _Group.messages += 1
        if message is None:
            _leave()


def receive() -> dict[str, Any] | None:
    """Another rank: wait for the next message of `send`."""
    key = f"sdp/message/{_Group.messages}"
    # A blocking read would not handle the signal with which torchrun ends the remaining ranks of a failed run.
    while not _Group.store.check([key]):
        time.sleep(POLL_SECONDS)
    _Group.messages += 1
    message: dict[str, Any] | None = json.loads(_Group.store.get(key))
    if message is None:
        _leave()
    return message


def _leave() -> None:
    import torch.distributed as dist

    _Group.ended = True
    dist.destroy_process_group()


def is_peer_failure(error: BaseException) -> bool:
    """Whether an error only reports that another rank has ended."""
    signs = ("closed by peer", "reset by peer", "Broken pipe", "ncclRemoteError")
    return process_count() > 1 and isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


@contextmanager
def first_to_fail() -> Iterator[bool]:
    """Yield whether this rank is the first that fails; it prints the reason, and the others nothing.

    The others wait until the first has printed it, because torchrun ends every rank as soon as one has ended.
    """
    if _Group.store is None:
        yield True
        return
    try:
        first = _Group.store.add("sdp/failed", 1) == 1
    except RuntimeError:
        # The store ends with the rank that hosts it.
        first = False
    yield first
    with suppress(RuntimeError):
        if first:
            _Group.store.set("sdp/reported", "")
        else:
            _Group.store.wait(["sdp/reported"], REPORTING)
