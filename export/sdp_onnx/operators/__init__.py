"""The operator library from Python: where it is, its sparse format, and its operators' weights."""
