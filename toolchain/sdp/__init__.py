"""sdp: self-distilled pruning of Transformer encoders, from a pretrained model to gated, sparse ONNX.

Start reading at `sdp.pipeline.runner` (the stages in order) or `sdp.cli.main` (the commands).
"""

__version__ = "0.1.0"
