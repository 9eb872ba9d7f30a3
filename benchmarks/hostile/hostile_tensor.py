"""Damage to tensors of an ONNX file, and content put where it should not be."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import numpy as np
from onnx import TensorProto

from hostile_values import damaged_bytes

DIMENSIONS = (-1, 0, 1, 2, 3, 4, 7, 16, 256, 2**20, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63))
_PLACES = ("folder link", "hard link", "folder", "short", "good", "name", "name", "name")
_NAMES = (
    *("/dev/zero", "/dev/stdin", "/proc/self/environ", "/etc/passwd", "", ".", "a\0b", "model.onnx", "./weights.bin/"),
    *("x" * 5000, "\u2028", "inner/../../x"),
)


def damage_tensor(random: Random, tensor: TensorProto) -> None:
    """Change shape, type or content."""
    kind = random.randrange(9)
    if kind == 0 and tensor.dims:
        tensor.dims[random.randrange(len(tensor.dims))] = random.choice(DIMENSIONS)
    elif kind == 1:
        tensor.dims.extend([random.choice(DIMENSIONS)])
    elif kind == 2:
        tensor.data_type = random.choice([0, 1, 2, 3, 6, 7, 8, 9, 10, 14, 16, 17, 21, 22, 23, 99, 2**31 - 1])
    elif kind == 3:
        tensor.raw_data = damaged_bytes(random, tensor.raw_data)
    elif kind == 4:
        tensor.ClearField("raw_data")
    elif kind == 5:
        tensor.name = random.choice(["", "x", "\0", "y" * 10**5])
    elif kind == 6:
        tensor.float_data.extend([float("nan")] * random.randrange(5))
        tensor.ClearField("raw_data")
    elif kind == 7:
        tensor.segment.begin = 0
    else:
        raw = np.frombuffer(tensor.raw_data, np.uint8).copy()
        if raw.size:
            raw[random.randrange(raw.size) :: 4] = random.randrange(256)
        tensor.raw_data = raw.tobytes()


def place_content(random: Random, folder: Path, secret: Path) -> str:
    """Put a tensor's content where it should not be, or not at all; the location that the tensor names."""
    place, content = folder / "weights.bin", secret.read_bytes()
    linked: dict[str, str | Path] = {"secret": secret, "circle": place.name, "device": "/dev/zero"}
    kind = random.choice([*linked, *_PLACES])
    if kind in linked:
        place.symlink_to(linked[kind])
    elif kind == "folder link":
        (folder / "inner").symlink_to(secret.parent)
        return f"inner/{secret.name}"
    elif kind == "hard link":
        os.link(secret, place)
    elif kind == "folder":
        place.mkdir()
    elif kind in ("short", "good"):
        place.write_bytes(content[: len(content) // 2] if kind == "short" else content)
    else:
        return random.choice([f"../{secret.name}", str(secret), *_NAMES])
    return place.name
