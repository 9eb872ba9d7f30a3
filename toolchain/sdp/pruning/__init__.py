"""Pruning: which weights (`layers`), how many and when (`schedule`), which of them (`criteria`, then `masks`)."""
