"""Trim a pretrained vocabulary: choose pieces (`pieces`), trim tokenizer and weights, and measure the coverage."""
