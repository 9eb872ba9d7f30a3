"""Choosing between models: running each in a folder of its own, its measured row, and the risk of a choice."""
