"""The picture and the table of peers.py, from its JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peers_engines import ENGINES, OURS

TABLE_LENGTHS = (32, 128, 384)

_COLORS = {"ort": "tab:gray", "openvino": "tab:blue", "deepsparse": "tab:orange", "ours": "tab:green"}


def draw(results: dict[str, Any], target: Path) -> None:
    """A panel for each batch size and number of threads: p50 by length, one line an engine."""
    import matplotlib as mpl

    mpl.use("Agg")
    # Text stays text, and the same JSON gives the same file.
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "peers"}
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter

    cells = results["cells"]
    batches = sorted({cell["batch"] for cell in cells})
    threads = sorted({cell["threads"] for cell in cells})
    figure, axes = plt.subplots(
        len(batches),
        len(threads),
        figsize=(5.6 * max(1, len(threads)), 4.2 * len(batches) + 1),
        squeeze=False,
        sharex=True,
        layout="constrained",
    )
    for row, batch in enumerate(batches):
        for column, count in enumerate(threads):
            axis = axes[row][column]
            here = sorted(
                (cell for cell in cells if (cell["batch"], cell["threads"]) == (batch, count)),
                key=lambda cell: int(cell["length"]),
            )
            for name, engine in ENGINES.items():
                points = [(cell["length"], cell["engines"][name]["p50_ms"]) for cell in here if name in cell["engines"]]
                if points:
                    axis.plot(
                        *zip(*points, strict=True),
                        label=engine.title,
                        color=_COLORS[name.partition("-")[0]],
                        linestyle="--" if engine.pruning == "1x4" else "-",
                        linewidth=2.5 if name in OURS else 1.3,
                        marker="o",
                        markersize=3,
                    )
            axis.set_xscale("log", base=2)
            axis.set_yscale("log")
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_formatter(NullFormatter())
            lengths = [cell["length"] for cell in here]
            axis.set_xticks(lengths, [str(length) for length in lengths])
            axis.set_title(f"batch {batch}, {count} thread{'s' if count > 1 else ''}")
            axis.grid(visible=True, which="major", alpha=0.3)
            if row == len(batches) - 1:
                axis.set_xlabel("tokens")
            if column == 0:
                axis.set_ylabel("p50, ms")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, 2 * len(threads)), fontsize="small")
    figure.suptitle(
        f"{results['model']['title']}\n{results['environment']['cpu']}, {results['date'][:10]}", fontsize=10
    )
    figure.savefig(target, metadata={"Date": None} if target.suffix == ".svg" else None)
    plt.close(figure)


def markdown(results: dict[str, Any], batch: int = 1, threads: int = 2) -> str:
    """The table of the p50s and of how many times as long each engine takes as ours, and one of sizes and memory."""
    cells = {
        cell["length"]: cell
        for cell in results["cells"]
        if cell["batch"] == batch and cell["threads"] == threads and cell["length"] in TABLE_LENGTHS
    }
    cores = results["environment"]["logical_cores"]
    lines = [
        f"{results['model']['title']}. {results['environment']['cpu']}, {cores} cores; {results['date'][:10]}; "
        f"batch {batch}, {threads} threads.",
        "",
        "| tokens | engine | p50, ms | ours fp32 is faster by | ours int8 is faster by | logits' error |",
        "|---|---|---|---|---|---|",
    ]
    for length, cell in sorted(cells.items()):
        for name, engine in ENGINES.items():
            if name in cell["engines"]:
                measured = cell["engines"][name]
                ratios = " | ".join(_ratio(cell, ours, name) for ours in OURS)
                error = f"{measured['relative_error']:.1g}"
                lines.append(f"| {length} | {engine.title} | {measured['p50_ms']:.1f} | {ratios} | {error} |")
    if 128 in cells:
        lines += ["", "| engine | encoder, MB | load, s | peak memory, MB | version |", "|---|---|---|---|---|"]
        for name, measured in cells[128]["engines"].items():
            size = results["engines"][name]["encoder_bytes"] / 1e6
            memory = (measured["peak_memory"] or 0) / 1e6
            lines.append(
                f"| {ENGINES[name].title} | {size:.0f} | {measured['load_seconds']:.1f} | {memory:.0f} | "
                f"{measured['version']} |"
            )
    if cells:
        lines += ["", _distances(cells)]
    lines += [f"\nNot run: {ENGINES[name].title}: {reason}" for name, reason in results["skipped"].items()]
    for cell in results["cells"]:
        for name, reason in cell["failed"].items():
            where = f"batch {cell['batch']}, {cell['length']} tokens, {cell['threads']} threads"
            lines.append(f"\nFailed: {ENGINES[name].title}, {where}: {reason.splitlines()[-1]}")
    return "\n".join(lines)


def _distances(cells: dict[int, dict[str, Any]]) -> str:
    """See peers_cores.py."""
    ranges = []
    for length, cell in sorted(cells.items()):
        known = [value for value in cell["core_round_trips_ns"] if value is not None]
        ranges.append(f"{length} tokens {min(known):.0f} to {max(known):.0f}" if known else f"{length} tokens unknown")
    return f"Round trip between the two cores, ns: {'; '.join(ranges)}."


def _ratio(cell: dict[str, Any], ours: str, peer: str) -> str:
    ratio = cell["ratios"].get(ours, {}).get(peer)
    return f"{ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]" if ratio else "—"
