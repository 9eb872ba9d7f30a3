"""JSON files that are complete or absent: written in one step, and ignored where they are damaged."""

from __future__ import annotations

import json
from pathlib import Path

from sdp_onnx.model.files import atomic_write, read_json

__all__ = ["read_json", "write_json"]


def write_json(path: Path, content: object) -> None:
    """Write JSON so that the file is complete or absent, also after a power loss."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
