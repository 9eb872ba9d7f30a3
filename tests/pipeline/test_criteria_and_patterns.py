"""Every criterion and pattern through the command line: exact zeros in the saved file, in the exported one too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest
import torch
from safetensors.torch import load_file

from sdp.pruning.criteria import CRITERIA
from sdp.pruning.masks import kept_count
from support.toy import sdp


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A project that is fine-tuned and not pruned."""
    folder = tmp_path / "project"
    shutil.copytree(finished, folder, symlinks=True)
    for stage in folder.glob("runs/toy/[2-7]-*"):
        shutil.rmtree(stage)
    return folder


def options(**settings: object) -> list[str]:
    """Overrides of the section: two epochs, so that there are 20 steps, 12 of them in the ramp, and no teacher."""
    output = [f"prune.{name}={json.dumps(value)}" for name, value in {"epochs": 2, **settings}.items()]
    return [part for text in [*output, 'prune.losses=[{name="none"}]'] for part in ("--set", text)]


def masks_and_weights(folder: Path) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    stage = folder / "runs/toy/2-prune"
    weights = load_file(stage / "model.safetensors")
    return {name: (mask.bool(), weights[name]) for name, mask in load_file(stage / "masks.safetensors").items()}


# Like magnitude, they score weights or gradients of the moment; the others keep a state, or look at whole layers.
SCORES_ALONE = {"gradient", "lamp", "random", "taylor"}


@pytest.mark.parametrize(
    "kind",
    [
        *sorted(CRITERIA.keys() - {"magnitude"} - SCORES_ALONE),
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in sorted(SCORES_ALONE)),
    ],
)
def test_a_criterion_reaches_the_exact_sparsity_in_the_saved_file(kind: str, project: Path) -> None:
    # Global where the criterion allows it: layers then have shares of their own.
    scope = "layer" if kind == "lookahead" else "global"
    sdp("prune", "toy.toml", *options(criterion=kind, scope=scope), cwd=project, check=True)
    found = masks_and_weights(project)
    assert len(found) == 12
    kept = [int(mask.sum()) for mask, _ in found.values()]
    sizes = [mask.numel() for mask, _ in found.values()]
    if scope == "layer":
        assert kept == [kept_count(size, 0.8) for size in sizes]
    else:
        assert sum(kept) == kept_count(sum(sizes), 0.8)
    for mask, weight in found.values():
        assert not weight[~mask].count_nonzero()
        # Gates that l0 has closed may be zeros among the kept weights, others have none.
        assert weight[mask].count_nonzero() >= (0.5 if kind == "l0" else 1) * int(mask.sum())
    records = [json.loads(line) for line in (project / "runs/toy/2-prune/pruning.jsonl").read_text().splitlines()]
    sparsities = [record["sparsity"] for record in records]
    assert len(sparsities) == 5
    assert sparsities == sorted(sparsities)
    assert sparsities[-1] == pytest.approx(0.8, abs=1e-3)


def groups(mask: torch.Tensor) -> set[int]:
    return set(mask.unflatten(-1, (-1, 4)).sum(dim=-1).unique().tolist())


@pytest.mark.parametrize(
    ("scope", "kind"), [("layer", "magnitude"), pytest.param("global", "movement", marks=pytest.mark.slow)]
)
def test_two_of_four_are_zero_in_the_exported_file(scope: str, kind: str, project: Path) -> None:
    chosen = options(pattern="2:4", sparsity=0.5, scope=scope, criterion=kind)
    sdp("export", "toy.toml", *chosen, "--set", 'export.encoding="dense"', cwd=project, check=True)
    found = masks_and_weights(project)
    assert all(groups(mask) == {2} for mask, _ in found.values())
    assert all(not weight[~mask].count_nonzero() for mask, weight in found.values())
    graph = onnx.load(project / "runs/toy/4-export/model.onnx").graph
    stored = {tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    for name, (mask, weight) in found.items():
        exported = stored[name] if torch.equal(stored[name], weight) else stored[name].T
        assert torch.equal(exported, weight)
        assert groups(exported != 0) == {2} == groups(mask)


@pytest.mark.parametrize("kind", ["obert", pytest.param("l0", marks=pytest.mark.slow)])
def test_blocks_of_four_by_other_criteria(kind: str, project: Path) -> None:
    sdp("prune", "toy.toml", *options(pattern="1x4", criterion=kind), cwd=project, check=True)
    found = masks_and_weights(project)
    assert all(groups(mask) == {0, 4} for mask, _ in found.values())
    assert all(int(mask.sum()) == 4 * kept_count(mask.numel() // 4, 0.8) for mask, _ in found.values())


def test_a_repaired_network_has_the_same_zeros_and_other_weights(project: Path) -> None:
    found = []
    for repair in (False, True):
        # All mask updates but no step after the last one: what is stored is what repair left.
        chosen = options(pattern="1x4", repair=repair, ramp=1.0, mask_updates=2, calibration_rows=32, precision="bf16")
        sdp("prune", "toy.toml", *chosen, cwd=project, check=True)
        found.append(masks_and_weights(project))
        shutil.rmtree(project / "runs/toy/2-prune")
    for name, (mask, weight) in found[1].items():
        assert groups(mask) == {0, 4}
        assert int(mask.sum()) == 4 * kept_count(mask.numel() // 4, 0.8)
        assert not weight[~mask].count_nonzero()
        assert not torch.equal(weight, found[0][name][1])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["prune.repair=true", "prune.epochs=0"], "epochs = 0 refits each layer in any case; remove repair"),
        (["prune.repair=true", 'prune.criterion="l0"'], "repair would be lost"),
    ],
)
def test_a_repair_that_makes_no_sense_is_refused(settings: list[str], words: str, project: Path) -> None:
    refused = sdp("check", "toy.toml", *(word for each in settings for word in ("--set", each)), cwd=project)
    assert refused.returncode == 2
    assert words in refused.stderr


def test_without_training_the_zeros_are_there_in_seconds(finished: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(finished, project, symlinks=True)
    chosen = ("prune.epochs=0", 'prune.criterion="momentum"', "prune.sparsity=0.5", 'prune.pattern="1x4"')
    settings = [word for each in chosen for word in ("--set", each)]
    plan = json.loads(sdp("check", "toy.toml", *settings, "--json", cwd=project, check=True).stdout)
    assert plan["optimizer_steps"]["prune"] == 0
    sdp("evaluate", "toy.toml", *settings, cwd=project, check=True)
    stage = project / "runs/toy/2-prune"
    metrics = json.loads((stage / "metrics.json").read_text())
    assert metrics["sparsity"] == pytest.approx(0.5, abs=0.01)
    assert metrics["dev"] > 0.9
    assert [record["sparsity"] for record in metrics["log"]] == [metrics["sparsity"]]
    dense, pruned = (load_file(project / f"runs/toy/{name}/model.safetensors") for name in ("1-finetune", "2-prune"))
    assert all(torch.equal(dense[name], pruned[name]) for name in dense if "encoder" not in name)
    refused = sdp("check", "toy.toml", *settings, "--set", "prune.steps=5", cwd=project)
    assert refused.returncode == 2
    assert "epochs = 0 trains nothing" in refused.stderr
