"""Paired benchmarks: two files measured in turns in one run, and where the time goes."""
