"""ONNX files: read as untrusted input, inspected, and written tensor by tensor."""
