"""Stage 7: write report.html, one self-contained page."""

from __future__ import annotations

from typing import Any

from sdp.pipeline.context import StageContext
from sdp.report.page import render_page


def run(context: StageContext) -> dict[str, Any]:
    """Write the page."""
    page = render_page(context.recipe, context.run)
    (context.target / "report.html").write_text(page, encoding="utf-8")
    return {"bytes": len(page.encode())}
