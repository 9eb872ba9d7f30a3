"""Evaluation: metrics with intervals, and comparisons of two models on the same rows."""
