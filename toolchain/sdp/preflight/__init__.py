"""The preflight: run the whole pipeline once with few rows and layers, before hours of training."""
