"""Private APIs of torch, checked with 2.13."""

from __future__ import annotations

from typing import Any


def meet_ranks() -> tuple[Any, int, int]:
    """The store that torchrun's processes meet in, the number of this process, and how many there are.

    `init_process_group` makes such a store too, but keeps it to itself; `rendezvous` is what it calls, and is not
    documented.
    """
    from torch.distributed.rendezvous import rendezvous

    store, rank, count = next(iter(rendezvous("env://")))
    return store, rank, count
