"""From a torch model to a small ONNX file: the dense export, encodings, and the rewrite for the operator library."""
