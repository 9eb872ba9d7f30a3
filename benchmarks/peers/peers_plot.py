"""The picture and the tables of peers.py, from its JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from peers_engines import ENGINES, OURS, ours

# Of ours, what is drawn: as many as the picture can hold.
DRAWN_OURS = (ours("fp32", 90), ours("int8", 0), ours("int8", 50), ours("int8", 80), ours("int8", 90), ours("int8", 95))
# Of the peers, which one ours in int8 are compared with beside the fastest.
COMPARED = "openvino-int8"

_COLORS = {"ort": "tab:gray", "openvino": "tab:blue", "deepsparse": "tab:orange", "ours": "tab:green"}
_STYLES = {0: ":", 50: "-.", 80: "--", 90: "-", 95: (0, (1, 1))}

Json = Mapping[str, Any]


def draw(results: Json, target: Path) -> None:
    """A panel for each batch size and number of threads: p50 by length, one line an engine."""
    import matplotlib as mpl

    mpl.use("Agg")
    # Text stays text, and the same JSON gives the same file.
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "peers"}
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter

    cells = [cell for cell in results["cells"] if isinstance(cell["length"], int)]
    batches = sorted({cell["batch"] for cell in cells})
    threads = sorted({cell["threads"] for cell in cells})
    figure, axes = plt.subplots(
        len(batches),
        len(threads),
        figsize=(5.6 * max(1, len(threads)), 4.2 * len(batches) + 1.5),
        squeeze=False,
        sharex=True,
        layout="constrained",
    )
    for row, batch in enumerate(batches):
        for column, count in enumerate(threads):
            axis = axes[row][column]
            here = _cells(results, batch, count)
            for name, engine in ENGINES.items():
                points = [(length, cell["engines"][name]["p50_ms"]) for length, cell in here if name in cell["engines"]]
                if points and (name not in OURS or name in DRAWN_OURS):
                    style = _STYLES[engine.weights.percent] if name in OURS else "-"
                    axis.plot(
                        *zip(*points, strict=True),
                        label=engine.title,
                        color="tab:olive" if name == ours("fp32", 90) else _COLORS[name.partition("-")[0]],
                        linestyle=style if name in OURS else ("--" if "int8" in name else "-"),
                        linewidth=2.2 if name in OURS else 1.3,
                        marker="o",
                        markersize=3,
                    )
            axis.set_xscale("log", base=2)
            axis.set_yscale("log")
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_formatter(NullFormatter())
            lengths = [length for length, _ in here]
            axis.set_xticks(lengths, [str(length) for length in lengths])
            axis.set_title(f"batch {batch}, {_threads(count)}")
            axis.grid(visible=True, which="major", alpha=0.3)
            if row == len(batches) - 1:
                axis.set_xlabel("tokens")
            if column == 0:
                axis.set_ylabel("p50, ms")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(3, 2 * len(threads)), fontsize="small")
    figure.suptitle(
        f"{results['model']['title']}\n{results['environment']['cpu']}, {results['date'][:10]}", fontsize=10
    )
    figure.savefig(target, metadata={"Date": None} if target.suffix == ".svg" else None)
    plt.close(figure)


def markdown(results: Json, batch: int = 1, threads: int = 2) -> str:
    """The p50s of one batch size, the ratios to ours, batches of texts of different lengths, sizes and limits."""
    cores = results["environment"]["logical_cores"]
    about = f"{results['model']['title']}. {results['environment']['cpu']}, {cores} cores; {results['date'][:10]}"
    blocks = [f"{about}; {_threads(threads)}."]
    here = _cells(results, batch, threads)
    mixed = [
        (f"{cell['batch']} x {cell['length']}", cell)
        for cell in results["cells"]
        if not isinstance(cell["length"], int) and cell["threads"] == threads
    ]
    if here:
        columns = [(f"{length} tokens", cell) for length, cell in here]
        blocks += [f"p50 in ms, batch {batch}:", _times(columns), _faster(columns)]
        blocks.append(_distances(columns))
    if mixed:
        blocks += ["p50 in ms of a batch of texts of different lengths (in how many calls):", _times(mixed, calls=True)]
        blocks.append(_faster(mixed))
    blocks += [_sizes(results, here), _limits(results), *_profiles(results), *_missing(results)]
    return "\n\n".join(block for block in blocks if block)


def _cells(results: Json, batch: int, threads: int) -> list[tuple[int, Json]]:
    """The cells of texts of one length, by length."""
    cells = (cell for cell in results["cells"] if isinstance(cell["length"], int))
    found = [(cell["length"], cell) for cell in cells if (cell["batch"], cell["threads"]) == (batch, threads)]
    return sorted(found, key=lambda pair: pair[0])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _times(columns: Sequence[tuple[str, Json]], *, calls: bool = False) -> str:
    rows = []
    for name, engine in ENGINES.items():
        found = [cell["engines"].get(name) for _, cell in columns]
        if any(found):
            texts = (
                "—" if one is None else f"{one['p50_ms']:.2f}{' ({})'.format(one['calls']) if calls else ''}"
                for one in found
            )
            rows.append([engine.title, *texts])
    return table(["engine", *(head for head, _ in columns)], rows)


def _faster(columns: Sequence[tuple[str, Json]]) -> str:
    """How many times as long as each of ours the fastest peer takes, and the one that int8 is compared with."""
    rows = []
    for name in OURS:
        for peer in (None, COMPARED) if "int8" in name else (None,):
            texts = [_ratio(cell, name, peer) for _, cell in columns]
            if any(text != "—" for text in texts):
                against = "the fastest peer" if peer is None else ENGINES[peer].title
                rows.append([ENGINES[name].title, against, *texts])
    return table(["ours", "faster than", *(head for head, _ in columns)], rows) if rows else ""


def _ratio(cell: Json, name: str, peer: str | None) -> str:
    ratios = {other: ratio for other, ratio in cell["ratios"].get(name, {}).items() if other not in OURS}
    if peer is None and ratios:
        peer = min(ratios, key=lambda other: float(ratios[other]["value"]))
        return f"{interval(ratios[peer])} ({peer})"
    return "—" if peer not in ratios else interval(ratios[peer])


def interval(ratio: Json) -> str:
    """Return a ratio with its interval."""
    return f"{ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"


def _sizes(results: Json, cells: Sequence[tuple[int, Json]]) -> str:
    if not cells:
        return ""
    length, cell = min(cells, key=lambda pair: abs(pair[0] - 128))
    rows = []
    for name, measured in cell["engines"].items():
        size = results["engines"][name]["encoder_bytes"] / 1e6
        memory = (measured["peak_memory"] or 0) / 1e6
        error = f"{measured['relative_error']:.1g}"
        load = f"{measured['load_seconds']:.1f}"
        rows.append([ENGINES[name].title, f"{size:.0f}", load, f"{memory:.0f}", error, measured["version"]])
    head = ["engine", "encoder, MB", "load, s", f"peak memory at {length} tokens, MB", "logits' error", "version"]
    return table(head, rows)


def _limits(results: Json) -> str:
    rows = [
        [
            str(limit["threads"]),
            limit["instruction_set"],
            *(f"{limit[key]:.0f}" for key in ("fp32_gflops", "int8_gops", "memory_gb_per_second")),
        ]
        for limit in results["limits"]
    ]
    return table(["threads", "kernels", "fp32 peak, GFLOP/s", "int8 peak, GOP/s", "memory, GB/s"], rows)


def _profiles(results: Json) -> Iterator[str]:
    """What share of the time each part of ours takes, and of the peak its products reach."""
    rows = []
    for name, profiles in results.get("profiles", {}).items():
        for profile in profiles:
            parts = sorted(profile["parts"], key=lambda part: -float(part["share"]))
            spent = ", ".join(f"{part['part']} {part['share']:.0%}" for part in parts)
            peak = ", ".join(f"{part} {share:.0%}" for part, share in profile["of_peak"].items())
            rows.append([ENGINES[name].title, profile["case"], str(profile["threads"]), spent, peak])
    if rows:
        yield table(["ours", "tokens", "threads", "share of the time", "products, of the peak"], rows)


def _missing(results: Json) -> Iterator[str]:
    for name, reason in results["skipped"].items():
        yield f"Not run: {ENGINES[name].title}: {reason}"
    for cell in results["cells"]:
        for name, reason in cell["failed"].items():
            where = f"batch {cell['batch']}, {cell['length']}, {_threads(cell['threads'])}"
            yield f"Failed: {ENGINES[name].title}, {where}: {reason.splitlines()[-1]}"


def _distances(columns: Sequence[tuple[str, Json]]) -> str:
    """See peers_cores.py."""
    ranges = []
    for head, cell in columns:
        known = [value for value in cell["core_round_trips_ns"] if value is not None]
        ranges.append(f"{head} {min(known):.0f} to {max(known):.0f}" if known else f"{head} unknown")
    return f"Round trip between the two cores, ns: {'; '.join(ranges)}."


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"
