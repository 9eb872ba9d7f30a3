"""Place the exported files in the shipped folder, with links for large files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from sdp.errors import StageError
from sdp.pipeline.artifacts.comparison import ExportMetrics
from sdp.pipeline.artifacts.rows import ScoredRows
from sdp.pipeline.run_folder import STAGE_FILE
from sdp_onnx.deploy.manifest import MANIFEST, file_sha256

# Files of the exported folder that describe the run; the shipped folder has its own.
NOT_SHIPPED = (MANIFEST, ExportMetrics.FILE, ScoredRows.FILE, STAGE_FILE)


def take_exported(source: Path, target: Path, outputs: Mapping[str, str]) -> list[str]:
    """Place an export's files in a folder; returns their names.

    Args:
        source: the finished export's folder.
        target: the folder that is shipped.
        outputs: the export's files by name, with their SHA-256.

    Raises:
        StageError: a file has changed since it was exported and verified.
    """
    names = sorted(name for name in outputs if name not in NOT_SHIPPED)
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        place(source / name, target / name)
        if file_sha256(target / name) != outputs[name]:
            hint = "Delete the export's folder and run again."
            raise StageError("the file was changed since it was exported", where=str(source / name), hint=hint)
    return names


def place(source: Path, target: Path) -> None:
    """Link a file to a second name, or copy it where the file system cannot link."""
    # onnx rejects hard-linked external data, because the link may lead out of the folder.
    if not source.name.endswith(".onnx.data"):
        try:
            os.link(source, target)
            return
        except OSError:
            # The target is on another file system, or hard links are missing or forbidden.
            target.unlink(missing_ok=True)
    shutil.copyfile(source, target)
