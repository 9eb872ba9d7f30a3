"""The section on the origin: time, machine, versions, settings, hashes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sdp
from sdp.pipeline.run_folder import STAGE_FILE
from sdp.report.section import RunFiles, Section

FOLDERS = ("0-vocabulary", "1-finetune", "2-prune", "3-evaluate", "4-export", "5-bench", "6-gate")


def section(files: RunFiles) -> Section:
    """Return everything needed to reproduce the model."""
    manifest, bench = files.json("4-export/manifest.json"), files.json("5-bench/latency.json")
    environment = bench["environment"]
    # Not every recipe has a vocabulary stage.
    records = {folder: files.optional(f"{folder}/{STAGE_FILE}") for folder in FOLDERS}
    versions = {"sdp": sdp.__version__} | manifest["versions"] | environment["packages"]
    values = {
        "recipe": files.recipe,
        "seconds": {folder: record["seconds"] for folder, record in records.items() if record is not None},
        "machine": machine_rows(environment),
        "versions": versions,
        "inputs": [
            (f"{kind}: {name}", value) for kind, known in manifest["inputs"].items() for name, value in known.items()
        ],
        "outputs": [(name, file["sha256"]) for name, file in manifest["files"].items()],
    }
    return Section("How it was made", "sections/origin.html", values)


def machine_rows(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Describe the machine of the measurements; unknown properties are left out."""
    memory, quota = environment["memory_bytes"], environment["cpu_quota"]
    rows = [
        ("processor", environment["cpu"]),
        ("cores", f"{environment['allowed_cores'] or environment['logical_cores']} of {environment['logical_cores']}"),
        ("limit of the container", f"{quota:g} cores" if quota else ""),
        ("memory", f"{memory / 2**30:.0f} GiB" if memory else ""),
        ("instructions", ", ".join(environment["instruction_sets"])),
        ("GPU", ", ".join(environment["gpus"])),
        ("system", environment["os"]),
        ("Python", environment["python"]),
    ]
    return [(name, str(value)) for name, value in rows if value]
