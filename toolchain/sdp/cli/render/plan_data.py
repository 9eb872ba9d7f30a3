"""The data of a plan as a person reads it: a line a split, and a line a class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from sdp.data.profile import DataProfile, SplitProfile

# Of long lists: the most frequent, then the rarest.
_FIRST, _LAST = 8, 4
_MOST_PARTS = 20


def data_tables(profile: DataProfile) -> Iterator[Table]:
    """Splits; then classes, where the task has some."""
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
    totals = [sum(split.classes.values()) for split in splits]
    train = splits[0].classes
    order = sorted(train, key=lambda label: -train[label])
    for label in _shortened(order):
        if label is None:
            table.add_row(f"... {len(order) - _FIRST - _LAST:,} more")
        else:
            shares = (_share(split.classes[label], total) for split, total in zip(splits, totals, strict=True))
            table.add_row(Text(label), *shares)
    return table


def _shortened(names: Sequence[str]) -> Iterator[str | None]:
    """The names, or the first and the last of very many, with None for those between."""
    if len(names) <= _FIRST + _LAST + 1:
        yield from names
        return
    yield from names[:_FIRST]
    yield None
    yield from names[-_LAST:]


def _share(count: int, whole: int) -> str:
    return f"{count:,} ({count / max(1, whole):.1%})" if count else "0"
