"""Stage 7: report.html, one self-contained page that a person reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sdp.console import Reporter
from sdp.recipe.sections import Recipe
from sdp.report.page import render_page
from sdp.run_folder import RunFolder


def run(recipe: Recipe, run: RunFolder, target: Path, reporter: Reporter) -> dict[str, Any]:
    """Write the page."""
    page = render_page(recipe, run)
    (target / "report.html").write_text(page, encoding="utf-8")
    return {"bytes": len(page.encode())}
