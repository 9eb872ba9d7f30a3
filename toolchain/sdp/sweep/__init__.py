"""Sweeps: one gradual pruning that stops at several sparsities, a run for each, and what each of them is worth."""
