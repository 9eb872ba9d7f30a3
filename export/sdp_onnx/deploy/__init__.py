"""What a shipped folder needs: manifest, golden inputs, tokenization, verification, predictions."""
