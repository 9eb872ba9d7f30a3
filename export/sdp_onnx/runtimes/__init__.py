"""Where a file runs: the runtimes, the machine, and what a run costs there."""
