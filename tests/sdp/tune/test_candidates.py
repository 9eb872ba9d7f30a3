"""Which candidates there are, what a trial sets in a recipe, and the steps of the ladder."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.recipe import Recipe, load_recipe
from sdp.tune.candidates import DENSE_INT8, FAMILIES, SPARSITIES, Candidate, Trial, ladder, pruned_candidates

MINIMAL = 'name = "x"\n[model]\nname = "hub/model"\n[task]\nname = "glue-sst2"\n'


def recipe(folder: Path, *overrides: str) -> Recipe:
    path = folder / "x.toml"
    path.write_text(MINIMAL.replace("glue-sst2", "sst2"))
    return load_recipe(path, overrides)


def test_candidates_are_those_whose_zeros_are_skipped(tmp_path: Path) -> None:
    candidates = pruned_candidates(recipe(tmp_path), units=True, layers=12)
    found = [(own.precision, own.pattern, own.sparsity) for own in candidates]
    # Sparse int8 products pay from 48 % zeros on, sparse fp32 models from 49 %, and removal from the first unit on.
    zeros = [
        *(("int8", "1x4", sparsity) for sparsity in SPARSITIES["1x4"] if sparsity > 0.48),
        *(("fp32", "unstructured", sparsity) for sparsity in SPARSITIES["unstructured"] if sparsity > 0.49),
    ]
    removed = [(precision, "structured", own) for precision in ("int8", "fp32") for own in SPARSITIES["structured"]]
    fewer = [("int8", "layers", pytest.approx(own / 6)) for own in range(1, 6)]
    assert [own for own in found if own[1] == "layers"] == fewer
    assert sorted(own for own in found if not own[1].startswith("layers")) == sorted([*zeros, *removed])
    assert [own.layers for own in candidates if own.pattern == "layers"] == [10, 8, 6, 4, 2]
    both = [own for own in candidates if own.pattern == "layers-1x4"]
    assert {(own.layers, own.layer_sparsity) for own in both} == set(product((10, 8, 6, 4, 2), (0.7, 0.8, 0.9)))
    assert all(1 - own.sparsity == pytest.approx((own.layers or 0) / 12 * (1 - own.layer_sparsity)) for own in both)
    assert [own.sparsity for own in both] == sorted(own.sparsity for own in both)
    families = [(precision, pattern) for precision, pattern, _ in found]
    assert list(dict.fromkeys(families)) == list(FAMILIES)
    without = pruned_candidates(recipe(tmp_path), units=False, layers=None)
    assert [(own.precision, own.pattern, own.sparsity) for own in without] == zeros
    capped = pruned_candidates(
        recipe(tmp_path, "prune.sparsity=0.8", "prune.scope=global", "prune.max_layer_sparsity=0.85"),
        units=True,
        layers=2,
    )
    assert max(own.sparsity for own in capped if own.layers is None) == 0.85
    assert {own.layer_sparsity for own in capped if own.layers} == {0, 0.7, 0.8}


@pytest.mark.parametrize(("total", "kept"), [(2, [1]), (3, [2, 1]), (6, [5, 4, 3, 2, 1]), (24, [20, 16, 12, 8, 4])])
def test_layers_go_in_steps(total: int, kept: list[int], tmp_path: Path) -> None:
    found = pruned_candidates(recipe(tmp_path), units=False, layers=total)
    assert [own.layers for own in found if own.pattern == "layers"] == kept


@pytest.mark.parametrize(
    ("losses", "kept"),
    [("[{name='hidden'}]", []), ("[{name='align-cosine'}]", []), ("[{name='cosine', layers=[-4]}]", [5, 4])],
)
def test_losses_rule_layers_out(losses: str, kept: list[int], tmp_path: Path) -> None:
    own = recipe(tmp_path, f"prune.losses={losses}", "prune.labels=true")
    found = pruned_candidates(own, units=False, layers=6)
    assert [own.layers for own in found if own.pattern == "layers"] == kept
    assert {own.layers for own in found if own.pattern == "layers-1x4"} == set(kept)


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("prune.steps=3000",),
        ("prune.epochs=0.5",),
        ("prune.scope=global", "prune.criterion=lamp"),
        ("prune.scope=global", "prune.max_layer_sparsity=0.98"),
        ("prune.criterion=obert", "prune.fisher_gradients=8"),
        ("prune.criterion=l0", "prune.gate_penalty=8.0"),
        ("prune.scope=layer",),
        ("prune.scope=allocated", "prune.repair=true"),
        ("export.precision=int8", "prune.quantization_aware=0.2"),
    ],
)
def test_any_recipe_can_be_pruned_without_training_and_not_at_all(settings: tuple[str, ...], tmp_path: Path) -> None:
    own = recipe(tmp_path, *settings)
    for candidate in (DENSE_INT8, *pruned_candidates(own, units=True, layers=6)):
        made = recipe(tmp_path, *settings, *Trial(candidate, 0).overrides(own.prune))
        assert not made.prune.trains
        zeros = {
            "layers": (0, "unstructured"),
            "layers-1x4": (candidate.layer_sparsity, "1x4"),
        }.get(candidate.pattern, (candidate.sparsity, candidate.pattern))
        assert (made.prune.sparsity, made.prune.pattern) == zeros
        assert made.prune.layers == candidate.layers
        assert made.export.precision == candidate.precision
        of_its_own = candidate == DENSE_INT8 or candidate.removes or candidate.layers is not None
        assert made.prune.scope == own.prune.scope or (made.prune.scope == "global" and of_its_own)
    trained = recipe(tmp_path, *settings, *Trial(Candidate("int8", "1x4", 0.8), 7).overrides(own.prune))
    removed = recipe(tmp_path, *settings, *Trial(Candidate("int8", "structured", 0.5), 7).overrides(own.prune))
    assert (removed.prune.structured, removed.prune.steps, removed.prune.trains) == (True, 7, True)
    assert removed.prune.quantization_aware == own.prune.quantization_aware
    shorter = recipe(tmp_path, *settings, *Trial(Candidate("int8", "layers", 0.5, 3), 7).overrides(own.prune))
    assert (shorter.prune.layers, shorter.prune.sparsity, shorter.prune.steps) == (3, 0, 7)
    both = recipe(tmp_path, *settings, *Trial(Candidate("int8", "layers-1x4", 0.9, 3, 0.8), 7).overrides(own.prune))
    assert (both.prune.layers, both.prune.sparsity, both.prune.pattern) == (3, 0.8, "1x4")
    # Zeros beside fewer layers are chosen as the recipe has it, unless it allocates them.
    assert both.prune.criterion == own.prune.criterion
    assert both.prune.scope == ("global" if own.prune.scope == "allocated" else own.prune.scope)
    assert not both.prune.repair
    same = {"sparsity", "pattern", "steps"}
    assert trained.prune.model_dump(exclude=same) == own.prune.model_dump(exclude=same)
    assert (trained.prune.steps, trained.prune.trains) == (7, True)


def test_names_of_folders() -> None:
    assert DENSE_INT8.name == Trial(DENSE_INT8, 0).name == "int8-dense"
    assert Trial(Candidate("int8", "1x4", 0.8), 750).name == "int8-1x4-0.80-750-steps"
    assert Trial(Candidate("int8", "layers", 0.5, 3), 750).name == "int8-layers-3-750-steps"
    assert Trial(Candidate("int8", "layers-1x4", 0.9, 3, 0.8), 750).name == "int8-layers-3-1x4-0.80-750-steps"
    assert Candidate("fp32", "unstructured", 0.975).name == "fp32-unstructured-0.975"


@given(st.integers(0, 10**6))
def test_the_ladder_rises_from_nothing_to_all(full: int) -> None:
    steps = ladder(full)
    assert (steps[0], steps[-1]) == (0, full)
    assert list(steps) == sorted(set(steps))
    assert len(steps) <= 3
    assert all(4 * own >= full for own in steps[1:])
