"""Stage 7: report.html, one self-contained page that a person reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import RunFolder
from sdp.recipe.sections import Recipe
from sdp.report.page import render_page


def run(recipe: Recipe, run: RunFolder, target: Path, reporter: Reporter) -> dict[str, Any]:
    """Write the page."""
    page = render_page(recipe, run)
    (target / "report.html").write_text(page, encoding="utf-8")
    return {"bytes": len(page.encode())}
