"""Structured pruning: whole attention heads and feed-forward neurons are removed, and what is left is a smaller dense
network."""
