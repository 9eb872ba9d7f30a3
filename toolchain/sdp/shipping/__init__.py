"""What goes out: the shipped folder's files, golden inputs, licences and model card."""
