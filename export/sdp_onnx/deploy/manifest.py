"""Manifests: the files of a folder with their hashes, so that a shipped model can be checked.

manifest.json lists the files; manifest.sha256 beside it holds the hash of manifest.json, in the form of `sha256sum`.
Both detect damage, not an attacker, who can change them too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

from sdp_onnx.errors import ModelFileError
from sdp_onnx.model.files import atomic_write

MANIFEST = "manifest.json"
SEAL = "manifest.sha256"
ProblemType = Literal[
    "classification", "multi-label", "regression", "tagging", "ranking", "embedding", "question-answering"
]
"""The kind of an exported model's task, as the manifest has it."""


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as lower-case hexadecimal, read in chunks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, content: dict[str, Any], *, omit: Collection[str] = ()) -> Path:
    """Write `content` and, under `files`, hash and size of every other file below `folder`, to manifest.json.

    Paths are relative to the folder, with forward slashes. The file is replaced in one step. Returns its path.

    Args:
        folder: the folder.
        content: other entries of the manifest.
        omit: names of files to leave out.
    """
    target = folder / MANIFEST
    files = {
        path.relative_to(folder).as_posix(): {"sha256": file_sha256(path), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != target and path.name not in (SEAL, *omit)
    }
    with atomic_write(target) as temporary:
        text = json.dumps(content | {"files": files}, indent=2, sort_keys=True)
        temporary.write_text(text + "\n", encoding="utf-8")
    return target


def seal_manifest(folder: Path) -> Path:
    """Write the hash of a finished manifest.json to manifest.sha256; return its path."""
    seal = folder / SEAL
    seal.write_text(f"{file_sha256(folder / MANIFEST)}  {MANIFEST}\n", encoding="ascii")
    return seal


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a folder's manifest.json.

    Raises:
        ModelFileError: it is missing, or not a JSON object with a `files` table.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFileError(
            "the folder has no manifest.json", where=str(folder), hint="It is not an exported model, or not all of it."
        ) from None
    # ValueError: no UTF-8, no JSON, or a number of thousands of digits; RecursionError: thousands of brackets.
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFileError(f"the manifest cannot be read ({error})", where=str(path), hint="Export again.") from error
    if not isinstance(content, dict) or not isinstance(content.get("files"), dict):
        raise ModelFileError("the manifest lists no files", where=str(path), hint="Export again.")
    return content
