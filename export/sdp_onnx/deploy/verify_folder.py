"""Is a shipped folder whole, and does it give here the answers that it gave where it was made?

Files are checked against the manifest before any of them is used: the operator library is a shared library, and loading
it runs its code. Nothing is used where a file is wrong, missing or not listed. This finds damage (a copy that broke
off, a changed byte, a forgotten file). It does not prove who made the folder: for that, compare the hash in
manifest.sha256 with one that you got another way.
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
# What version control, the hub and the run folder put beside the files; none of it is shipped.
BOOKKEEPING = {".git", ".gitattributes", ".cache", "stage.json"}
# That of a large model with every tensor in it has 100 KB; a folder from elsewhere may hold anything.
_LARGEST_MANIFEST = 10**8
_SEAL_LINE = re.compile(rf"([0-9a-f]{{64}})  {re.escape(MANIFEST)}\n?")


@dataclass(frozen=True)
class FolderCheck:
    """One file, or one thing that was tried.

    Attributes:
        name: the file, or what was tried.
        outcome: ok, failed, or skipped because of what failed before it.
        detail: what is wrong, or what was found.
    """

    name: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True)
class FolderReport:
    """Everything that was checked of a folder."""

    folder: Path
    checks: tuple[FolderCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return all(check.outcome == "ok" for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON."""
        return {"folder": str(self.folder), "ok": self.ok, "checks": [asdict(check) for check in self.checks]}


def printable(text: str) -> str:
    """A name or message out of a folder that may come from anywhere, as one line that moves no cursor."""
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
    """Names of the files that make up a folder whose manifest is whole: those listed, the manifest, and its hash.

    Raises:
        ModelFileError: the manifest cannot be read.
    """
    return sorted([*_read(folder)["files"], MANIFEST, SEAL])


def _read(folder: Path) -> dict[str, Any]:
    manifest = read_manifest(folder)
    for name, entry in manifest["files"].items():
        parts = PurePosixPath(name).parts
        # What cannot be printed could write over the lines before it, and is no name for the system either.
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
        return FolderCheck(SEAL, "failed", f'does not read "HASH  {MANIFEST}"')
    if line[1] != file_sha256(folder / MANIFEST):
        return FolderCheck(MANIFEST, "failed", f"has another hash than {SEAL} says: one of the two is damaged")
    return FolderCheck(MANIFEST, "ok", _size(folder / MANIFEST))


def _check_file(folder: Path, name: str, entry: dict[str, Any]) -> FolderCheck:
    if problem := _no_plain_file(folder, name):
        return FolderCheck(name, "failed", problem)
    found = (folder / name).stat().st_size
    if found != entry["bytes"]:
        return FolderCheck(name, "failed", f"has {found} bytes, and {entry['bytes']} are listed")
    if file_sha256(folder / name) != entry["sha256"]:
        return FolderCheck(name, "failed", "has another hash than is listed: it was changed or damaged")
    return FolderCheck(name, "ok", _size(folder / name))


def _unreadable(folder: Path, name: str) -> str:
    """Why the manifest or its hash is not to be read, which the others are checked by; empty where it is."""
    problem = _no_plain_file(folder, name)
    if not problem and (size := (folder / name).stat().st_size) > _LARGEST_MANIFEST:
        return f"has {size} bytes: no manifest is so large"
    return problem


def _no_plain_file(folder: Path, name: str) -> str:
    """Why a name is no plain file of the folder itself; empty where it is one. Links are never followed."""
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
        return "is no plain file"
    return "" if os.access(path, os.R_OK) else "cannot be read: permission denied"


def _extra(folder: Path, listed: dict[str, Any]) -> Iterator[str]:
    """Files and links that the manifest does not list, in order."""
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
    """Load tokenizer and model out of a folder whose files are those of its manifest, and run the golden inputs."""
    checks: list[FolderCheck] = []
    steps = _steps(folder, manifest.get("operator_library"))
    for name in ("tokenizer", "model", "golden inputs"):
        try:
            checks.append(FolderCheck(name, "ok", next(steps)))
        except SdpError as error:
            return [*checks, FolderCheck(name, "failed", error.what)]
        except Exception as error:  # onnxruntime's and tokenizers' exceptions share no base class of their own
            return [*checks, FolderCheck(name, "failed", f"{type(error).__name__}: {error}")]
    return checks


def _steps(folder: Path, library: str | None) -> Iterator[str]:
    """Tokenize, load and run, one after the other; each says what it found, or raises."""
    golden = read_golden(folder)
    tokenizer = load_tokenizer(folder, golden.max_length)
    texts = [case for case in golden.cases if case.text]
    for case in texts:
        found = text_inputs(tokenizer, case.text, list(case.inputs), words=golden.words)
        if not all(np.array_equal(found[name], value) for name, value in case.inputs.items()):
            raise ModelFileError(f"gives other tokens here than are stored for {case.name}: {' '.join(case.text)}")
    yield f"{len(texts)} texts give the stored tokens"
    model = default_runtime().load(folder / MODEL_FILE, library=folder / library if library else "none")
    yield f"loads with {library}" if library else "loads in plain onnxruntime"
    errors = {case.name: case_error(case, model.run(case.inputs)) for case in golden.cases}
    worst = max(errors, key=lambda name: errors[name])
    words = f"{errors[worst]:.1e} of the largest logit, {golden.tolerance:.1e} allowed"
    # Written so that NaN would fail too.
    if not errors[worst] <= golden.tolerance:
        raise ModelFileError(f"the logits differ by {words}, at {worst}")
    yield f"{len(errors)} calls, largest difference {words}"


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:,.1f} MB" if size >= 10**5 else f"{size:,} bytes"
