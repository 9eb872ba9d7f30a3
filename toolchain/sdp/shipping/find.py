"""Find the shipped folder or the model file of a run, or the reason why nothing was shipped."""

from __future__ import annotations

import shlex
from pathlib import Path

from sdp.errors import RunError
from sdp.pipeline.artifacts.verdict import SUMMARY_FILE, GateVerdict
from sdp.pipeline.gate_verdict import shipped_before
from sdp.pipeline.run_folder import RUN_FILE, RunFolder, absolute
from sdp.pipeline.stages import EXPORT, GATE, SHIP
from sdp_onnx.deploy.manifest import MANIFEST

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
