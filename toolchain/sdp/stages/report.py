"""Stage 7: write report.html, one self-contained page."""

from __future__ import annotations

from sdp.pipeline.artifacts.record import StageResult
from sdp.pipeline.context import StageContext
from sdp.report.page import render_page


def run(context: StageContext) -> StageResult:
    """Write the page."""
    page = render_page(context.recipe, context.run)
    (context.target / "report.html").write_text(page, encoding="utf-8")
    return {"bytes": len(page.encode())}
