"""Training one model in several processes: ranks, launchers, collectives, sums with gradients, sharded weights."""
