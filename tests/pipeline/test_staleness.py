"""What runs again after a change, and what does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.runner import cache_key, input_identities, plan
from sdp.recipe import load_recipe
from support.sources import copy_packages, edit, move
from support.toy import sdp, sdp_process, toy_rows, write_tsv

STAGES = ["finetune", "prune", "evaluate", "export", "bench", "gate", "report", "ship"]
AFTER_EXPORT = {"bench", "gate", "report", "ship"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, finished: Path) -> Path:
    """A finished project that was moved: where it lies is no reason to train again."""
    folder = tmp_path_factory.mktemp("moved") / "project"
    shutil.copytree(finished, folder, symlinks=True)
    return folder


def would_run(project: Path, *arguments: str, packages: Path | None = None) -> dict[str, str]:
    """Stages that `sdp check`, of these packages, says would run, with the reason."""
    command = ("check", "toy.toml", "--json", *arguments)
    if packages is None:
        done = sdp(*command, cwd=project, check=True)
    else:
        done = sdp_process(*command, cwd=project, env={"PYTHONPATH": str(packages)}, check=True)
    plan = json.loads(done.stdout)
    return {stage["stage"]: stage["reason"] for stage in plan["stages"] if not stage["up_to_date"]}


@pytest.mark.parametrize(
    ("override", "first", "reason"),
    [
        ("finetune.epochs=5", "finetune", "finetune.epochs changed: 10.0 -> 5.0"),
        ("prune.sparsity=0.9", "prune", "prune.sparsity changed: 0.8 -> 0.9"),
        ("analysis.rows=30", "prune", "analysis.rows changed: null -> 30"),
        ("evaluate.resamples=300", "evaluate", "evaluate.resamples changed: 200 -> 300"),
        ('export.encoding="dense"', "export", 'export.encoding changed: "auto" -> "dense"'),
        ("bench.seconds=0.3", "bench", "bench.seconds changed: 0.2 -> 0.3"),
        ("gate.max_size_ratio=0.9", "gate", "gate.max_size_ratio changed: 1.0 -> 0.9"),
        ('ship.license="mit"', "ship", 'ship.license changed: null -> "mit"'),
        ("seed=1", "finetune", "seed changed: 0 -> 1"),
    ],
)
def test_a_setting_makes_its_stage_and_what_follows_run(project: Path, override: str, first: str, reason: str) -> None:
    stale = would_run(project, "--set", override)
    assert next(iter(stale)) == first
    assert stale[first] == reason
    assert set(STAGES[: STAGES.index(first)]).isdisjoint(stale)


@pytest.mark.parametrize(
    ("file", "old", "new", "first", "reason"),
    [
        ("recipe/base.py", "default=0.1", "default=0.2", "finetune", "finetune.warmup changed: 0.1 -> 0.2"),
        # The same path as the row before, with another setting.
        pytest.param(
            "recipe/task.py",
            '("accuracy", "f1"',
            '("f1", "accuracy"',
            "finetune",
            'task.metric changed: "accuracy" -> "f1"',
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "recipe/export.py",
            "1e-4",
            "1e-3",
            "export",
            "export.tolerance changed: 0.0001 -> 0.001",
            marks=pytest.mark.slow,
        ),
        ("losses/cross_correlation.py", "return ", "return 2 * ", "prune", "code changed"),
        ("report/plots.py", "import annotations", "import annotations\n\nOTHER = 1", "report", "code changed"),
    ],
)
def test_another_version_of_sdp_runs_what_it_changes(
    project: Path, tmp_path: Path, file: str, old: str, new: str, first: str, reason: str
) -> None:
    edit(copy_packages(tmp_path), f"sdp/{file}", old, new)
    stale = would_run(project, packages=tmp_path)
    assert next(iter(stale.items())) == (first, reason)
    assert set(STAGES[: STAGES.index(first)]).isdisjoint(stale)


def test_a_version_that_explains_and_places_its_code_otherwise_runs_nothing(project: Path, tmp_path: Path) -> None:
    copy_packages(tmp_path)
    edit(tmp_path, "sdp/losses/task.py", '"""The loss of', '"""Another word about the loss of')
    edit(tmp_path, "sdp/training/sampler.py", "\n\n\n", "\n\n\n# Another comment.\n")
    move(tmp_path, "sdp.models.load", "sdp.models.loading.weights")
    assert would_run(project, packages=tmp_path) == {}


def test_the_key_of_a_ci_cache_follows_what_costs_time_and_what_the_gate_measures(project: Path) -> None:
    def key(*overrides: str) -> str:
        recipe = load_recipe(project / "toy.toml", overrides)
        return cache_key(recipe, input_identities(recipe, download=False))

    same = key()
    assert json.loads(sdp("check", "toy.toml", "--json", cwd=project, check=True).stdout)["cache_key"] == same
    assert key('ship.license="mit"') == key("runtime.checkpoint_seconds=1.0") == same
    others = ("prune.sparsity=0.9", "seed=1", "bench.starts=2", "data.max_length=16", "gate.max_size_ratio=0.9")
    assert len({same, *(key(other) for other in others)}) == 6


def test_another_operator_library_exports_and_measures_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, run = load_recipe(project / "toy.toml"), RunFolder(project / "runs" / "toy")
    identities = input_identities(recipe, download=False)
    assert all(status.up_to_date for status in plan(recipe, run, identities))
    monkeypatch.setattr("sdp.pipeline.runner.library_identity", lambda: "none")
    stale = {status.stage.name: status.reason for status in plan(recipe, run, identities) if not status.up_to_date}
    assert list(stale) == STAGES[STAGES.index("export") :]
    assert stale["export"].startswith("libraries.operator library changed: ")


@pytest.mark.parametrize("override", ["runtime.checkpoint_seconds=1", 'runtime.device="cpu"'])
def test_how_the_work_is_done_makes_nothing_stale(project: Path, override: str) -> None:
    assert would_run(project, "--set", override) == {}


def test_only_what_depends_on_it_runs_again(project: Path) -> None:
    before = (project / "runs/toy/1-finetune/stage.json").read_text()
    done = sdp("export", "toy.toml", "--set", "prune.sparsity=0.9", cwd=project, check=True)
    assert "finetune  up to date" in done.stderr
    assert (project / "runs/toy/1-finetune/stage.json").read_text() == before
    assert json.loads((project / "runs/toy/2-prune/metrics.json").read_text())["sparsity"] == pytest.approx(
        0.9, abs=1e-3
    )
    # The newest run remembers its overrides, so a command without an argument means that run.
    again = sdp("export", cwd=project, check=True)
    assert again.stderr.count("up to date") == 4
    assert "toy" in again.stdout


def test_changed_data_or_model_files_are_noticed(project: Path, tmp_path: Path, toy_model: Path) -> None:
    write_tsv(project / "dev.tsv", toy_rows(62, seed=3))
    stale = would_run(project, "--set", "prune.sparsity=0.9")
    assert "dev.tsv" in stale["finetune"]
    write_tsv(project / "dev.tsv", toy_rows(60, seed=2))
    assert would_run(project, "--set", "prune.sparsity=0.9").keys() == AFTER_EXPORT
    other = tmp_path / "other-model"
    other.mkdir()
    for file in toy_model.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    stale = would_run(project, "--set", f'model.name="{other}"', "--set", "prune.sparsity=0.9")
    assert next(name for name in stale if name != "preflight") == "finetune"


def test_a_damaged_result_is_made_again(project: Path) -> None:
    path = project / "runs/toy/2-prune/model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    assert next(iter(would_run(project, "--set", "prune.sparsity=0.9"))) == "prune"
    path.write_bytes(content)
    assert would_run(project, "--set", "prune.sparsity=0.9").keys() == AFTER_EXPORT
