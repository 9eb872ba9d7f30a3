"""The table of the picture, and the picture itself: score against time, from the JSON of picture.py."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter

from sdp.report.style import ACCENT, COLOURS, DENSE, PRUNED, STYLE, svg_file

TITLES = {
    "dense": "sdp int8, dense",
    "1x4": "sdp int8, zeros in 1x4 blocks",
    "unstructured": "sdp fp32, unstructured zeros",
    "structured, fp32": "fewer heads and neurons, fp32",
    "structured, int8": "fewer heads and neurons, sdp int8",
    "structured and 1x4": "fewer heads and neurons, 1x4 blocks, sdp int8",
    "fewer layers, int8": "fewer layers, dense, sdp int8",
    "fewer layers, fp32": "fewer layers, dense, fp32",
    "fewer layers and 1x4": "fewer layers, 1x4 blocks, sdp int8",
    "peer": "the dense model in other engines",
    "structured in other engines": "fewer heads and neurons in other engines",
}
# Colour, marker, and style of the line; peers have none.
LOOKS: dict[str, dict[str, Any]] = {
    "dense": {"color": PRUNED, "marker": "D", "linestyle": "none"},
    "1x4": {"color": PRUNED, "marker": "o", "linestyle": "-"},
    "unstructured": {"color": ACCENT, "marker": "o", "linestyle": "-"},
    "structured, fp32": {"color": COLOURS[3], "marker": "p", "linestyle": "--"},
    "structured, int8": {"color": COLOURS[3], "marker": "P", "linestyle": "--"},
    "structured and 1x4": {"color": COLOURS[4], "marker": "X", "linestyle": "none"},
    "fewer layers, int8": {"color": COLOURS[2], "marker": "^", "linestyle": ":"},
    "fewer layers, fp32": {"color": DENSE, "marker": "v", "linestyle": ":"},
    "fewer layers and 1x4": {"color": COLOURS[5], "marker": "X", "linestyle": "none"},
    "peer": {"color": "#333333", "marker": "s", "linestyle": "none"},
    "structured in other engines": {"color": "#777777", "marker": "s", "linestyle": "none"},
}
# Where a point's name stands beside its mark, in points: names of neighbouring families lie on other sides.
PLACES: dict[str, dict[str, Any]] = {
    "dense": {"xytext": (0, -12), "ha": "center"},
    "1x4": {"xytext": (-5, 4), "ha": "right"},
    "unstructured": {"xytext": (5, -10), "ha": "left"},
    "structured, fp32": {"xytext": (6, 4), "ha": "left"},
    "structured, int8": {"xytext": (-6, 5), "ha": "right"},
    "structured and 1x4": {"xytext": (-6, -10), "ha": "right"},
    "fewer layers, int8": {"xytext": (-6, -9), "ha": "right"},
    "fewer layers, fp32": {"xytext": (6, -3), "ha": "left"},
    "fewer layers and 1x4": {"xytext": (0, 7), "ha": "center"},
    "peer": {"xytext": (0, 7), "ha": "center"},
    "structured in other engines": {"xytext": (0, -12), "ha": "center"},
}


def places(content: dict[str, Any]) -> list[str]:
    """Where files are scored: the split, or English and the mean of the other languages."""
    return list(content["entries"][0]["scores"])


def markdown(content: dict[str, Any]) -> str:
    """A line for each file, the slowest first."""
    environment, where = content["environment"], places(content)
    noise = "" if content["quiet"] else "; the machine was not quiet"
    lines = [
        f"{content['task']}, {content['model']}: {content['metric']}, 95 % interval; p50 of one text at the task's "
        f"lengths, {content['threads']} threads. {environment['cpu']}, {environment['logical_cores']} cores, "
        f"{content['date'][:10]}{noise}.",
        "",
        f"| file | p50, ms | faster than onnxruntime fp32 by | {' | '.join(where)} | MB |",
        f"|---|---|---|{'---|' * len(where)}---|",
    ]
    for entry in sorted(content["entries"], key=lambda entry: -float(entry["p50_ms"])):
        speedup, scores = entry["speedup"], " | ".join(_score(entry["scores"][place]) for place in where)
        ratio = f"{speedup['value']:.2f} [{speedup['low']:.2f}, {speedup['high']:.2f}]"
        lines.append(f"| {name(entry)} | {entry['p50_ms']:.2f} | {ratio} | {scores} | {entry['bytes'] / 1e6:.0f} |")
    return "\n".join(lines)


def name(entry: dict[str, Any]) -> str:
    """What a file is, in full."""
    if entry["family"] in ("peer", "dense"):
        return str(entry["title"]) if entry["family"] == "peer" else f"sdp {entry['title']}"
    return f"{TITLES[entry['family']]}: {entry['title']}"


def _score(score: dict[str, Any]) -> str:
    if score["value"] is None:
        return "undefined"
    return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"


def draw(content: dict[str, Any]) -> str:
    """The picture as an SVG file: a panel for each place of scores; the line of a family joins its points by time."""
    where = places(content)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.2 if len(where) == 1 else 12.6, 5.0), layout="constrained")
        panels = figure.subplots(1, len(where), squeeze=False)[0]
        for axes, place in zip(panels, where, strict=True):
            _panel(axes, content, place)
            axes.set_ylabel(f"{content['metric']}, {place}")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=1 + len(where), fontsize=9)
        cpu, threads = content["environment"]["cpu"], content["threads"]
        figure.suptitle(f"{content['task']}: better is up and left. {cpu}, {content['date'][:10]}", fontsize=9)
        for axes in panels:
            axes.set_xlabel(f"p50 of one text, ms, {threads} threads")
        return svg_file(figure, f"{content['metric']} on {content['task']} against milliseconds for one text")


def _panel(axes: Axes, content: dict[str, Any], place: str) -> None:
    order = list(TITLES)
    known = [entry for entry in content["entries"] if entry["scores"][place]["value"] is not None]
    known.sort(key=lambda entry: (order.index(entry["family"]), entry["p50_ms"]))
    for family, members in groupby(known, key=lambda entry: str(entry["family"])):
        points = [(entry["p50_ms"], entry["scores"][place]["value"], entry["title"]) for entry in members]
        times, scores, _ = zip(*points, strict=True)
        axes.plot(times, scores, label=TITLES[family], markersize=6, linewidth=1.4, **LOOKS[family])
        for index, (time, score, title) in enumerate(points):
            place_of_name = dict(PLACES[family])
            # Peers stand side by side, and their names are long.
            if family == "peer" and index % 2:
                place_of_name["xytext"] = (0, 18)
            color = LOOKS[family]["color"]
            axes.annotate(title, (time, score), textcoords="offset points", fontsize=8, color=color, **place_of_name)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    axes.grid(visible=True, which="major", alpha=0.25)
    # Names stand beside the marks.
    axes.margins(x=0.18, y=0.1)
