"""Stage 8: make the folder to ship, only when the gate passes.

Holds the exported files (hard links where the file system has them), README.md (a model card), golden.json (inputs and
the logits they give), manifest.json (hashes, recipe, versions, measurements, verdict, licences) and manifest.sha256.
The folder is verified before it appears.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from pydantic import JsonValue

import sdp
from sdp.errors import StageError
from sdp.pipeline.artifacts.manifest import ExportManifest
from sdp.pipeline.artifacts.record import StageResult
from sdp.pipeline.artifacts.results import FinishedResults, load_results
from sdp.pipeline.context import StageContext
from sdp.pipeline.files import read_json
from sdp.pipeline.run_folder import STAGE_FILE, RunFolder
from sdp.pipeline.stages import EXPORT
from sdp.recipe.sections import Recipe
from sdp.shipping.card import model_card, unknown_licenses
from sdp.shipping.folder import take_exported
from sdp.shipping.golden import golden_cases
from sdp.shipping.licenses import Licenses, find_licenses
from sdp_onnx.deploy.golden import Golden, load_tokenizer, write_golden
from sdp_onnx.deploy.manifest import seal_manifest, write_manifest
from sdp_onnx.deploy.tokenization import TextTokenizer
from sdp_onnx.deploy.verify_folder import MODEL_FILE, shipped_files, verify_folder
from sdp_onnx.operators.library import LIBRARY_NAME
from sdp_onnx.runtimes.registry import default_runtime

FORMAT = 1


def run(context: StageContext) -> StageResult:
    """Assemble the folder and verify it."""
    recipe, run, target = context.recipe, context.run, context.target
    exported, library = take_model(recipe, run, target)
    licenses, results = find_licenses(recipe), load_results(run)
    if unknown := unknown_licenses(licenses):
        context.reporter.line(f"  {unknown}: noted in the model card")
    card = model_card(
        recipe,
        results,
        licenses,
        operator_library=library,
        tolerance=recipe.export.allowed_error,
        oldest=exported.onnxruntime,
        optional_answers=exported.optional_answers is True,
        framed=bool(TextTokenizer.read(target).backend.encode("").ids),
    )
    (target / "README.md").write_text(card, encoding="utf-8")
    seal(target, {**shipped_manifest(exported, library), **_measured(recipe, results, licenses)})
    names = shipped_files(target)
    return {"files": len(names), "bytes": sum((target / name).stat().st_size for name in names)}


def take_model(recipe: Recipe, run: RunFolder, target: Path) -> tuple[ExportManifest, str | None]:
    """Place the exported files in the folder, with golden inputs and the file's logits for them.

    Returns:
        the export's manifest, and the name of the operator library where the file needs it.

    Raises:
        StageError: the export is damaged.
        RunError: its manifest is damaged, or another version's.
    """
    source = run.stage(EXPORT.folder)
    record, config = run.record(EXPORT.folder), read_json(source / "config.json")
    if record is None or config is None:
        raise StageError("the export is damaged", where=str(source), hint="Delete the folder and run again.")
    exported = ExportManifest.load(run)
    names = take_exported(source, target, {name: output["sha256"] for name, output in record["outputs"].items()})
    library = LIBRARY_NAME if LIBRARY_NAME in names else None
    write_golden(target, _golden(recipe, target, config.get("vocab_size"), exported, library))
    return exported, library


def seal(target: Path, manifest: dict[str, JsonValue]) -> None:
    """Write the manifest of all files in the folder, with its hash, and verify the folder.

    Raises:
        StageError: it does not verify.
    """
    write_manifest(target, manifest, omit=(STAGE_FILE,))
    seal_manifest(target)
    report = verify_folder(target)
    if not report.ok:
        wrong = "; ".join(f"{check.name} {check.detail}" for check in report.checks if check.outcome != "ok")
        raise StageError(f"the folder does not verify: {wrong}", where=str(target))


def _golden(recipe: Recipe, target: Path, pieces: int | None, exported: ExportManifest, library: str | None) -> Golden:
    model = default_runtime().load(
        target / MODEL_FILE, threads=recipe.runtime.threads, library=target / library if library else "none"
    )
    cases = golden_cases(
        model,
        load_tokenizer(target, exported.max_length),
        pieces,
        problem_type=recipe.task.problem_type,
        columns=exported.text_columns,
        max_length=exported.max_length,
    )
    return Golden(
        tolerance=recipe.export.allowed_error,
        max_length=exported.max_length,
        words=recipe.task.problem_type == "tagging",
        cases=cases,
    )


def shipped_manifest(exported: ExportManifest, library: str | None) -> dict[str, JsonValue]:
    """What the export's manifest holds, but for its list of files, with the format and the library."""
    kept = {key: value for key, value in exported.to_json().items() if key != "files"}
    return {**kept, "format": FORMAT, "operator_library": library}


def _measured(recipe: Recipe, results: FinishedResults, licenses: Licenses) -> dict[str, JsonValue]:
    """What was found out since the export."""
    bench = results.bench.to_json()
    keys = ("baseline_bytes", "candidate_bytes", "provider", "cases", "quiet", "environment")
    return {
        "shipped_by": f"sdp {sdp.__version__}",
        "name": recipe.name,
        "metrics": results.export.to_json(),
        "sparsity": results.prune.sparsity,
        "benchmark": {key: bench[key] for key in keys},
        "gate": results.gate.to_json(),
        "licenses": asdict(licenses),
    }
