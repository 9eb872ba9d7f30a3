"""sdp_onnx: export, sparse encodings, inspection, verification and benchmarks of ONNX files.

Nothing here imports `sdp`, and only two modules of `sdp_onnx.export`, torch_export and traced_graphs, import torch:
deploying needs neither.
"""
