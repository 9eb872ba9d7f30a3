"""Device and precision of training: CUDA where there is a GPU, the CPU otherwise; never a silent fallback."""

from __future__ import annotations

import torch

from sdp.distributed.ranks import ranks_here
from sdp.errors import UsageError
from sdp.recipe.base import TrainingSection
from sdp.recipe.sections import RuntimeSection
from sdp.training.bf16 import cpu_has_bf16


def training_device(runtime: RuntimeSection) -> torch.device:
    """Return the device a recipe asks for.

    Raises:
        UsageError: CUDA was asked for and is not there; the message names the missing piece.
    """
    if runtime.device == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        if ranks_here() > torch.cuda.device_count():
            what = f"{ranks_here()} processes were started on a machine of {torch.cuda.device_count()} GPUs"
            hint = 'Start one for each (--nproc-per-node), or set runtime.device to "cpu".'
            raise UsageError(what, where="torchrun", hint=hint)
        return torch.device("cuda")
    if runtime.device == "cuda":
        if torch.version.cuda is None:
            missing = f"this torch ({torch.__version__}) is built without CUDA"
        else:
            missing = "torch finds no usable NVIDIA driver and GPU (check nvidia-smi)"
        raise UsageError(f"CUDA was asked for, but {missing}", where="runtime.device", hint='Or set it to "auto".')
    return torch.device("cpu")


def trains_in_bf16(settings: TrainingSection, device: torch.device) -> bool:
    """Whether a training section's products are computed in bfloat16 on a device."""
    if settings.precision == "auto":
        return device.type == "cuda" or cpu_has_bf16()
    return settings.precision == "bf16"
