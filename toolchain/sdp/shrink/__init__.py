"""`sdp shrink`: make an ONNX file smaller and faster without its training code, by pruning and refitting it at once."""
