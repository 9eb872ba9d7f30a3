"""The gate's last verdict, and its effect on the shipped folder."""

from __future__ import annotations

from sdp.pipeline.files import read_json
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import RunFolder, remove_folder
from sdp.pipeline.stages import GATE, SHIP, STAGES, find_stage


def gate_verdict(run: RunFolder) -> str | None:
    """Return the gate's last verdict: pass, fail or inconclusive; None before the first."""
    content = read_json(run.stage(GATE.folder) / "verdict.json")
    verdict = content.get("verdict") if content is not None else None
    return str(verdict) if verdict is not None else None


def withhold(run: RunFolder, reporter: Reporter, *, wanted: bool) -> None:
    """Remove the shipped folder of an earlier verdict, unless the gate passed.

    Args:
        run: the run folder.
        reporter: prints the reason.
        wanted: whether the stage was requested; otherwise only a removal is reported.
    """
    verdict = gate_verdict(run)
    if verdict == "pass":
        return
    for stage in STAGES:
        if not stage.after_pass:
            continue
        older = run.stage(stage.folder).exists()
        for folder in (run.stage(stage.folder), run.partial(stage.folder)):
            remove_folder(folder)
        if wanted or older:
            removed = f"; the older {stage.folder} is removed" if older else ""
            reporter.line(f"{stage.name:9} not made: the gate's verdict is {verdict}{removed}")


def shipped_before(run: RunFolder) -> str:
    """Return the origin of an outdated shipped folder: "an earlier export" or "an earlier verdict".

    Returns:
        the origin; empty where the folder is up to date or does not exist.
    """
    shipped = run.record(SHIP.folder)
    inputs = shipped["ingredients"]["inputs"] if shipped is not None else {}
    for stage, what in (("export", "an earlier export"), ("gate", "an earlier verdict")):
        record = run.record(find_stage(stage).folder)
        files = {name: output["sha256"] for name, output in record["outputs"].items()} if record is not None else {}
        if any(files.get(name) != digest for name, digest in (inputs.get(stage) or {}).items()):
            return what
    return ""
