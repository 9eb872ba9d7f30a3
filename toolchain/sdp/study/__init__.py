"""Studies: one recipe over a grid of settings and seeds, its table with paired tests, and its plot."""
