"""Trimming a pretrained vocabulary: which pieces stay (`pieces`), the tokenizer, the weights, and what is covered."""
