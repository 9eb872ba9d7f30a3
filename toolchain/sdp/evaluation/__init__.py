"""Evaluation: metrics, their uncertainty, and comparisons of two models on the same rows."""
