"""Print the plan of a recipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from sdp.check.facts import Finding
from sdp.check.plan import TRAINING, Plan
from sdp.check.stage_times import shown_time
from sdp.data.profile import DataProfile, SplitProfile
from sdp.pipeline.progress import result_console
from sdp.pipeline.stages import stages_of

UP_TO_DATE = "up to date"


def print_plan(plan: Plan, recipe_file: Path, run_path: Path) -> None:
    """Print a plan on stdout."""
    console = result_console()
    console.print(f"{recipe_file} is valid; it runs in {run_path}", markup=False)
    for table in data_tables(plan.profile) if plan.profile is not None else ():
        console.print(table)
    console.print(_stage_table(plan))
    left = plan.time_left
    if left is not None and left[1] > 0:
        console.print(f"all that will run: {shown_time(*left)}{_source(plan)}", markup=False)
    if plan.parts is not None:
        console.print(_part_table(plan))
    if plan.head:
        console.print(plan.head, markup=False)
    for line in plan.unknown:
        console.print(f"not known yet: {line}", markup=False)
    for finding in plan.findings:
        console.print(_finding_line(finding))


def _finding_line(finding: Finding) -> Text:
    style = "bold yellow" if finding.kind == "warning" else "dim"
    line = Text.assemble((f"{finding.kind}: ", style), (finding.subject, "bold"), f": {finding.sentence}")
    return line.append(f". Try {finding.what_would}" if finding.what_would else "")


def _stage_table(plan: Plan) -> Table:
    table = Table(title="stages", title_justify="left")
    for header in ("stage", "state", "optimizer steps", "time"):
        table.add_column(header)
    states = {stage.name: "not known yet" for stage in stages_of(plan.recipe)}
    if plan.stages is not None:
        states = {
            status.stage.name: UP_TO_DATE if status.up_to_date else f"will run: {status.reason}"
            for status in plan.stages
        }
    for stage, state in states.items():
        steps = plan.steps.get(stage)
        time = shown_time(*plan.times[stage].range) if state != UP_TO_DATE and stage in plan.times else ""
        table.add_row(stage, state, f"{steps:,}" if steps is not None else "", time)
    return table


def _source(plan: Plan) -> str:
    """Return the source of the training estimate."""
    sources = {plan.times[name].source for name in TRAINING if name in plan.times}
    return ", from an earlier run" if sources == {"earlier run"} else ", roughly, from a short timing of this machine"


def _part_table(plan: Plan) -> Table:
    prune, export = plan.recipe.prune, plan.recipe.export
    layers = "" if prune.layers is None else f" in the first {prune.layers} layers"
    title = f"parameters and bytes at {prune.sparsity:.0%} encoder sparsity{layers}, encoding {export.encoding}"
    if plan.recipe.vocabulary is not None:
        title += f", a vocabulary of at most {plan.recipe.vocabulary.size:,} pieces"
    table = Table(title=title, title_justify="left")
    table.add_column("part")
    for header in ("parameters", "not zero after", "MB before", "MB after"):
        table.add_column(header, justify="right")
    parts = plan.parts or []
    for part in parts:
        sizes = [f"{size / 1e6:,.1f}" for size in (part.bytes_before, part.bytes_after)]
        table.add_row(part.name, f"{part.parameters:,}", f"{part.remaining:,}", *sizes)
    total_bytes = [f"{sum(getattr(part, key) for part in parts) / 1e6:,.1f}" for key in ("bytes_before", "bytes_after")]
    counts = [f"{sum(getattr(part, key) for part in parts):,}" for key in ("parameters", "remaining")]
    table.add_row("all", *counts, *total_bytes, style="bold")
    return table


# Long lists show the most frequent classes, then the rarest.
_FIRST, _LAST = 8, 4
_MOST_PARTS = 20


def data_tables(profile: DataProfile) -> Iterator[Table]:
    """Yield the table of splits, then the table of classes where the task has classes."""
    yield _split_table(profile)
    if profile.splits["train"].classes:
        yield _class_table(profile)


def _split_table(profile: DataProfile) -> Table:
    table = Table(title="data", title_justify="left")
    table.add_column("split")
    for header in ("rows", "longest text", "repeated", "also in train", "also in dev"):
        table.add_column(header, justify="right")
    numbers = any(split.numbers is not None for split in profile.splits.values())
    if numbers:
        table.add_column("labels", justify="right")
    for name, split in profile.splits.items():
        shared = {other: _share(overlap.rows, split.rows) for other, overlap in split.also_in.items()}
        longest = f"{split.longest:,} characters (row {split.longest_row:,})"
        cells = [f"{split.rows:,}", longest, f"{split.repeated:,}", shared.get("train", ""), shared.get("dev", "")]
        table.add_row(name, *cells, *([_range(split)] if numbers else []))
        for part, rows in list(split.parts.items())[:_MOST_PARTS]:
            table.add_row(Text(f"  {part}"), f"{rows:,}")
        if len(split.parts) > _MOST_PARTS:
            table.add_row(f"  and {len(split.parts) - _MOST_PARTS} more")
    return table


def _range(split: SplitProfile) -> str:
    if split.numbers is None:
        return ""
    low, mean, high = split.numbers
    lists = f", {split.lists:,} lists" if split.lists is not None else ""
    return f"{low:g} to {high:g}, mean {mean:.3g}{lists}"


def _class_table(profile: DataProfile) -> Table:
    table = Table(title="classes", title_justify="left")
    table.add_column("label")
    for name in profile.splits:
        table.add_column(name, justify="right")
    splits = list(profile.splits.values())
    train = splits[0].classes
    order = sorted(train, key=lambda label: -train[label])
    for label in _shortened(order):
        if label is None:
            table.add_row(f"... {len(order) - _FIRST - _LAST:,} more")
        else:
            table.add_row(Text(label), *(_share(split.classes[label], split.labelled) for split in splits))
    return table


def _shortened(names: Sequence[str]) -> Iterator[str | None]:
    """Yield the names; of a long list only the first and the last, with None between."""
    if len(names) <= _FIRST + _LAST + 1:
        yield from names
        return
    yield from names[:_FIRST]
    yield None
    yield from names[-_LAST:]


def _share(count: int, whole: int) -> str:
    return f"{count:,} ({count / max(1, whole):.1%})" if count else "0"
