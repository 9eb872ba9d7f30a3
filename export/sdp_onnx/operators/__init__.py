"""The operator library in Python: its file, its table of operators, and the formats of their weights."""
