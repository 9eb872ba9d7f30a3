"""Find the shipped folder or the model file of a run, or the reason why nothing was shipped."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from sdp.errors import RunError
from sdp.pipeline.gate_verdict import shipped_before
from sdp.pipeline.json_file import read_json
from sdp.pipeline.run_folder import RUN_FILE, RunFolder, absolute
from sdp_onnx.deploy.manifest import MANIFEST

SHIP_FOLDER, EXPORT_FOLDER, MODEL = "8-ship", "4-export", "model.onnx"


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
    verdict = read_json(run / "6-gate" / "verdict.json")
    again = f"sdp ship {shlex.quote(str(run))}"
    if verdict is None:
        return "the gate has not judged this run yet", f"Finish the run: {again}"
    outcome = str(verdict.get("verdict"))
    if outcome == "pass":
        return "the gate passed, and the folder was not made afterwards", f"Make it: {again}"
    more = f"All checks are in {run / '6-gate' / 'summary.md'}. "
    return (
        f"the gate's verdict is {outcome}: {_reason(verdict, outcome)}",
        f"{more}Change the recipe or its [gate], then: {again}",
    )


def _reason(verdict: dict[str, Any], outcome: str) -> str:
    """Return the sentence of the first check that decided a verdict."""
    checks = verdict.get("checks")
    for check in checks if isinstance(checks, list) else []:
        if isinstance(check, dict) and check.get("outcome") == outcome:
            return str(check.get("sentence"))
    return "nothing was checked"


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
