"""Export a torch model to a small ONNX file: dense export, encodings, and the rewrite for the operator library."""
