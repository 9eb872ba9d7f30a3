"""What a comparison needs of a run, in one small JSON file: rows by hash with predictions, starts of the benchmark."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from sdp.errors import RunError
from sdp.pipeline import stored_numbers as numbers
from sdp.pipeline.json_file import read_json
from sdp.pipeline.run_folder import RUN_FILE, absolute
from sdp.pipeline.stored_numbers import check_stored

FORM = 1
Snapshot = dict[str, Any]
_KEYS = {"recipe", "metric", "part", "rows", "bench"}
_CASE_KEYS = ("case", "threads", "starts")


def take_snapshot(run: Path) -> Snapshot:
    """Read a run folder whose export is done; "bench" is None where the benchmark is not.

    Raises:
        RunError: it is no run folder, or not exported by this version.
    """
    owner = read_json(run / RUN_FILE)
    if owner is None:
        hint = "Give a run folder, or a file that sdp compare RUN --save FILE wrote."
        raise RunError("no run folder (it has no run.json)", where=str(run), hint=hint)
    metrics, rows = (read_json(run / "4-export" / name) for name in ("metrics.json", "rows.json"))
    if metrics is None or rows is None:
        hint = _renew(run)
        raise RunError(
            "the run has no exported model with its predictions (4-export/rows.json)", where=str(run), hint=hint
        )
    bench = read_json(run / "5-bench" / "latency.json")
    try:
        if bench is not None:
            cases = [{key: case[key] for key in _CASE_KEYS} for case in bench["cases"]]
            bench = {"cases": cases} | {key: bench[key] for key in ("candidate_bytes", "processes", "environment")}
        content = {key: metrics[key] for key in ("metric", "part")}
        return {"snapshot": FORM, "recipe": owner["recipe"], **content, "rows": rows, "bench": bench}
    except KeyError as error:
        hint = _renew(run)
        raise RunError(f"another version of sdp made this run: it has no {error}", where=str(run), hint=hint) from None
    except TypeError:
        hint = _renew(run)
        raise RunError("5-bench/latency.json is damaged", where=str(run), hint=hint) from None


def _renew(run: Path) -> str:
    return f"Bring it up to date first: sdp bench {shlex.quote(str(run))}"


def load_snapshot(path: Path) -> Snapshot:
    """A run folder, or a file that `save_snapshot` wrote.

    Raises:
        RunError: it is neither.
    """
    if path.is_dir():
        path = absolute(path)
        content = take_snapshot(path)
        check_stored(numbers.Snapshot, content, str(path), _renew(path))
        return content
    saved = read_json(path)
    if saved is None or saved.get("snapshot") != FORM or not saved.keys() >= _KEYS:
        hint = "Give a run folder, or a file that sdp compare RUN --save FILE wrote."
        raise RunError("neither a run folder nor a saved baseline of this version", where=str(path), hint=hint)
    check_stored(numbers.Snapshot, saved, str(path), f"Save it again: sdp compare RUN --save {shlex.quote(str(path))}")
    return saved


def save_snapshot(snapshot: Snapshot, path: Path) -> None:
    """Write a snapshot on one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(snapshot, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
