"""An ONNX file as data: read without trusting it, inspected, described, and written tensor by tensor."""
