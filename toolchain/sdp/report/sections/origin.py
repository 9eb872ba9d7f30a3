"""The section on the origin: time, machine, versions, settings, hashes."""

from __future__ import annotations

import sdp
from sdp.pipeline.artifacts.latency import BenchEnvironment, BenchLatency
from sdp.pipeline.artifacts.manifest import ExportManifest
from sdp.pipeline.stages import REPORT, STAGES, VOCABULARY
from sdp.report.section import ReportSection, RunFiles


def section(files: RunFiles) -> ReportSection:
    """Return everything needed to reproduce the model."""
    manifest, environment = ExportManifest.load(files.run), BenchLatency.load(files.run).environment
    # A recipe that trims no vocabulary has no such stage.
    before = (stage.folder for stage in (VOCABULARY, *STAGES[: STAGES.index(REPORT)]))
    records = {folder: files.run.record(folder) for folder in before}
    versions = {"sdp": sdp.__version__} | manifest.versions | environment.packages
    values = {
        "recipe": files.recipe,
        "seconds": {folder: record["seconds"] for folder, record in records.items() if record is not None},
        "machine": machine_rows(environment),
        "versions": versions,
        "inputs": [
            (f"{kind}: {name}", value) for kind, known in manifest.inputs.items() for name, value in known.items()
        ],
        "outputs": [(name, file.sha256) for name, file in manifest.files.items()],
    }
    return ReportSection("How it was made", "sections/origin.html", values)


def machine_rows(environment: BenchEnvironment) -> list[tuple[str, str]]:
    """Describe the machine of the measurements; unknown properties are left out."""
    memory, quota, cores = environment.memory_bytes, environment.cpu_quota, environment.logical_cores
    rows = [
        ("processor", environment.cpu),
        ("cores", f"{environment.allowed_cores or cores} of {cores}"),
        ("limit of the container", f"{quota:g} cores" if quota else ""),
        ("memory", f"{memory / 2**30:.0f} GiB" if memory else ""),
        ("instructions", ", ".join(environment.instruction_sets)),
        ("GPU", ", ".join(environment.gpus)),
        ("system", environment.os),
        ("Python", environment.python),
    ]
    return [(name, str(value)) for name, value in rows if value]
