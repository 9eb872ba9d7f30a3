"""How long a run will take: the arithmetic, and what earlier runs say."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sdp.check import duration
from sdp.check.duration import EFFICIENCY, Work, matmul_rate, timed_estimates, training_threads
from sdp.check.facts import Facts, Machine
from sdp.check.rows import padded_length, sampled_lengths, sampled_windows
from sdp.check.stage_times import shown_time
from sdp.cli.main import app
from sdp.errors import ModelError
from sdp.pruning.repair import SOLVER_STEPS
from sdp.recipe.data import DataSection
from sdp.recipe.sections import Recipe
from support.toy import FILLER, save_tiny_model, write_project

MACHINE = Machine(cores=2, memory_bytes=None, bf16=True, gpu=False, library=True)


def estimates(pruned: int = 10**6, **sections: Any) -> dict[str, float]:
    recipe = Recipe.model_validate(
        {"name": "toy", "model": {"name": "none"}, "task": {"name": "sst2"}, "data": {"max_length": 8}, **sections}
    )
    rows = {"train": 320, "dev": 10, "test": None}
    facts = Facts(recipe, MACHINE, rows)
    work = Work(10**6, pruned, 6, rows, "dev", np.full(50, 20))
    return {name: found.seconds for name, found in timed_estimates(facts, work, 1e9 / EFFICIENCY).items()}


def test_training_is_six_operations_a_parameter_and_token() -> None:
    # 320 rows of 8 tokens, cut there, in one epoch; dev twice; ten seconds for everything else.
    plain = {"finetune": {"epochs": 1, "precision": "fp32"}, "prune": {"epochs": 1, "precision": "fp32"}}
    found = estimates(finetune=plain["finetune"], prune={**plain["prune"], "losses": [{"name": "none"}]})
    dev = 10 * 8 * 2e-3
    assert found["finetune"] == pytest.approx(10 + 320 * 8 * 6e-3 + 2 * dev)
    assert found["prune"] == pytest.approx(found["finetune"])
    more = estimates(
        finetune={**plain["finetune"], "epochs": 4},
        prune={**plain["prune"], "losses": [{"name": "hidden"}]},
        runtime={"teacher_cache_gb": 0},
    )
    assert more["finetune"] == pytest.approx(10 + 4 * 320 * 8 * 6e-3 + 5 * dev)
    assert more["prune"] - 10 == pytest.approx((found["prune"] - 10) * 8 / 6)
    fast = estimates(finetune={"epochs": 1})
    assert 10 < fast["finetune"] < found["finetune"]
    again = estimates(finetune=plain["finetune"], runtime={"checkpointing": True})
    assert again["finetune"] - 10 - 2 * dev == pytest.approx((found["finetune"] - 10 - 2 * dev) * 8 / 6)


def test_long_contexts_are_read_in_windows() -> None:
    task = {"type": "question-answering"}
    data = {"train": "t", "dev": "d", "text": ("q", "c"), "label": "a", "max_length": 40, "stride": 10}
    sections = {"name": "toy", "model": {"name": "none"}, "task": task, "data": data}
    recipe = Recipe.model_validate({**sections, "finetune": {"epochs": 1, "precision": "fp32"}})
    rows = {"train": 320, "dev": 10, "test": None}
    lengths = np.full(50, 100)
    facts = Facts(recipe, MACHINE, rows, lengths=lengths, windows=3.0)
    found = timed_estimates(facts, Work(10**6, 10**6, 6, rows, "dev", lengths), 1e9 / EFFICIENCY)
    assert found["finetune"].seconds == pytest.approx(10 + 3 * 320 * 40 * 6e-3 + 2 * 3 * 10 * 40 * 2e-3)


def test_windows_are_counted_with_the_question_in_each(tmp_path: Path) -> None:
    save_tiny_model(tmp_path)
    data = DataSection(max_length=40, stride=10)
    # A question of 7 tokens and 3 around both leave room for 30 of a context: 30, 50, 70, 90.
    question = " ".join(FILLER[:7])
    contexts = [" ".join((FILLER * 20)[:length]) for length in (1, 30, 31, 50, 51, 70, 71, 90)]
    found = [sampled_windows(tmp_path, [(question, context)], data) for context in contexts]
    assert found == [1, 1, 2, 2, 3, 3, 4, 4]
    assert sampled_windows(tmp_path, [(question, context) for context in contexts], data) == 2.5
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="tokenizer"):
        sampled_windows(tmp_path, [(question, "")], data)
    (tmp_path / "tokenizer.json").unlink()
    assert sampled_windows(tmp_path, [(question, "")], data) == 1


def test_every_text_of_an_embedding_is_an_input() -> None:
    data = {"train": "t", "dev": "d", "text": ("a", "b"), "label": "score"}
    sections = {"name": "toy", "model": {"name": "none"}, "task": {"type": "embedding"}, "data": data}
    recipe = Recipe.model_validate({**sections, "finetune": {"epochs": 0}, "prune": {"epochs": 1, "precision": "fp32"}})
    facts = Facts(recipe, MACHINE, {"train": 160, "dev": 10, "test": None})
    assert (facts.inputs_per_row, facts.train_inputs) == (2, 320)
    found = timed_estimates(facts, Work(10**6, 10**6, 6, facts.rows, "dev", np.full(50, 8)), 1e9 / EFFICIENCY)
    assert found["evaluate"].seconds == pytest.approx(10 + 2 * 20 * 8 * 2e-3)
    trained = math.ceil(320 / recipe.prune.batch_size) * recipe.prune.batch_size * 8 * 6e-3
    evaluated, teacher = 2 * 20 * 8 * 2e-3, 320 * 8 * 2e-3
    assert found["prune"].seconds == pytest.approx(10 + trained + evaluated + teacher)


def test_fewer_layers_take_less_to_train_and_their_teacher_as_much_as_before() -> None:
    plain = {"epochs": 1, "precision": "fp32", "labels": True}
    dev = 10 * 8 * 2e-3
    without = {**plain, "losses": [{"name": "none"}]}
    found = estimates(250_000, prune=without)
    assert found["prune"] == pytest.approx(10 + 0.25 * (320 * 8 * 6e-3 + 2 * dev))
    assert found["evaluate"] == pytest.approx(10 + 1.25 * dev)
    assert found["finetune"] == estimates(prune=without)["finetune"]
    teacher = {**plain, "losses": [{"name": "squared-error"}]}
    stored, live = (estimates(250_000, prune=teacher, runtime={"teacher_cache_gb": cache})["prune"] for cache in (4, 0))
    assert stored - found["prune"] == pytest.approx(320 * 8 * 2e-3)
    assert live - found["prune"] == pytest.approx(320 * 8 * 2e-3, rel=0.03)


def test_a_repair_is_forward_passes_and_products() -> None:
    """Counted for one block of width d: four matrices [d, d], one [4 d, d] and one [d, 4 d]; its layers' inputs."""
    rows = {"train": 320, "dev": 10, "test": None}
    d, tokens = 10, 8
    prunable = 12 * d * d

    def seconds(**prune: Any) -> float:
        recipe = Recipe.model_validate(
            {
                "name": "toy",
                "model": {"name": "none"},
                "task": {"name": "sst2"},
                "data": {"max_length": 8},
                "prune": {"epochs": 1, "mask_updates": 3, "calibration_rows": 50, **prune},
            }
        )
        facts = Facts(recipe, MACHINE, rows, prunable=prunable, hidden_size=d, layers=1)
        work = Work(prunable, prunable, 1, rows, "dev", np.full(50, 20))
        return timed_estimates(facts, work, 1e3 / EFFICIENCY)["prune"].seconds

    # Until the attention's output, the feed-forward input, its output, and the next block; of both networks.
    passes = 2 * tokens * 2 * sum((3 * d * d, 4 * d * d, 8 * d * d, 12 * d * d))
    gram_and_cross = 2 * tokens * 2 * (5 * d * d + (4 * d) ** 2)
    solved = SOLVER_STEPS * 2 * (4 * d * d**2 + 4 * d * d**2 + d * (4 * d) ** 2)
    expected = 3 * (50 * (passes + gram_and_cross) + solved) / 1e3
    assert seconds(repair=True) - seconds() == pytest.approx(expected, rel=0.15)
    assert seconds(repair=True, mask_updates=6) - seconds() == pytest.approx(2 * (seconds(repair=True) - seconds()))
    assert duration._REPAIR_PRODUCTS == SOLVER_STEPS


def test_a_batch_is_as_long_as_its_longest_row() -> None:
    lengths = np.array([4] * 9 + [40])
    assert padded_length(lengths, 1) == pytest.approx(lengths.mean(), rel=0.3)
    assert padded_length(lengths, 64) == pytest.approx(40, rel=0.02)


def test_the_timing_is_of_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    assert matmul_rate() > 1e8
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert (training_threads(8), training_threads(2), training_threads(8, 2)) == (3, 2, 2)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert training_threads(8) == 8


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (5, 59, "less than a minute"),
        (20, 70, "about 1 min"),
        (250, 480, "about 4 to 8 min"),
        (9000, 20000, "about 2.5 to 5.6 h"),
    ],
)
def test_words(low: float, high: float, words: str) -> None:
    assert shown_time(low, high) == words


def seconds(folder: Path, *options: str) -> dict[str, Any]:
    given = [part for option in options for part in ("--set", option)]
    done = CliRunner().invoke(
        app, ["check", str(folder / "toy.toml"), "--runs", str(folder / "runs"), "--json", *given]
    )
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_an_earlier_run_is_gone_by(finished: Path, tmp_path: Path, toy_model: Path) -> None:
    record = json.loads((finished / "runs/toy/1-finetune/stage.json").read_text())
    assert record["resumed"] is False
    now = seconds(finished)
    assert now["seconds"]["finetune"] == {"seconds": record["seconds"], "source": "earlier run"}
    assert now["seconds_left"] == [0, 0]
    # Twice the epochs, twice the time; another batch size is other work; another name, the same.
    assert seconds(finished, "finetune.epochs=20")["seconds"]["finetune"]["seconds"] == 2 * record["seconds"]
    assert seconds(finished, "finetune.batch_size=8")["seconds"]["finetune"]["source"] == "timing"
    other = seconds(finished, 'name="other"')
    assert other["seconds"]["prune"]["source"] == "earlier run"
    low, high = other["seconds_left"]
    assert 0 < low < high
    write_project(tmp_path, toy_model)
    assert seconds(tmp_path)["seconds"]["finetune"]["source"] == "timing"


def test_pruning_without_training_is_no_measure_of_training(finished: Path, tmp_path: Path) -> None:
    untrained = ("prune.steps=0", "prune.criterion=momentum")
    assert seconds(finished, *untrained)["seconds"]["prune"]["source"] == "timing"
    shutil.copytree(finished, tmp_path / "copy", symlinks=True)
    record = tmp_path / "copy/runs/toy/2-prune/stage.json"
    content = json.loads(record.read_text())
    content["ingredients"]["settings"]["prune"] |= {"steps": 0, "criterion": "momentum"}
    record.write_text(json.dumps(content))
    assert seconds(tmp_path / "copy")["seconds"]["prune"]["source"] == "timing"
    assert seconds(tmp_path / "copy", *untrained)["seconds"]["prune"]["seconds"] == content["seconds"]


def test_a_folder_without_tokenizer_json_is_estimated(tmp_path: Path) -> None:
    assert sampled_lengths(tmp_path, [("x" * 40,), ("y" * 4,)]).tolist() == [12, 3]
