"""A run as the quickstart's: docstrings for data. Every command that reads a run, and what is served.

The model is one of the awkward kind: DistilBERT with a BERT tokenizer, which gives token types that it does not take,
names no padding token, frames nothing, and cuts long texts on the left.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sdp.cli.main import app
from sdp.data.load import load_task_data
from sdp.recipe import load_recipe
from sdp_onnx.deploy.predictor import Predictor
from support.tokenizer_kinds import wordpiece
from support.toy import ONE_THREAD, save_tiny_model

RECIPE = """
name = "docs"
# It costs as much as all stages of so small a model, and has tests of its own.
runtime.preflight = false
model.name = "model"
task.type = "classification"
finetune.epochs = 1
prune.epochs = 1
prune.sparsity = 0.5
analysis.rows = 0
evaluate.resamples = 100
gate.max_size_ratio = 2.0
gate.min_metric = 0.0
gate.allow_constant_dense = true

[data]
max_length = 8
docstrings = { packages = ["jinja2", "rich"], train = 16, dev = 16, test = 40 }

[bench]
sequence_lengths = ["task"]
seconds = 0.05
starts = 1
threads = 1
"""


def invoke(*arguments: str | Path, text: bytes | None = None) -> Result:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], input=text)
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("docstrings")
    save_tiny_model(folder / "model", "distilbert", more_rows=100)
    wordpiece(folder / "model", frame=False, pad_token=None, truncation_side="left")
    (folder / "docs.toml").write_text(RECIPE)
    before = Path.cwd()
    os.chdir(folder)
    try:
        invoke("run", "docs.toml", "--quiet")
        yield folder
    finally:
        os.chdir(before)


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "docs.toml"),
        ("check", "runs/docs"),
        ("predict", "runs/docs", "Solve a linear system."),
        ("predict", "runs/docs/8-ship", "Solve a linear system.", "--json"),
        ("verify", "runs/docs"),
        ("verify", "runs/docs/8-ship", "--json"),
        ("inspect", "runs/docs/8-ship/model.onnx"),
        ("push", "runs/docs", "owner/name"),
        ("compare", "runs/docs", "--save", "main.json"),
        ("compare", "runs/docs", "runs/docs"),
        ("gate", "docs.toml", "--no-update"),
        ("report", "runs/docs"),
        ("study", "docs.toml", "--vary", "prune.sparsity=0.5,0.6", "--dry-run"),
        ("sweep", "docs.toml", "--sparsity", "0.5,0.6", "--dry-run"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_every_command_that_reads_a_run_reads_this_one(arguments: tuple[str, ...], project: Path) -> None:
    invoke(*arguments)


def test_what_is_served_is_what_was_scored(project: Path) -> None:
    data = load_task_data(load_recipe(project / "docs.toml"))
    assert data.test is not None
    served = [answer.label for answer in Predictor(project / "runs/docs/4-export").answers(data.test.texts)]
    right = [data.label_names[label] == found for label, found in zip(data.test.labels, served, strict=True)]
    metrics = json.loads((project / "runs/docs/4-export/metrics.json").read_text())
    assert sum(right) / len(right) == pytest.approx(metrics["models"]["exported"]["value"])
    shipped = json.loads((project / "runs/docs/8-ship/tokenizer.json").read_text())
    assert shipped["truncation"]["direction"] == "Left"
    config = json.loads((project / "runs/docs/8-ship/tokenizer_config.json").read_text())
    assert config["model_input_names"] == ["input_ids", "attention_mask"]


def test_predict_reads_lines_and_files_in_their_order(project: Path) -> None:
    texts = ["good film", "", "the story was a very dull plot with some music", "fine"] * 20
    expected = invoke("predict", "runs/docs", *texts).stdout
    assert len(expected.splitlines()) == len(texts)
    lines = "".join(f"{text}\r\n" for text in texts).encode("utf-8-sig")
    assert invoke("predict", "runs/docs", "-", text=lines).stdout == expected
    assert invoke("predict", "runs/docs", "-", text=lines.rstrip()).stdout == expected
    for name, content in (
        ("rows.csv", "id,text\n" + "".join(f'{place},"{text}"\n' for place, text in enumerate(texts))),
        ("rows.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in texts)),
    ):
        (project / name).write_text(content)
        assert invoke("predict", "runs/docs", "--file", name).stdout == expected
    answers = [
        json.loads(line) for line in invoke("predict", "runs/docs", "--file", "rows.csv", "--json").stdout.splitlines()
    ]
    assert [f"{answer['label']}\t{answer['probability']:.4f}" for answer in answers] == expected.splitlines()


@pytest.mark.parametrize(
    ("arguments", "text", "message"),
    [
        ((), b"", "one source of texts"),
        (("a", "--file", "rows.csv"), b"", "one source of texts"),
        (("a", "--column", "text"), b"", "one source of texts"),
        (("-",), b"good\nb\xff\n", "stdin, line 2: not UTF-8"),
        (("--file", "other.csv"), b"", "--column NAME"),
        (
            ("--file", "other.csv", "--column", "b", "--column", "a"),
            b"",
            "columns (text), and 2 are named",
        ),
    ],
)
def test_what_cannot_be_predicted_for_is_named(
    arguments: tuple[str, ...], text: bytes, message: str, project: Path
) -> None:
    (project / "other.csv").write_text("a,b\ngood,film\n")
    done = CliRunner().invoke(app, ["predict", "runs/docs", *arguments], input=text)
    assert done.exit_code == 2
    assert message in done.output
    if "--column NAME" in message:
        assert invoke("predict", "runs/docs", "--file", "other.csv", "--column", "a").stdout


def test_a_reader_that_has_seen_enough_is_no_error(project: Path) -> None:
    """Answers come while lines are still written, and without torch."""
    blocked = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None; from sdp.__main__ import main; main()"
    )
    command = [sys.executable, "-c", blocked, "predict", "runs/docs", "-"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, cwd=project, env=ONE_THREAD, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"good film\n")
        process.stdin.flush()
        assert process.stdout.readline().split(b"\t")[0] in (b"jinja2", b"rich")
        process.stdout.close()
        process.stdin.write(b"dull\n" * 3)
        process.stdin.close()
        assert process.stderr.read() == b""


def test_the_cards_example_without_a_frame(project: Path) -> None:
    card = (project / "runs/docs/8-ship/README.md").read_text()
    assert "Leave out texts that give no token" in card
