"""Hostile data files, read as a stage reads them, counted as the plan does, and tokenized as training does."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from hostile_folders import Project
from hostile_judge import QuietError
from hostile_values import damaged_bytes, text, value

Use = Callable[[], object]
LABELS = ("pos", "neg")
# The decompressed size of a gzip or parquet file: more than sdp's limit.
BOMB_BYTES = 2 * 10**9


def data_case(random: Random, folder: Path, project: Project) -> Use:
    """A hostile train file beside a sound dev file, or the other way round; or a folder of one in hub form."""
    suffix = random.choice([".csv", ".tsv", ".jsonl", ".jsonl", ".parquet"])
    content = WRITERS[suffix](random)
    if random.random() < 0.4:
        content = damaged_bytes(random, content)
    if random.random() < 0.25:
        suffix, content = f"{suffix}.gz", _gzipped(random, content)
    files = {"train": project.path / "train.tsv", "dev": project.path / "dev.tsv"}
    changed = random.choice(["train", "dev"])
    files[changed] = folder / f"data{suffix}"
    files[changed].write_bytes(content)
    named: dict[str, str] = {split: str(path) for split, path in files.items()}
    if random.random() < 0.3:
        (folder / "README.md").write_bytes(_readme(random, files[changed].name))
        named = {"dataset": str(folder), "train": "one", "dev": "two"}
    overrides = [f"data.{key}={json.dumps(name)}" for key, name in named.items()]
    if random.random() < 0.2:
        overrides.append('task.type="regression"')
        overrides.append('task.metric="pearson"')
    elif random.random() < 0.1:
        overrides.append('task.type="tagging"')
        overrides.append('task.metric="accuracy"')
    return lambda: _read(project, overrides, files[changed])


def _read(project: Project, overrides: list[str], changed: Path) -> None:
    from sdp.data.batches import TokenizedSplit, tokenize
    from sdp.data.files import count_data_rows
    from sdp.data.load import load_task_data
    from sdp.models.tokenizer import load_tokenizer
    from sdp.recipe.load import load_recipe

    recipe = load_recipe(project.path / "toy.toml", overrides)
    data = load_task_data(recipe)
    split = data.dev if changed == Path(str(recipe.data.dev)) else data.train
    if count_data_rows(changed) != len(split):
        raise QuietError(f"the plan counts {count_data_rows(changed)} rows, and {len(split)} are read")
    for texts in split.texts:
        for part in texts:
            part.encode("utf-8")
    tokenizer = load_tokenizer(project.run / "1-finetune")
    if split.tags is not None:
        rows = TokenizedSplit.of_words(split, tokenizer, 32).rows
    else:
        rows = tokenize(split.texts, tokenizer, 32)
    if len(rows) != len(split) or any(not row["input_ids"] or len(row["input_ids"]) > 32 for row in rows):
        raise QuietError("rows without tokens, or with too many")


def _readme(random: Random, name: str) -> bytes:
    """That of a folder in hub form, whose two splits are one file."""
    splits = [f"  - split: {split}\n    path: {name}" for split in ("one", "two")]
    content = "\n".join(["---", "configs:", "- config_name: default", "  data_files:", *splits, "---", ""]).encode()
    return damaged_bytes(random, content) if random.random() < 0.2 else content


def _rows(random: Random) -> list[tuple[Any, Any]]:
    """Sentences and labels, some of them hostile."""
    rows: list[tuple[Any, Any]] = []
    odd = random.random() < 0.5
    for index in range(random.choice([0, 1, 2, 8, 30])):
        cell = text(random) if random.random() < 0.5 else "the film was good"
        label: Any = LABELS[index % 2] if random.random() < 0.98 else text(random)[:40]
        if odd and random.random() < 0.03:
            cell, label = value(random), value(random)
        rows.append((cell, label))
    return rows


def _header(random: Random) -> list[str]:
    names = ["sentence", "label"]
    kind = random.randrange(12)
    if kind == 0:
        names.append(random.choice(names))
    elif kind == 1:
        names = [text(random)[:30], *names]
    elif kind == 2:
        names.reverse()
    elif kind == 3:
        names = names[:1]
    return names


def _separated(random: Random, separator: str) -> bytes:
    out = io.StringIO(newline="")
    names = _header(random)
    rows = [[cell if name == "sentence" else label for name in names] for cell, label in _rows(random)]
    if separator == "," and random.random() < 0.8:
        writer = csv.writer(out, lineterminator=random.choice(["\n", "\r\n", "\r"]))
        writer.writerows([names, *rows])
    else:
        # Without quotes: separators and line ends inside a text are damage.
        end = random.choice(["\n", "\n", "\r\n", "\r"])
        out.write(end.join(separator.join(map(str, row)) for row in [names, *rows]) + end)
    return out.getvalue().encode("utf-8", "surrogatepass")


def _jsonl(random: Random) -> bytes:
    names = _header(random)
    lines = []
    for cell, label in _rows(random):
        record = {name: cell if name == "sentence" else label for name in names}
        if random.random() < 0.02:
            record[text(random)[:20]] = value(random)
        lines.append(json.dumps(record, ensure_ascii=random.random() < 0.7))
    if random.random() < 0.1:
        lines.insert(
            random.randrange(len(lines) + 1), random.choice(["[" * 100_000, "{" * 5000, "1" * 5000, "[]", "null"])
        )
    end = random.choice(["\n", "\r\n", "\n\n"])
    return (end.join(lines) + end).encode("utf-8", "surrogatepass")


def _parquet(random: Random) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = _rows(random)
    kind = random.randrange(8)
    cell: Any = [row[0] if isinstance(row[0], str) else None for row in rows]
    if kind == 0:
        # A few kilobytes that stand for hundreds of megabytes of text.
        cell = pa.repeat("x" * 1000, 200_000)
    elif kind == 1:
        cell = [[part] for part in cell]
    elif kind == 2:
        cell = [part.encode("utf-8", "surrogatepass") if part is not None else b"\xff" for part in cell]
    elif kind == 3:
        cell = [index for index, _ in enumerate(rows)]
    if isinstance(cell, list):
        cell = pa.array([_without_surrogates(part) for part in cell])
    labels = pa.array([LABELS[index % 2] for index in range(len(cell))])
    table = pa.Table.from_arrays([cell, labels], names=["sentence", "label"])
    out = io.BytesIO()
    pq.write_table(table, out, compression=random.choice(["snappy", "zstd", "none"]))
    return out.getvalue()


def _without_surrogates(part: Any) -> Any:
    if isinstance(part, list):
        return [_without_surrogates(inner) for inner in part]
    return part.encode("utf-8", "replace").decode() if isinstance(part, str) else part


def _gzipped(random: Random, content: bytes) -> bytes:
    kind = random.randrange(8)
    if kind == 0:
        block = gzip.compress(bytes(10**7))
        return gzip.compress(content) + block * (BOMB_BYTES // 10**7)
    packed = gzip.compress(content)
    if kind == 1:
        return gzip.compress(packed)
    if kind == 2:
        return packed[: len(packed) // 2]
    if kind == 3:
        return damaged_bytes(random, packed)
    if kind == 4:
        return packed + b"garbage"
    return packed


WRITERS: dict[str, Callable[[Random], bytes]] = {
    ".csv": lambda random: _separated(random, ","),
    ".tsv": lambda random: _separated(random, "\t"),
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
