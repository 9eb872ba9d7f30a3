"""The shipped folder: its files, golden inputs, licences and model card, and the upload."""
