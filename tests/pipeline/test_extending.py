"""A loss and a criterion of one's own: a row in the table, a binding, and `sdp prune` trains with them.

A newcomer edits the tables. Here they are extended before the recipe's sections are made from them, which needs sdp
imported anew; the modules that other tests hold come back afterwards.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from typer.testing import CliRunner

from support.toy import write_project

OPTIONS = [
    *("finetune.epochs=1", "prune.epochs=1", "prune.mask_updates=2", "prune.sparsity=0.5", "analysis.rows=0"),
    *("prune.criterion=toy", 'prune.losses=[{name="toy", weight=0.5, power=2}, {name="kld"}]'),
]


def _modules() -> list[str]:
    return [name for name in sys.modules if name == "sdp" or name.startswith("sdp.")]


@pytest.fixture
def extended(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """sdp with a loss "toy" and a criterion "toy"."""
    for name in _modules():
        monkeypatch.delitem(sys.modules, name)
    losses, criteria = import_module("sdp.recipe.losses"), import_module("sdp.recipe.criteria")

    class ToyLoss(losses.AddedLoss):  # type: ignore[misc, name-defined]  # the class comes from the new import
        """Distance of the logits."""

        name: Literal["toy"]
        power: int = 1

    losses.LOSSES["toy"] = losses.LossRow(ToyLoss, "logits")
    criteria.CRITERIA["toy"] = criteria.CriterionRow("toy", "the smallest weights")
    base = import_module("sdp.pruning.criteria.base")

    class Smallest(base.Criterion):  # type: ignore[misc, name-defined]  # as above
        """-|w|."""

        def scores(self, masks: Any) -> Any:
            return base.without_pruned({name: -weight.detach().abs() for name, weight in self.weights.items()}, masks)

    import_module("sdp.pruning.criteria").CRITERIA["toy"] = Smallest
    import_module("sdp.losses.terms").TERMS["toy"] = lambda settings, batch: (
        (batch.student.logits - batch.teacher.logits).abs().pow(settings.power).mean()
    )
    yield
    for name in _modules():
        del sys.modules[name]


def test_a_new_row_and_its_binding_are_all_that_a_loss_and_a_criterion_need(
    extended: None, tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(tmp_path, toy_model)
    monkeypatch.chdir(tmp_path)
    options = [part for option in OPTIONS for part in ("--set", option)]
    done = CliRunner().invoke(import_module("sdp.cli.main").app, ["prune", "toy.toml", *options, "--run-dir", "run"])
    assert done.exit_code == 0, done.output
    log = json.loads((tmp_path / "run/2-prune/metrics.json").read_text())["log"]
    values = [record["toy"] for record in log if "toy" in record]
    assert values
    assert all(value >= 0 for value in values)
    dense, pruned = (load_file(tmp_path / "run" / stage / "model.safetensors") for stage in ("1-finetune", "2-prune"))
    for name, mask in load_file(tmp_path / "run/2-prune/masks.safetensors").items():
        kept = mask.bool()
        assert int(kept.sum()) * 2 == kept.numel()
        assert not pruned[name][~kept].any()
        # Training moves the weights in between, and the two halves still differ.
        assert float(dense[name][kept].abs().mean()) < float(dense[name][~kept].abs().mean())
    assert torch.isfinite(torch.tensor(values)).all()


def test_the_recipe_knows_them_by_the_tables_alone(extended: None) -> None:
    section = import_module("sdp.recipe.pruning").PruneSection
    assert section.model_validate({"criterion": "toy", "losses": [{"name": "toy"}]}).losses[0].power == 1
    with pytest.raises(ValidationError, match="power"):
        section.model_validate({"losses": [{"name": "toy", "power": "much"}]})
    schema = import_module("sdp.recipe.schema").recipe_schema()
    assert "toy" in schema["$defs"]["PruneSection"]["properties"]["criterion"]["enum"]
    assert schema["$defs"]["ToyLoss"]["required"] == ["name"]
    needs = import_module("sdp.losses.needs").needs_of(section(losses=({"name": "toy"},)).losses, 2)
    assert needs.teacher_forward
    assert needs.token_outputs("tagging")
    assert not needs.token_outputs("classification")


def test_afterwards_they_are_gone() -> None:
    from sdp.recipe.criteria import CRITERIA
    from sdp.recipe.losses import LOSSES

    assert "toy" not in {*CRITERIA, *LOSSES}
