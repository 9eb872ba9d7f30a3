"""Runtimes: sessions, providers, the machine, and the memory and time of a run."""
