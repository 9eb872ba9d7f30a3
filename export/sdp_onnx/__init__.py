"""sdp_onnx: export, sparse encodings, inspection, verification and benchmarks of ONNX files.

Nothing here imports `sdp`, and only `sdp_onnx.export.torch_export` imports torch: deploying needs neither.
"""
