"""[vocabulary] in the pipeline, by the command line: everything after it has the small vocabulary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from tokenizers import Tokenizer
from typer.testing import CliRunner, Result

from sdp.cli.main import app
from sdp.pipeline.artifacts.results import read_results
from sdp.pipeline.run_folder import RunFolder
from sdp.recipe import load_recipe
from sdp.report.page import page_environment, render_section
from sdp.report.section import RunFiles
from sdp.report.sections import vocabulary
from sdp.report.summary import summary_lines, summary_rows
from support.toy import toy_rows, write_project

SIZE = 300
SHORT = ["--set", "finetune.epochs=1", "--set", "prune.epochs=1"]


def invoke(*arguments: str | Path, code: int = 0) -> Result:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == code, f"{done.output}\n{done.exception!r}"
    return done


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, unigram_model: Path, lines: list[str]) -> Path:
    folder = tmp_path_factory.mktemp("project")
    path = write_project(folder, unigram_model, f'\n[vocabulary]\nsize = {SIZE}\ncorpus = ["texts/*.txt"]\n')
    (folder / "texts").mkdir()
    text = [*lines[:200], *(text for text, _ in toy_rows(100, seed=5))]
    (folder / "texts/a.txt").write_text("\n".join(text))
    return path


@pytest.fixture(scope="module")
def run(recipe: Path) -> Path:
    return recipe.parent / "run"


@pytest.fixture(scope="module")
def exported(recipe: Path, run: Path) -> Path:
    invoke("export", recipe, "--run-dir", run, *SHORT, "--quiet")
    return run


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def stale(recipe: Path, run: Path, *options: str) -> dict[str, str]:
    plan = json.loads(invoke("check", recipe, "--run-dir", run, *SHORT, *options, "--json").stdout)
    return {stage["stage"]: stage["reason"] for stage in plan["stages"] if not stage["up_to_date"]}


def rows_of(folder: Path) -> int:
    with safe_open(folder / "model.safetensors", framework="np") as weights:
        (name,) = (name for name in weights.keys() if name.endswith("word_embeddings.weight"))  # noqa: SIM118
        rows: int = weights.get_slice(name).get_shape()[0]
    return rows


def test_the_plan_and_the_command(recipe: Path, unigram_model: Path, tmp_path: Path) -> None:
    whole = rows_of(unigram_model)
    plan = json.loads(invoke("check", recipe, "--run-dir", tmp_path / "run", "--json").stdout)
    assert plan["stages"][0]["stage"] == "vocabulary"
    embeddings = plan["parts"][0]
    assert embeddings["parameters"] - embeddings["remaining"] == (whole - SIZE) * 16
    assert (embeddings["bytes_before"], embeddings["bytes_after"]) == (
        embeddings["parameters"] * 4,
        embeddings["remaining"] * 4,
    )
    table = invoke("check", recipe, "--run-dir", tmp_path / "run").stdout
    assert f"a vocabulary of at most {SIZE} pieces" in table

    shown = invoke("vocabulary", recipe, "--run-dir", tmp_path / "run").stdout
    assert f"{SIZE} of {whole:,} pieces, on texts that were held out" in shown
    assert f"vocabulary: {SIZE} of {whole:,} pieces; of held-out words" in shown
    assert [path.name for path in (tmp_path / "run").glob("?-*")] == ["0-vocabulary"]
    again = invoke("vocabulary", recipe, "--run-dir", tmp_path / "run", "--json")
    assert "vocabulary up to date" in again.stderr
    assert json.loads(again.stdout)["vocabulary"] == read(tmp_path / "run/0-vocabulary/vocabulary.json")


def test_everything_after_it_is_small(exported: Path, unigram_model: Path) -> None:
    report = read(exported / "0-vocabulary/vocabulary.json")
    assert report["removed_bytes"] == (rows_of(unigram_model) - SIZE) * 16 * 4
    assert (report["pieces_after"], report["counted_texts"] + report["held_out_texts"]) == (SIZE, 300)
    pieces = Tokenizer.from_file(str(exported / "0-vocabulary/tokenizer.json")).get_vocab()
    assert len(pieces) == SIZE
    for stage in ("1-finetune", "2-prune", "4-export"):
        assert Tokenizer.from_file(str(exported / stage / "tokenizer.json")).get_vocab() == pieces
        assert read(exported / stage / "config.json")["vocab_size"] == SIZE
    assert [rows_of(exported / stage) for stage in ("0-vocabulary", "1-finetune", "2-prune")] == [SIZE] * 3
    manifest = read(exported / "4-export/manifest.json")
    (table,) = (tensor for tensor in manifest["tensors"] if tensor["shape"] == [SIZE, 16])
    assert table["bytes"] == SIZE * 16 * 4
    assert manifest["inputs"]["vocabulary"]["model.safetensors"]
    assert read(exported / "4-export/metrics.json")["torch"]["max_relative_error"] < 1e-4
    output = invoke("predict", exported, "the film was superb", "--json").stdout
    assert json.loads(output)["label"] in ("pos", "neg")


def test_the_report_shows_it(recipe: Path, exported: Path, unigram_model: Path) -> None:
    made = vocabulary.section(RunFiles(load_recipe(recipe), RunFolder(exported)))
    assert made is not None
    page = render_section(page_environment(), made)
    assert f"{SIZE} of {rows_of(unigram_model):,} pieces are kept" in page
    assert "pieces a word after" in page
    assert "What trimming costs" in page
    cost = read(exported / "3-evaluate/metrics.json")["vocabulary"]
    assert (cost["rows"], cost["metric"]) == (60, "accuracy")
    assert "of 60 rows are tokenised otherwise" in page
    (row,) = (row for row in summary_rows(read_results(RunFolder(exported))) if "full vocabulary" in row[0])
    assert row[1:] == [f"{cost['models']['full']['value']:.3f}", "", ""]
    assert any(line.startswith("trimming the vocabulary: accuracy") for line in summary_lines(RunFolder(exported)))


def test_what_makes_it_run_again(recipe: Path, exported: Path) -> None:
    assert set(stale(recipe, exported)) == {"bench", "gate", "report", "ship"}
    assert next(iter(stale(recipe, exported, "--set", "finetune.epochs=2"))) == "finetune"
    changed = stale(recipe, exported, "--set", "vocabulary.size=301")
    assert next(iter(changed.items())) == ("vocabulary", f"vocabulary.size changed: {SIZE} -> 301")
    assert changed["finetune"] == "depends on vocabulary"
    text = recipe.parent / "texts/a.txt"
    before = text.read_bytes()
    text.write_bytes(before + b"one more\n")
    assert stale(recipe, exported)["vocabulary"] == "corpus.a.txt changed"
    (recipe.parent / "texts/b.txt").write_text("more")
    assert stale(recipe, exported)["vocabulary"].startswith("corpus.")
    (recipe.parent / "texts/b.txt").unlink()
    text.write_bytes(before)
    assert "vocabulary" not in stale(recipe, exported)


def test_without_the_section_it_is_no_stage(recipe: Path, tmp_path: Path) -> None:
    plain = recipe.parent / "plain.toml"
    plain.write_text(recipe.read_text().partition("[vocabulary]")[0])
    plan = json.loads(invoke("check", plain, "--run-dir", tmp_path / "run", "--json").stdout)
    assert "vocabulary" not in [stage["stage"] for stage in plan["stages"]]
    message = invoke("vocabulary", plain, "--run-dir", tmp_path / "run", code=2).stderr
    assert "the recipe has no [vocabulary]" in message
    assert "--set vocabulary.size=" in message
    # What an earlier version of the recipe trimmed goes, and the whole vocabulary is fine-tuned.
    with_it = ["--run-dir", str(tmp_path / "run"), *SHORT, "--quiet"]
    invoke("vocabulary", plain, *with_it, "--set", "vocabulary.size=400")
    assert (tmp_path / "run/0-vocabulary").is_dir()
    invoke("finetune", plain, *with_it)
    assert not (tmp_path / "run/0-vocabulary").exists()
    assert rows_of(tmp_path / "run/1-finetune") > 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["vocabulary.size=20"], "20 pieces have no room for"),
        (['vocabulary.corpus=["nowhere/*.txt"]'], "no such file of text"),
        (['vocabulary.languages=["en"]'], 'no name holds "{language}"'),
        (["vocabulary.size=0"], "greater than 0"),
        (["vocabulary.size=20", 'vocabulary.corpora=["x"]'], 'did you mean "corpus"'),
        (["vocabulary.held_out=1.0"], "less than 1"),
    ],
)
def test_mistakes(recipe: Path, tmp_path: Path, options: list[str], message: str) -> None:
    given = [part for option in options for part in ("--set", option)]
    shown = invoke("vocabulary", recipe, "--run-dir", tmp_path / "run", *given, code=2).stderr
    assert message in shown
    assert "Traceback" not in shown
