"""The shipped folder: its files put in place without second copies, and found again from a run folder."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from sdp.errors import RunError, StageError
from sdp.pipeline.artifacts.comparison import ExportMetrics
from sdp.pipeline.artifacts.rows import ScoredRows
from sdp.pipeline.artifacts.verdict import SUMMARY_FILE, GateVerdict
from sdp.pipeline.gate_verdict import shipped_before
from sdp.pipeline.run_folder import RUN_FILE, STAGE_FILE, RunFolder, absolute
from sdp.pipeline.stages import EXPORT, GATE, SHIP
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


SHIP_FOLDER, EXPORT_FOLDER, MODEL = SHIP.folder, EXPORT.folder, "model.onnx"


def shipped_folder(path: Path) -> Path:
    """Return the absolute path of the shipped folder: `path` itself, or the shipped folder of a run folder.

    Raises:
        RunError: it is a run folder, and nothing was shipped.
    """
    path = absolute(path)
    inner = path / SHIP_FOLDER
    if (path / MANIFEST).exists() or not (path / RUN_FILE).is_file():
        return inner if not (path / MANIFEST).exists() and inner.is_dir() else path
    if inner.is_dir():
        return inner
    reason, hint = not_shipped(path)
    raise RunError(f"nothing was shipped: {reason}", where=str(path), hint=hint)


def require_current(path: Path) -> None:
    """Require that a run folder's shipped folder matches its current results; other folders always pass.

    Raises:
        RunError: it belongs to an earlier export or verdict.
    """
    path = absolute(path)
    if (path / MANIFEST).exists() or not (path / RUN_FILE).is_file():
        return
    if what := shipped_before(RunFolder(path)):
        again, inner = shlex.quote(str(path)), path / SHIP_FOLDER
        hint = f"Ship again: sdp ship {again}. To use it nevertheless, give {inner} itself."
        raise RunError(f"what was shipped is of {what}", where=str(inner), hint=hint)


def not_shipped(run: Path) -> tuple[str, str]:
    """Return the reason why a run has no shipped folder, and a hint."""
    verdict = GateVerdict.find(RunFolder(run))
    again = f"sdp ship {shlex.quote(str(run))}"
    if verdict is None:
        return "the gate has not judged this run yet", f"Finish the run: {again}"
    if verdict.verdict == "pass":
        return "the gate passed, and the folder was not made afterwards", f"Make it: {again}"
    more = f"All checks are in {run / GATE.folder / SUMMARY_FILE}. "
    return (
        f"the gate's verdict is {verdict.verdict}: {_reason(verdict)}",
        f"{more}Change the recipe or its [gate], then: {again}",
    )


def _reason(verdict: GateVerdict) -> str:
    """Return the sentence of the first check that decided a verdict."""
    sentences = (check.sentence for check in verdict.checks if check.outcome == verdict.verdict)
    return next(sentences, "nothing was checked")


def model_file(path: Path) -> tuple[Path, str]:
    """Return the ONNX file of a path, and a remark on it.

    Args:
        path: an ONNX file, a folder with one, or a run folder (its shipped file, or else its exported file).

    Raises:
        RunError: there is none.
    """
    if not path.is_dir():
        return path, ""
    path = absolute(path)
    for candidate in (path / MODEL, path / SHIP_FOLDER / MODEL):
        if candidate.is_file():
            return candidate, ""
    if (path / EXPORT_FOLDER / MODEL).is_file():
        return path / EXPORT_FOLDER / MODEL, f"nothing was shipped: {not_shipped(path)[0]}"
    if (path / RUN_FILE).is_file():
        hint = f"Export it: sdp export {shlex.quote(str(path))}"
        raise RunError("this run has no exported model yet", where=str(path), hint=hint)
    hint = "Give an ONNX file, a run folder, or an exported or shipped one."
    raise RunError(f"the folder holds no {MODEL}", where=str(path), hint=hint)
