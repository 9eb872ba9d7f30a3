"""Measurements of a network at every pruning step: pure functions, a probe and a recorder."""
