"""Where a file runs: sessions, providers, the machine and what a run costs there."""
