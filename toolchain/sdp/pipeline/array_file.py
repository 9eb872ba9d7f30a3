"""Arrays on disk: written completely or not at all, and verified by a hash on reading."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sdp.pipeline.file_modes import follow_umask
from sdp_onnx.model.files import atomic_write

_SEAL = "sha256"


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a safetensors file with a hash of its content.

    Raises:
        SafetensorError: the disk is full.
        OSError: the disk reports an error.
    """
    with atomic_write(path) as temporary:
        save_file(dict(arrays), temporary, metadata={_SEAL: _hash(arrays)})
        follow_umask(temporary)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of such a file by name; empty where the file is missing or damaged."""
    try:
        # Torch's loader maps the file: a teacher's outputs for all training rows may be larger than memory.
        with safe_open(path, framework="pt") as file:
            arrays = {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118 it is no mapping
            return arrays if (file.metadata() or {}).get(_SEAL) == _hash(arrays) else {}
    except (OSError, SafetensorError):
        return {}


def _hash(arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(array.data)
    return digest.hexdigest()
