"""Intervals and paired tests: over the rows of one split, and over the seeds of a study."""
