"""Verify a shipped folder: its files against the manifest, and its logits against the golden inputs.

Files are checked against the manifest before any of them is used: the operator library is a shared library, and loading
it runs its code. If a file is wrong, missing or not listed, none is used. This detects damage (an incomplete copy, a
changed byte, a forgotten file). It does not prove the origin of the folder: for that, compare the hash in
manifest.sha256 with a copy from a trusted source.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from sdp_onnx.deploy.golden import case_error, load_tokenizer, read_golden, text_inputs
from sdp_onnx.deploy.manifest import MANIFEST, SEAL, file_sha256, read_manifest
from sdp_onnx.errors import ModelFileError, SdpError, UsageError
from sdp_onnx.runtimes.registry import default_runtime

Outcome = Literal["ok", "failed", "skipped"]
MODEL_FILE = "model.onnx"
# Files of version control, the hub and the run folder; none of them is shipped.
BOOKKEEPING = {".git", ".gitattributes", ".cache", "stage.json"}
# The manifest of a large model with every tensor has 100 KB; a folder is untrusted.
_LARGEST_MANIFEST = 10**8
_SEAL_LINE = re.compile(rf"([0-9a-f]{{64}})  {re.escape(MANIFEST)}\n?")


@dataclass(frozen=True)
class FolderCheck:
    """The check of one file, or one test run.

    Attributes:
        name: the file, or the test.
        outcome: ok, failed, or skipped because an earlier check failed.
        detail: the error, or the result.
    """

    name: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True)
class FolderReport:
    """All checks of a folder."""

    folder: Path
    checks: tuple[FolderCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return all(check.outcome == "ok" for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {"folder": str(self.folder), "ok": self.ok, "checks": [asdict(check) for check in self.checks]}


def printable(text: str) -> str:
    """Return a name or message from an untrusted folder as one line without control characters."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def verify_folder(folder: Path) -> FolderReport:
    """Check every file of a shipped folder against its manifest, then run its golden inputs.

    Raises:
        UsageError: there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError("there is no such folder", where=str(folder))
    seal = _check_seal(folder)
    checks = [seal]
    if _unreadable(folder, MANIFEST):
        return FolderReport(folder, (seal,))
    try:
        manifest = _read(folder)
    except ModelFileError as error:
        problem = seal if seal.outcome == "failed" else FolderCheck(MANIFEST, "failed", error.what)
        return FolderReport(folder, (problem,))
    checks += [_check_file(folder, name, entry) for name, entry in sorted(manifest["files"].items())]
    checks += [FolderCheck(name, "failed", "is not in the manifest") for name in _extra(folder, manifest["files"])]
    whole = all(check.outcome == "ok" for check in checks)
    skipped = FolderCheck("golden inputs", "skipped", "the files are not those that were shipped")
    checks += _run(folder, manifest) if whole else [skipped]
    return FolderReport(folder, tuple(checks))


def shipped_files(folder: Path) -> list[str]:
    """Return the names of a folder's files: the listed files, the manifest, and its hash.

    Raises:
        ModelFileError: the manifest cannot be read.
    """
    return sorted([*_read(folder)["files"], MANIFEST, SEAL])


def _read(folder: Path) -> dict[str, Any]:
    manifest = read_manifest(folder)
    for name, entry in manifest["files"].items():
        parts = PurePosixPath(name).parts
        # Control characters could overwrite earlier lines of the terminal, and are not valid in file names.
        odd = not name.isprintable() or "\\" in name or ":" in name
        if odd or not parts or ".." in parts or name != "/".join(parts):
            raise ModelFileError(f"the manifest lists {name!r}, which is no name inside the folder")
        if not isinstance(entry, dict) or [type(entry.get(key)) for key in ("sha256", "bytes")] != [str, int]:
            raise ModelFileError(f"the manifest lists neither hash nor size of {name}")
    if manifest.get("operator_library") not in (None, *manifest["files"]):
        raise ModelFileError("the manifest's operator library is not one of its files")
    return manifest


def _check_seal(folder: Path) -> FolderCheck:
    """Whether manifest.json has the hash in manifest.sha256."""
    for name in (MANIFEST, SEAL):
        if problem := _unreadable(folder, name):
            return FolderCheck(name, "failed", problem)
    line = _SEAL_LINE.fullmatch((folder / SEAL).read_text(encoding="ascii", errors="replace"))
    if line is None:
        return FolderCheck(SEAL, "failed", f'does not have the form "HASH  {MANIFEST}"')
    if line[1] != file_sha256(folder / MANIFEST):
        return FolderCheck(MANIFEST, "failed", f"differs from the hash in {SEAL} and one of the two is damaged")
    return FolderCheck(MANIFEST, "ok", _size(folder / MANIFEST))


def _check_file(folder: Path, name: str, entry: dict[str, Any]) -> FolderCheck:
    if problem := _no_plain_file(folder, name):
        return FolderCheck(name, "failed", problem)
    found = (folder / name).stat().st_size
    if found != entry["bytes"]:
        return FolderCheck(name, "failed", f"has {found} bytes, and {entry['bytes']} are listed")
    if file_sha256(folder / name) != entry["sha256"]:
        return FolderCheck(name, "failed", "its hash differs from the manifest: it was changed or damaged")
    return FolderCheck(name, "ok", _size(folder / name))


def _unreadable(folder: Path, name: str) -> str:
    """Return the reason why the manifest or its hash cannot be read; empty if both can."""
    problem = _no_plain_file(folder, name)
    if not problem and (size := (folder / name).stat().st_size) > _LARGEST_MANIFEST:
        return f"has {size} bytes: no manifest is so large"
    return problem


def _no_plain_file(folder: Path, name: str) -> str:
    """Return the reason why a name is not a regular file of the folder; empty if it is. Links are never followed."""
    path = folder
    for part in PurePosixPath(name).parts:
        path = path / part
        try:
            mode = path.lstat().st_mode
        except OSError as error:
            return "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        if stat.S_ISLNK(mode):
            outside = not path.resolve().is_relative_to(folder.resolve())
            leads = " that leads out of the folder" if outside else ""
            copy = "copy the files themselves (of the hub: hf download OWNER/NAME --local-dir FOLDER)"
            return f"is a symbolic link{leads}; {copy}"
    if not stat.S_ISREG(mode):
        return "is not a regular file"
    return "" if os.access(path, os.R_OK) else "cannot be read: permission denied"


def _extra(folder: Path, listed: dict[str, Any]) -> Iterator[str]:
    """Yield files and links that the manifest does not list, in order."""
    known = {*listed, MANIFEST, SEAL}
    for root, folders, files in os.walk(folder):
        here, ours = Path(root), BOOKKEEPING if Path(root) == folder else set()
        folders[:] = sorted(set(folders) - ours)
        links = [name for name in folders if (here / name).is_symlink()]
        for name in sorted([*files, *links]):
            path = (here / name).relative_to(folder).as_posix()
            if path not in known and name not in ours:
                yield path


def _run(folder: Path, manifest: dict[str, Any]) -> list[FolderCheck]:
    """Load tokenizer and model of a folder whose files match its manifest, and run the golden inputs."""
    checks: list[FolderCheck] = []
    steps = _steps(folder, manifest.get("operator_library"))
    for name in ("tokenizer", "model", "golden inputs"):
        try:
            checks.append(FolderCheck(name, "ok", next(steps)))
        except SdpError as error:
            return [*checks, FolderCheck(name, "failed", error.what)]
        except Exception as error:  # onnxruntime's and tokenizers' exceptions have no common base class
            return [*checks, FolderCheck(name, "failed", f"{type(error).__name__}: {error}")]
    return checks


def _steps(folder: Path, library: str | None) -> Iterator[str]:
    """Tokenize, load and run in this order; each step yields its result or raises."""
    golden = read_golden(folder)
    tokenizer = load_tokenizer(folder, golden.max_length)
    texts = [case for case in golden.cases if case.text]
    for case in texts:
        found = text_inputs(tokenizer, case.text, list(case.inputs), words=golden.words)
        if not all(np.array_equal(found[name], value) for name, value in case.inputs.items()):
            raise ModelFileError(f"the tokens differ from the stored ones for {case.name}: {' '.join(case.text)}")
    yield f"{len(texts)} texts give the stored tokens"
    model = default_runtime().load(folder / MODEL_FILE, library=folder / library if library else "none")
    yield f"loads with {library}" if library else "loads in plain onnxruntime"
    errors = {case.name: case_error(case, model.run(case.inputs)) for case in golden.cases}
    worst = max(errors, key=lambda name: errors[name])
    words = f"{errors[worst]:.1e} of the largest logit, {golden.tolerance:.1e} allowed"
    # The form of the comparison also rejects NaN.
    if not errors[worst] <= golden.tolerance:
        raise ModelFileError(f"the logits differ by {words}, at {worst}")
    yield f"{len(errors)} calls, largest difference {words}"


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:,.1f} MB" if size >= 10**5 else f"{size:,} bytes"
