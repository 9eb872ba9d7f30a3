"""Stage 8: make the folder to ship, only when the gate passes.

Holds the exported files (hard links where the file system has them), README.md (a model card), golden.json (inputs and
the logits they give), manifest.json (hashes, recipe, versions, measurements, verdict, licences) and manifest.sha256.
The folder is verified before it appears.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import sdp
from sdp.cli.render.summary import run_results
from sdp.errors import StageError
from sdp.pipeline.context import StageContext
from sdp.pipeline.json_file import read_json
from sdp.pipeline.run_folder import STAGE_FILE, RunFolder
from sdp.recipe.sections import Recipe
from sdp.shipping.card import model_card, unknown_licenses
from sdp.shipping.files import take_exported
from sdp.shipping.golden import golden_cases
from sdp.shipping.licenses import Licenses, find_licenses
from sdp_onnx.deploy.golden import Golden, load_tokenizer, write_golden
from sdp_onnx.deploy.manifest import MANIFEST, seal_manifest, write_manifest
from sdp_onnx.deploy.tokenization import TextTokenizer
from sdp_onnx.deploy.verify_folder import MODEL_FILE, shipped_files, verify_folder
from sdp_onnx.operators.library import LIBRARY_NAME
from sdp_onnx.runtimes.registry import default_runtime

FORMAT = 1


def run(context: StageContext) -> dict[str, Any]:
    """Assemble the folder and verify it."""
    recipe, run, target = context.recipe, context.run, context.target
    exported, library = take_model(recipe, run, target)
    licenses, results = find_licenses(recipe), run_results(run)
    if unknown := unknown_licenses(licenses):
        context.reporter.line(f"  {unknown}: noted in the model card")
    card = model_card(
        recipe,
        results,
        licenses,
        operator_library=library,
        tolerance=recipe.export.allowed_error,
        oldest=exported["onnxruntime"],
        framed=bool(TextTokenizer.read(target).backend.encode("").ids),
    )
    (target / "README.md").write_text(card, encoding="utf-8")
    seal(target, _manifest(recipe, exported, results, licenses, library))
    names = shipped_files(target)
    return {"files": len(names), "bytes": sum((target / name).stat().st_size for name in names)}


def take_model(recipe: Recipe, run: RunFolder, target: Path) -> tuple[dict[str, Any], str | None]:
    """Place the exported files in the folder, with golden inputs and the file's logits for them.

    Returns:
        the export's manifest, and the name of the operator library where the file needs it.

    Raises:
        StageError: the export is damaged.
    """
    source = run.stage("4-export")
    record, exported, config = run.record("4-export"), read_json(source / MANIFEST), read_json(source / "config.json")
    if record is None or exported is None or config is None:
        raise StageError("the export is damaged", where=str(source), hint="Delete the folder and run again.")
    names = take_exported(source, target, record["outputs"])
    library = LIBRARY_NAME if LIBRARY_NAME in names else None
    write_golden(target, _golden(recipe, target, config, exported, library))
    return exported, library


def seal(target: Path, manifest: dict[str, Any]) -> None:
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


def _golden(
    recipe: Recipe, target: Path, config: dict[str, Any], exported: dict[str, Any], library: str | None
) -> Golden:
    model = default_runtime().load(
        target / MODEL_FILE, threads=recipe.runtime.threads, library=target / library if library else "none"
    )
    cases = golden_cases(
        model,
        load_tokenizer(target, exported["max_length"]),
        config,
        problem_type=recipe.task.problem_type,
        columns=exported["text_columns"],
        max_length=exported["max_length"],
    )
    return Golden(
        tolerance=recipe.export.allowed_error,
        max_length=exported["max_length"],
        words=recipe.task.problem_type == "tagging",
        cases=cases,
    )


def _manifest(
    recipe: Recipe, exported: dict[str, Any], results: dict[str, Any], licenses: Licenses, library: str | None
) -> dict[str, Any]:
    """Return the export's manifest with the results of later stages."""
    bench = results["bench"]
    measured = ("baseline_bytes", "candidate_bytes", "provider", "cases", "quiet", "environment")
    return {
        **{key: value for key, value in exported.items() if key != "files"},
        "format": FORMAT,
        "shipped_by": f"sdp {sdp.__version__}",
        "name": recipe.name,
        "operator_library": library,
        "metrics": results["export"],
        "sparsity": results["prune"]["sparsity"],
        "benchmark": {key: bench[key] for key in measured},
        "gate": results["gate"],
        "licenses": asdict(licenses),
    }
