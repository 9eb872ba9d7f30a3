"""JSON files that are complete or absent: written in one step, and ignored where they are damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from sdp.pipeline.storage import TEMPORARY
from sdp_onnx.model.regular_file import check_regular


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None where the file is missing or damaged."""
    try:
        check_regular(path)
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def write_json(path: Path, content: object) -> None:
    """Write JSON so that the file is complete or absent, also after a power loss."""
    temporary = path.with_name(f"{path.name}{TEMPORARY}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
