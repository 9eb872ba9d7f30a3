"""Every benchmark recipe is checked and run for a few steps, on a tiny model and generated rows in hub form."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from transformers import AutoTokenizer
from typer.testing import CliRunner

from sdp.cli.main import app
from sdp.data.load import load_task_data
from sdp.recipe import Recipe, load_recipe
from sdp.recipe.benchmark_tasks import TASKS
from support.benchmark_rows import write_hub_folder
from support.recipe_table import PAGE, page, shipped_recipes
from support.toy import save_tiny_model, save_xlmr_tokenizer

RECIPES = [path for path in shipped_recipes() if path.stem != "quickstart"]
# The export is the slowest stage; tests/pipeline has it for every kind of task.
EXPORTED = ("xlmr_ner", "xlmr_wpr")
# Checked, and trained only with the slow tests: another recipe has the same kind of task, texts and metric.
ALIKE = (
    "bert_qnli",
    "bert_qqp",
    "bert_rte",
    "bert_sst2",
    "xlmr_pawsx",
    "xlmr_qam",
    "xlmr_xnli_small",
    "bert_sst2_papers",
)
TRAIN, EVALUATION = 24, 8


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny model of each kind, with a tokenizer of its kind."""
    folder = tmp_path_factory.mktemp("models")
    made = {kind: save_tiny_model(folder / kind, kind, more_rows=2) for kind in ("bert", "xlmr")}
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        (made["xlmr"] / name).unlink(missing_ok=True)
    save_xlmr_tokenizer(made["xlmr"])
    return made


def invoke(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    return done.stdout


def test_there_is_one_for_each_task() -> None:
    names = [load_recipe(path).task.name for path in RECIPES if not path.stem.endswith(("_small", "_papers"))]
    assert sorted(names) == sorted(TASKS)


def test_the_page_of_recipes_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it again: python tests/support/recipe_table.py"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_its_head_names_the_commands(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for words in ("# Needs:", f"# Look:    sdp check recipes/{path.name}", f"# Run:     sdp run recipes/{path.name}"):
        assert words in text


def training_inputs(recipe: Recipe) -> int:
    """The inputs that the training rows make: in question answering the windows that transformers cuts."""
    if recipe.task.problem_type != "question-answering":
        return TRAIN
    questions, contexts = zip(*load_task_data(recipe).train.texts, strict=True)
    tokenizer = AutoTokenizer.from_pretrained(recipe.model.name)
    cut = {"truncation": "only_second", "max_length": recipe.data.max_length, "stride": recipe.data.shared_tokens}
    return len(tokenizer(list(questions), list(contexts), return_overflowing_tokens=True, **cut)["input_ids"])


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        *(pytest.param(path, "check" if path.stem in ALIKE else "evaluate", id=path.stem) for path in RECIPES),
        *(
            pytest.param(path, "evaluate", id=f"{path.stem}-evaluate", marks=pytest.mark.slow)
            for path in RECIPES
            if path.stem in ALIKE
        ),
        *(
            pytest.param(path, "export", id=f"{path.stem}-export", marks=pytest.mark.slow)
            for path in RECIPES
            if path.stem in EXPORTED
        ),
    ],
)
def test_it_is_checked_and_runs(path: Path, stage: str, models: dict[str, Path], tmp_path: Path) -> None:
    recipe = load_recipe(path)
    task = recipe.task.known
    assert task is not None
    write_hub_folder(tmp_path / "data", task, train=TRAIN, evaluation=EVALUATION)
    values = {
        "model.name": f'"{models[path.stem.partition("_")[0]]}"',
        "data.dataset": f'"{tmp_path / "data"}"',
        "data.max_length": 32,
        "bench.sequence_lengths": "[32]",
        "finetune.epochs": 1,
        "prune.epochs": 1,
        "finetune.batch_size": 12,
        "prune.batch_size": 12,
        "evaluate.resamples": 100,
        "runtime.device": '"cpu"',
    }
    if recipe.vocabulary is not None:
        values["vocabulary.size"] = 60
    if recipe.data.stride is not None:
        values["data.stride"] = 10
    overrides = [f"{key}={value}" for key, value in values.items()]
    options = [part for override in overrides for part in ("--set", override)]
    options += ["--run-dir", str(tmp_path / "run"), "--json"]
    plan = json.loads(invoke("check", path, *options))
    parts = len(task.subsets) or len(task.languages)
    assert plan["rows"] == {
        "train": TRAIN,
        "dev": EVALUATION * parts,
        "test": EVALUATION * parts if task.test else None,
    }
    steps = math.ceil(training_inputs(load_recipe(path, overrides)) / 12)
    assert plan["optimizer_steps"] == {"finetune": steps, "prune": steps}
    assert plan["unknown"] == []
    if stage == "check":
        return

    results = json.loads(invoke(stage, path, *options, "--quiet"))
    record = results["evaluate"]
    assert (record["metric"], tuple(record["also"])) == (task.metrics[0], task.metrics[1:])
    assert (record["split"], record["rows"]) == ("test" if task.test else "dev", EVALUATION * parts)
    assert list(record["parts"]) == list(task.subsets or (task.languages if len(task.languages) > 1 else ()))
    assert results["prune"]["sparsity"] == pytest.approx(recipe.prune.sparsity, abs=0.01)
    if len(task.languages) > 1:
        assert record["averages"]["zero-shot"]["over"] == [name for name in task.languages if name != "en"]
    config = json.loads((tmp_path / "run/2-prune/config.json").read_text())
    heads = {"tagging": "TokenClassification", "question-answering": "QuestionAnswering"}
    assert config["architectures"][0].endswith(heads.get(task.type, "SequenceClassification"))
    if task.type in ("classification", "tagging"):
        assert tuple(config["id2label"][str(i)] for i in range(len(task.labels))) == task.labels
    if stage == "export":
        assert results["export"]["torch"]["max_relative_error"] < 1e-4
        assert results["export"]["models"]["exported"]["value"] == pytest.approx(
            record["models"]["pruned"]["value"], abs=0.02
        )
