"""One run against another: the snapshot of a run, the differences with their intervals, and their table."""
