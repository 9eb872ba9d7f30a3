"""Tuning: the fastest model that loses at most so much of the metric, found within a budget of time."""
