"""What the report tells, gathered from the run folder's files, and the page made from it."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

import sdp
from sdp.gate import measured_on
from sdp.kernel_time import PART_NAMES, longest_cases
from sdp.recipe.sections import Recipe
from sdp.report import plots
from sdp.report.analysis_plot import pruning_analysis
from sdp.report.layer_table import layer_rows
from sdp.run_folder import STAGE_FILE, RunFolder, read_json

FLIPS_SHOWN = 20
STAGE_FOLDERS = ("1-finetune", "2-prune", "3-evaluate", "4-export", "5-bench", "6-gate")


def render_page(recipe: Recipe, run: RunFolder) -> str:
    """Make the page of a run whose stages are all done.

    Returns:
        HTML that needs no other file and no network.
    """
    read = {folder: _Files(run.stage(folder)) for folder in STAGE_FOLDERS}
    finetune, prune = read["1-finetune"].json("metrics.json"), read["2-prune"].json("metrics.json")
    evaluate, export = read["3-evaluate"].json("metrics.json"), read["4-export"].json("metrics.json")
    bench, gate = read["5-bench"].json("latency.json"), read["6-gate"].json("verdict.json")
    manifest = read["4-export"].json("manifest.json")
    # There is none where the recipe turns it off.
    analysis = read_json(run.stage("2-prune") / "analysis.json")
    # A benchmark on a GPU has none.
    profile = bench.get("profile")
    environment = Environment(
        loader=PackageLoader("sdp.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("template.html").render(
        recipe=recipe,
        version=sdp.__version__,
        metric=evaluate["metric"],
        finetune=finetune,
        prune=prune,
        evaluate=evaluate,
        export=export,
        bench=bench,
        gate=gate,
        manifest=manifest,
        lost=lost_sentence(evaluate, export),
        parts=size_by_part(manifest["tensors"]),
        flips=list(_flips(run.stage("3-evaluate") / "flips.csv")),
        seconds={folder: read[folder].json(STAGE_FILE)["seconds"] for folder in STAGE_FOLDERS},
        curve=plots.training_curve([("fine-tuning", finetune["log"]), ("pruning", prune["log"])], evaluate["metric"]),
        layers=plots.sparsity_by_layer(prune["layers"]),
        analysis=analysis,
        analysis_plot=pruning_analysis(analysis) if analysis else None,
        latency=plots.latency(bench["cases"]),
        profile=profile,
        part_names=_part_names(profile) if profile else {},
        layer_tables=[(case, layer_rows(profile, case)) for case in longest_cases(profile)] if profile else [],
    )


def _part_names(profile: dict[str, Any]) -> dict[str, str]:
    """The parts that take time in any case, with the names that a reader knows them by."""
    found = {part["part"] for case in profile["cases"] for part in case["parts"]}
    return {part: name for part, name in PART_NAMES.items() if part in found}


class _Files:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def json(self, name: str) -> dict[str, Any]:
        content = read_json(self._folder / name)
        if content is None:
            raise FileNotFoundError(f"{self._folder / name} is missing or damaged")
        return content


def lost_sentence(evaluate: dict[str, Any], export: dict[str, Any]) -> str:
    """Say in one sentence what the shipped file lost against the dense model, and how sure that is."""
    drop, metric = export["drop"], evaluate["metric"]
    dense, exported = export["models"]["dense"]["value"], export["models"]["exported"]["value"]
    spread = f"{drop['value']:.3f} (95 % interval {drop['low']:.3f} to {drop['high']:.3f})"
    if drop["low"] > 0:
        words = f"lost {spread}"
    elif drop["high"] < 0:
        words = f"gained {-drop['value']:.3f}"
    else:
        words = f"a difference of {spread}, which may be chance"
    where = f"{measured_on(export)}, {export['rows']:,} rows"
    return f"{metric} on {where}: {dense:.3f} dense, {exported:.3f} exported: {words}."


def size_by_part(tensors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the bytes of the exported file's tensors up by part: embeddings, encoder, rest."""
    from sdp.models.parts import part_of

    rows: dict[str, dict[str, Any]] = {}
    for tensor in tensors:
        name = part_of(tensor["name"])
        row = rows.setdefault(name, {"name": name, "bytes": 0, "elements": 0, "zeros": 0})
        elements = 1
        for size in tensor["shape"]:
            elements *= size
        row["bytes"] += tensor["bytes"]
        row["elements"] += elements
        row["zeros"] += tensor["zeros"]
    order = ("embeddings", "encoder", "rest")
    return [rows[name] for name in order if name in rows]


def _flips(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        for index, row in enumerate(csv.DictReader(stream)):
            if index == FLIPS_SHOWN:
                return
            yield row
