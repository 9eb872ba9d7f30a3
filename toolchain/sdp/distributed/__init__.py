"""Several processes that train one model: ranks, launchers, collectives, sums with gradients, sharded weights."""
