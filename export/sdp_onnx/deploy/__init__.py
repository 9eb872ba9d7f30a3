"""Deployment of a shipped folder: manifest, golden inputs, tokenization, verification."""
