"""Render the page: its sections in order, in template.html with the macros of macros.html."""

from __future__ import annotations

from types import ModuleType

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import sdp
from sdp.pipeline.artifacts.verdict import GateVerdict
from sdp.pipeline.run_folder import RunFolder
from sdp.recipe.sections import Recipe
from sdp.report.section import ReportSection, RunFiles
from sdp.report.sections import (
    allocation,
    cost,
    flips,
    loss,
    network,
    origin,
    size,
    speed,
    training,
    units,
    verdict,
    vocabulary,
)
from sdp.report.tables import number_text, p_text, spread_text
from sdp_onnx.bench.interval import Interval

# The order of the page: verdict, cost, gain, origin.
SECTIONS: tuple[ModuleType, ...] = (
    verdict,
    cost,
    loss,
    flips,
    size,
    vocabulary,
    speed,
    allocation,
    units,
    network,
    training,
    origin,
)


def render_page(recipe: Recipe, run: RunFolder) -> str:
    """Render the page of a finished run.

    Raises:
        RunError: a file of the run is missing, damaged, or another version's.

    Returns:
        HTML that needs no other file and no network.
    """
    files = RunFiles(recipe, run)
    environment = page_environment()
    made = [found for module in SECTIONS if (found := module.section(files)) is not None]
    return environment.get_template("template.html").render(
        recipe=recipe,
        version=sdp.__version__,
        verdict=GateVerdict.load(run).verdict,
        sections=[(section.title, render_section(environment, section)) for section in made],
    )


def page_environment() -> Environment:
    """Return the templates with their filters."""
    environment = Environment(
        loader=PackageLoader("sdp.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"thousands": "{:,}".format, "megabytes": _megabytes, "share": _share}
    environment.tests["interval"] = lambda score: isinstance(score, Interval)
    environment.filters |= {"digits": number_text, "spread": spread_text, "p_value": p_text}
    return environment


def render_section(environment: Environment, section: ReportSection) -> Markup:
    """Render one section, without its heading."""
    return Markup(environment.get_template(section.template).render(section.values))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}\N{NO-BREAK SPACE}MB" if size >= 1e6 else f"{size / 1e3:,.1f}\N{NO-BREAK SPACE}kB"


def _share(value: float, places: int = 0) -> str:
    return f"{100 * value:.{places}f}\N{NO-BREAK SPACE}%"
