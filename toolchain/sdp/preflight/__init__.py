"""The preflight: the whole pipeline once, with a few rows and a few layers, before hours go into it."""
