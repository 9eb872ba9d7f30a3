"""The operator library from Python: its file, its table of operators, and the formats of their weights."""
