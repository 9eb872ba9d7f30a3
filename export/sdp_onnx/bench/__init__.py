"""Paired benchmarks: two files measured in turns in one run, and profiles of the time by part."""
