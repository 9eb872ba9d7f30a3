"""What `sdp check` says about a recipe: each sentence where it is true, and only there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from sdp.check.facts import Facts, Finding, Machine
from sdp.check.findings import explain
from sdp.check.forecast import filled_blocks
from sdp.check.model import architecture_findings
from sdp.check.speed import may_be_faster
from sdp.check.thresholds import half_width, rows_needed
from sdp.check.training import teacher_is_live
from sdp.cli.main import app
from sdp.losses.needs import needs_of
from sdp.losses.objective import Objective
from sdp.models.parts import count_parts
from sdp.models.source import ModelFolder
from sdp.recipe import load_recipe
from sdp.recipe.sections import Recipe, RuntimeSection
from support.toy import write_project

RECIPES = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").is_file()) / "recipes"
QUIET = Machine(cores=8, memory_bytes=64 * 10**9, bf16=False, gpu=False, library=True)
# XLM-R-base, in round numbers, at 90 % zeros.
BEFORE = 1_110_400_000
AFTER = {"embeddings": 768_000_000, "encoder": 45_000_000, "rest": 2_400_000}


def facts(machine: Machine = QUIET, rows: int | None = None, **sections: Any) -> Facts:
    sections.setdefault("gate", {"max_metric_drop": 0.05})
    recipe = Recipe.model_validate(
        {"name": "toy", "model": {"name": "none"}, "task": {"name": "sst2"}, **sections},
    )
    return Facts(recipe, machine, {"train": None, "dev": rows, "test": None})


def about(found: list[Finding], subject: str) -> Finding:
    (one,) = [finding for finding in found if finding.subject == subject]
    return one


def warned(known: Facts) -> list[str]:
    return [finding.subject for finding in explain(known) if finding.kind == "warning"]


def test_a_sound_recipe_gets_no_warning_and_warnings_come_first() -> None:
    assert warned(facts(rows=100_000)) == []
    kinds = [finding.kind for finding in explain(facts(prune={"sparsity": 0.3}))]
    assert kinds == sorted(kinds, reverse=True)
    assert set(kinds) == {"warning", "note"} or kinds == ["warning"]


@pytest.mark.parametrize(
    ("sections", "subject", "words"),
    [
        ({"prune": {"sparsity": 0.45}}, "prune.sparsity", "run dense"),
        ({"prune": {"sparsity": 0.55}, "export": {"encoding": "coo"}}, "export.encoding", "1.35 times"),
        ({"prune": {"sparsity": 0.4}, "export": {"encoding": "coo"}}, "export.encoding", "stored dense"),
        ({"prune": {"sparsity": 0.8}, "export": {"precision": "int8"}}, "prune.pattern", "59%"),
        ({"prune": {"sparsity": 0.45, "pattern": "1x4"}, "export": {"precision": "int8"}}, "prune.sparsity", "55%"),
        ({"bench": {"provider": "cuda"}}, "bench.provider", "no NVIDIA GPU"),
        ({"bench": {"threads": [2, 16]}}, "bench.threads", "16 threads on the 8 cores"),
        ({"gate": {"min_dense_metric": 85}}, "gate.min_dense_metric", "at most 1"),
        ({"gate": {"min_metric": 85}}, "gate.min_metric", "at most 1"),
        ({"gate": {"min_metric": 0}}, "gate.min_metric", "checks nothing"),
        ({"gate": {"max_metric_drop": 1}}, "gate.max_metric_drop", "checks nothing"),
        ({"gate": {"min_speedup": 2}, "export": {"encoding": "coo"}}, "gate.min_speedup", "cannot be met"),
        ({"gate": {"min_speedup": 2}, "bench": {"provider": "cuda"}}, "gate.min_speedup", "cannot be met"),
        ({"gate": {"min_speedup": 2}, "export": {"precision": "fp16"}}, "gate.min_speedup", "cannot be met"),
        ({"export": {"precision": "fp16"}}, "export.precision", "fp16 is for GPUs"),
        ({"prune": {"precision": "bf16"}}, "prune.precision", "very slow"),
        ({"prune": {"sparsity": 0.995, "scope": "allocated"}}, "prune.sparsity", "the sparsest level"),
    ],
)
def test_warnings(sections: dict[str, Any], subject: str, words: str) -> None:
    finding = about([f for f in explain(facts(**sections)) if f.kind == "warning"], subject)
    assert words in finding.sentence


@pytest.mark.parametrize(
    ("kind", "criterion", "sentences"),
    [
        ("bert", "lookahead", []),
        ("deberta-v2", "magnitude", []),
        ("modernbert", "magnitude", []),
        ("flaubert", "lookahead", ["lookahead pairs six matrices", "attention of flaubert"]),
        ("megatron-bert", "lookahead", ["no megatron-bert model has gone through"]),
        ("of-its-own", "lookahead", ["no row for of-its-own models"]),
        (None, "lookahead", []),
    ],
)
def test_what_the_row_of_an_architecture_shows(kind: str | None, criterion: str, sentences: list[str]) -> None:
    known = replace(facts(prune={"criterion": criterion}), model_type=kind)
    found = list(architecture_findings(known))
    assert len(found) == len(sentences)
    for finding, words in zip(found, sentences, strict=True):
        assert words in finding.sentence
        assert (finding.kind == "warning") == (finding.subject == "prune.criterion")


def test_on_a_gpu_the_operator_library_is_warned_of() -> None:
    found = explain(facts(replace(QUIET, gpu=True), bench={"provider": "cuda"}))
    assert "runs on the CPU" in about([f for f in found if f.kind == "warning"], "bench.provider").sentence
    found = explain(facts(replace(QUIET, gpu=True), bench={"provider": "cuda"}, export={"encoding": "coo"}))
    assert "no speed" in about(found, "bench.provider").sentence


def test_on_a_gpu_half_precision_brings_speed_and_needs_no_library() -> None:
    gpu = {"bench": {"provider": "cuda"}, "export": {"precision": "fp16"}, "gate": {"min_speedup": 2}}
    without = replace(QUIET, gpu=True, library=False)
    found = explain(facts(without, **gpu, prune={"pattern": "structured", "sparsity": 0.5}))
    assert "scored on the GPU" in about(found, "export.precision").sentence
    assert {f.subject for f in found} & {"bench.provider", "gate.min_speedup", "export", "export.encoding"} == set()
    found = explain(facts(without, **gpu, prune={"pattern": "structured", "target_speedup": 2.0}))
    assert about(found, "prune.target_speedup").sentence.startswith("how much is removed follows from times")
    timed = {"prune": {"pattern": "structured", "target_speedup": 2.0}, "export": {"precision": "int8"}}
    found = [f for f in explain(facts(replace(QUIET, library=False), **timed)) if f.kind == "warning"]
    assert "times of the operator library" in about(found, "prune.target_speedup").sentence


@pytest.mark.parametrize(
    ("sections", "subject", "words"),
    [
        ({"gate": {"max_size_ratio": 3.0}}, "gate", "the default applies, a drop of at most 0.02"),
        ({"export": {"encoding": "coo"}}, "export.encoding", "no faster"),
        ({"export": {"encoding": "dense"}}, "export.encoding", "neither"),
        (
            {"export": {"precision": "int8"}, "prune": {"scope": "layer"}},
            "prune.pattern",
            "34% of them hold a nonzero: 3.4 times",
        ),
        ({"prune": {"pattern": "1x4"}}, "prune.pattern", "fp32"),
        ({"prune": {"sparsity": 0.5, "pattern": "2:4"}}, "prune.pattern", "product for it"),
    ],
)
def test_notes(sections: dict[str, Any], subject: str, words: str) -> None:
    notes = [finding for finding in explain(facts(**sections)) if finding.kind == "note"]
    assert words in about(notes, subject).sentence


@pytest.mark.parametrize(
    ("settings", "width", "noted"),
    [
        ({}, 768, True),
        ({}, 384, False),
        ({"learning_rate": 2e-4}, 768, False),
        ({"epochs": 0}, 768, False),
    ],
)
def test_a_wide_encoder_needs_a_lower_learning_rate(settings: dict[str, Any], width: int, noted: bool) -> None:
    found = explain(replace(facts(prune=settings), hidden_size=width))
    assert ("prune.learning_rate" in {finding.subject for finding in found}) is noted


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_model_that_is_not_pruned_gets_no_advice_on_zeros(precision: str) -> None:
    found = explain(facts(prune={"sparsity": 0.0, "epochs": 0}, export={"precision": precision}))
    assert not {"prune.sparsity", "prune.pattern", "export.encoding", "export.precision"} & {f.subject for f in found}


def test_of_layers_that_may_differ_only_the_mean_is_reported() -> None:
    uneven = {"sparsity": 0.45, "scope": "global"}
    known = facts(prune=uneven, gate={"min_speedup": 2})
    assert "are likely to run dense" in about(explain(known), "prune.sparsity").sentence
    assert "gate.min_speedup" not in warned(known), "some layers may be sparse enough"
    assert "gate.min_speedup" in warned(facts(prune={"sparsity": 0.45, "scope": "layer"}, gate={"min_speedup": 2}))
    assert "gate.min_speedup" in warned(facts(replace(QUIET, library=False), prune=uneven, gate={"min_speedup": 2}))
    known = facts(prune=uneven, export={"precision": "int8"})
    assert "on average hold a nonzero: most layers run" in about(explain(known), "prune.pattern").sentence
    known = replace(facts(prune=uneven, gate={"max_size_ratio": 0.2}), bytes_dense=BEFORE, bytes_after=AFTER)
    assert "can hardly be met" in about(explain(known), "gate.max_size_ratio").sentence


def test_without_the_operator_library_nothing_is_promised() -> None:
    bare = replace(QUIET, library=False)
    assert "not faster" in about(explain(facts(bare)), "export.encoding").sentence
    assert "gate.min_speedup" in warned(facts(bare, gate={"min_speedup": 1.5}))
    for export in ({"encoding": "kernel"}, {"precision": "int8"}):
        assert "will fail" in about(explain(facts(bare, export=export)), "export").sentence


def test_a_size_that_arithmetic_rules_out() -> None:
    known = replace(facts(gate={"max_size_ratio": 0.2}), bytes_dense=BEFORE, bytes_after=AFTER)
    finding = about(explain(known), "gate.max_size_ratio")
    assert "0.73 of the dense one" in finding.sentence
    assert "embeddings, 94%" in finding.what_would
    loose = replace(facts(gate={"max_size_ratio": 0.9}), bytes_dense=BEFORE, bytes_after=AFTER)
    assert warned(loose) == []
    embeddings = about(explain(loose), "vocabulary")
    assert "94% of the predicted file" in embeddings.sentence
    assert "int8" in embeddings.what_would
    assert "[vocabulary]" in embeddings.what_would


def test_the_gate_compares_with_the_dense_model_of_the_trimmed_vocabulary(tmp_path: Path, toy_model: Path) -> None:
    # Half of the toy model's bytes are embeddings: against the whole one the file would be half as large.
    recipe = write_project(tmp_path, toy_model, "\n[vocabulary]\nsize = 10\n")
    parts = count_parts(ModelFolder("toy", toy_model))
    rows, columns = parts.vocabulary or (0, 0)
    dense = parts.total - (rows - 10) * columns
    found = CliRunner().invoke(app, ["check", str(recipe), "--set", "gate.max_size_ratio=0.01", "--json"])
    plan = json.loads(found.stdout)
    after = sum(part["bytes_after"] for part in plan["parts"])
    printed = {finding["subject"]: finding["sentence"] for finding in plan["findings"]}
    assert f"the predicted file is {after / (4 * dense):.2f} of the dense one" in printed["gate.max_size_ratio"]
    assert printed["vocabulary.size"].endswith(
        f"{after / (4 * dense):.2f} of that one, and {after / (4 * parts.total):.2f} of the pretrained model"
    )
    assert f"{after / (4 * dense):.2f}" != f"{after / (4 * parts.total):.2f}"


def test_rows_too_few_to_ever_show_so_small_a_drop() -> None:
    few = facts(rows=277, gate={"max_metric_drop": 0.03})
    assert "can hardly pass" in about(explain(few), "gate.max_metric_drop").sentence
    enough = facts(rows=10_000, gate={"max_metric_drop": 0.03})
    assert "at most 0.024 passes" in about(explain(enough), "gate.max_metric_drop").sentence
    # Of other metrics the interval is not known beforehand.
    assert warned(facts(rows=277, gate={"max_metric_drop": 0.03}, task={"name": "cola"})) == []


@given(st.integers(20, 100_000), st.floats(0.01, 0.5))
def test_as_many_rows_as_needed_are_enough(rows: int, flips: float) -> None:
    width = half_width(rows, flips)
    assert rows - 1 <= rows_needed(width, flips) <= rows + 1


def test_the_half_width_is_that_of_simulated_differences() -> None:
    rng = np.random.default_rng(0)
    changes = rng.choice([-1, 0, 1], p=[0.05, 0.9, 0.05], size=(4000, 400))
    low, high = np.quantile(changes.mean(axis=1), [0.025, 0.975])
    assert half_width(400) == pytest.approx((high - low) / 2, rel=0.05)


@given(st.floats(0.0, 1.0))
def test_filled_blocks_is_what_a_random_mask_has(density: float) -> None:
    kept = np.random.default_rng(0).random((20_000, 4)) < density
    assert filled_blocks("unstructured", density) == pytest.approx(kept.any(axis=1).mean(), abs=0.02)


@pytest.mark.parametrize("task", ["sst2", "ner"])
@pytest.mark.parametrize(
    "losses",
    [
        [{"name": "none"}],
        [{"name": "kld"}],
        [{"name": "hidden"}],
        [{"name": "align-cosine"}],
        [{"name": "cosine", "representation": "tokens"}],
        [{"name": "cosine", "layers": [-1, 12, 3]}, {"name": "cross-correlation", "layers": [-1, 0]}],
        [{"name": "cosine", "layers": "all"}, {"name": "cross-correlation", "representation": "first"}],
    ],
    ids=str,
)
def test_what_the_teacher_stores_is_what_the_objective_reads(losses: list[dict[str, Any]], task: str) -> None:
    known = facts(task={"name": task}, prune={"losses": losses})
    known = replace(known, rows={"train": 1000, "dev": 1, "test": None}, hidden_size=768, layers=12)
    objective = Objective(known.recipe.task.problem_type, known.recipe.prune.losses, 12)
    assert not teacher_is_live(known)
    without = replace(known, recipe=known.recipe.model_copy(update={"runtime": RuntimeSection(teacher_cache_gb=0)}))
    assert teacher_is_live(without) == bool(objective.token_outputs)
    assert needs_of(known.recipe.prune.losses, 12).rows == objective.rows


def test_memory_of_teacher_and_fisher_gradients() -> None:
    pooled = facts(prune={"losses": [{"name": "cross-correlation"}]})
    known = replace(pooled, rows={"train": 392_702, "dev": 1, "test": None}, hidden_size=768, layers=12)
    assert "1.2 GB" in about(explain(known), "prune.losses").sentence
    obert = replace(facts(prune={"criterion": "obert"}), prunable=85_000_000, parameters=278_000_000)
    assert about(explain(obert), "prune.fisher_gradients").kind == "note"
    small = replace(obert, machine=replace(QUIET, memory_bytes=16 * 10**9))
    assert "10.9 GB, of 16.0 GB" in about(explain(small), "prune.fisher_gradients").sentence
    # 278 million weights, and 12 layers of 768 for 512 rows of 128 tokens, twice: 1.1 and 4.8 GB.
    repaired = replace(obert, recipe=facts(prune={"repair": True}).recipe, hidden_size=768, layers=12)
    assert about(explain(repaired), "prune.repair").kind == "note"
    assert "512 rows, are in memory: 5.9 GB" in about(explain(repaired), "prune.repair").sentence
    # 100,000 rows of 128 tokens: 19.7 GB a layer, and 12 layers; of 100 rows and one layer, 0.02 GB.
    many = replace(known, rows={"train": 100_000}, parameters=278_000_000)
    live = replace(many, recipe=facts(prune={"losses": [{"name": "hidden"}]}).recipe)
    assert "1.1 GB more of memory" in about(explain(live), "prune.losses").sentence
    tokens = replace(known, rows={"train": 100}, recipe=facts(prune={"losses": [{"name": "squared-error"}]}).recipe)
    assert "stored once, on the disk: 20 MB" in about(explain(tokens), "prune.losses").sentence


@pytest.mark.parametrize(("share", "noted"), [(0.1, False), (0.4, False), (0.5, True)])
def test_a_phase_that_reaches_into_the_ramp_is_noted(share: float, noted: bool) -> None:
    prune = {"pattern": "1x4", "ramp": 0.6, "quantization_aware": share}
    found = explain(facts(prune=prune, export={"precision": "int8"}))
    if noted:
        finding = about(found, "prune.quantization_aware")
        assert finding.kind == "note"
        assert "60% of the steps and the phase 50%" in finding.sentence
        assert finding.what_would == "at most 0.4."
    else:
        assert "prune.quantization_aware" not in [finding.subject for finding in found]


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_check_answers_for_every_recipe_without_network(path: Path, tmp_path: Path) -> None:
    command = ["check", str(path), "--json", "--runs", str(tmp_path)]
    if load_recipe(path).data.docstrings is not None:
        # Reading all those of torch and sympy takes ten seconds.
        command += ["--set", 'data.docstrings={packages = ["networkx", "rich"], train = 300, dev = 100, test = 200}']
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    assert all(finding["sentence"] and finding["subject"] for finding in plan["findings"])
    # This machine may have few cores or no compiler; the recipes themselves are sound.
    subjects = {finding["subject"] for finding in plan["findings"] if finding["kind"] == "warning"}
    assert subjects <= {"bench.threads", "export"}


def test_the_command_line_prints_them(tmp_path: Path, toy_model: Path) -> None:
    recipe = write_project(tmp_path, toy_model)
    done = CliRunner().invoke(app, ["check", str(recipe), "--set", "gate.max_size_ratio=0.01"])
    assert done.exit_code == 0, done.output
    lines = " ".join(done.stdout.split())
    assert "warning: gate.max_size_ratio: cannot be met: the predicted file is" in lines
    assert "Try a threshold above" in lines


def test_fewer_layers_are_faster_and_need_training() -> None:
    short = replace(facts(prune={"layers": 3, "sparsity": 0}), layers=6)
    assert about(explain(short), "prune.layers").sentence == "the first 3 of 6 layers are kept"
    assert may_be_faster(short)
    assert not may_be_faster(facts(prune={"sparsity": 0, "scope": "layer"}))
    removed = facts(prune={"layers": 1, "sparsity": 0.5, "pattern": "structured"})
    found = [finding for finding in explain(removed) if finding.subject == "prune.layers"]
    assert [own.sentence for own in found] == ["the first 1 layers are kept; prune.sparsity = 0.5 is of their weights"]
    untrained = facts(prune={"layers": 3, "sparsity": 0, "epochs": 0})
    assert "prune.layers" in warned(untrained)
