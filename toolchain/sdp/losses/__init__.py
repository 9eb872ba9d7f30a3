"""Pruning objectives: pure functions on tensors, one module each, combined by `objective`."""
