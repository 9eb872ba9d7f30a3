"""sdp_onnx: everything about an ONNX file (export, sparse encodings, inspection, verification, benchmarks).

Nothing here imports `sdp`, and only `sdp_onnx.export.torch_export` imports torch: deploying needs neither.
"""
