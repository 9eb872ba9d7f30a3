"""What the preflight is made from: whatever may make a run break off, and nothing that only makes it long or exact."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdp.pipeline.stages import PREFLIGHT, settings_of
from sdp.preflight.settings import layers_needed, reduced
from sdp.pruning.quantization_phase import float_steps
from sdp.recipe import Recipe, load_recipe
from sdp.recipe.losses import LOSSES as ALL_LOSSES
from support.toy import RECIPE

LOSSES = 'prune.losses=[{name="hidden", layers=[1, 3]}, {name="cosine", layers=[-4]}]'


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    (tmp_path / "toy.toml").write_text(RECIPE)
    return tmp_path / "toy.toml"


def made_from(recipe: Recipe) -> object:
    small = reduced(recipe)
    return small.seed, settings_of(small, (PREFLIGHT,))


@pytest.mark.parametrize(
    "override",
    [
        *("seed=1", "finetune.epochs=5", "finetune.learning_rate=0.1", "finetune.warmup=0.5", "prune.epochs=0.1"),
        *("prune.weight_decay=0.5", "prune.mask_updates=3", "prune.ramp=0.1", 'prune.schedule="uniform"'),
        *("analysis.rows=30", "evaluate.resamples=300", "bench.seconds=9", "bench.starts=9", "bench.threads=1"),
        *("gate.max_metric_drop=0.1", 'ship.license="mit"', "runtime.checkpoint_seconds=1", "finetune.batch_size=999"),
    ],
)
def test_what_changes_no_outcome_makes_no_new_preflight(recipe_file: Path, override: str) -> None:
    assert made_from(load_recipe(recipe_file, (override,))) == made_from(load_recipe(recipe_file))


@pytest.mark.parametrize(
    "override",
    [
        *("data.max_length=64", "prune.sparsity=0.9", 'prune.pattern="1x4"', 'prune.criterion="obert"', LOSSES),
        *('export.encoding="coo"', 'export.precision="int8"', "bench.sequence_lengths=[64]", "analysis.rows=0"),
        *('finetune.precision="bf16"', "evaluate.batch_size=1", "model.trust_remote_code=true"),
    ],
)
def test_what_may_break_a_run_off_makes_a_new_preflight(recipe_file: Path, override: str) -> None:
    assert made_from(load_recipe(recipe_file, (override,))) != made_from(load_recipe(recipe_file))


def test_one_pass_and_one_mask_update_at_the_wanted_sparsity(recipe_file: Path) -> None:
    small = reduced(load_recipe(recipe_file, ('prune.criterion="obert"', "finetune.learning_rate=0.9")))
    assert (small.finetune.epochs, small.prune.epochs, small.prune.mask_updates) == (1, 1, 1)
    assert (small.prune.sparsity, small.prune.fisher_gradients) == (0.8, 1)
    assert small.finetune.learning_rate == pytest.approx(5e-5)


def test_a_target_becomes_a_sparsity_that_a_few_layers_reach(recipe_file: Path) -> None:
    words = (
        'prune.scope="allocated"',
        "prune.sparsity=0.9",
        "prune.target_speedup=3.0",
        "prune.max_layer_sparsity=0.8",
    )
    small = reduced(load_recipe(recipe_file, words))
    assert (small.prune.scope, small.prune.target_speedup, small.prune.sparsity) == ("allocated", None, 0.4)
    assert Recipe.model_validate(small.model_dump(mode="json")) == small
    assert made_from(load_recipe(recipe_file, words)) == made_from(
        load_recipe(recipe_file, (*words, "prune.target_speedup=2.0"))
    )


@pytest.mark.parametrize("share", [0.01, 0.3, 1])
def test_a_quantization_aware_phase_is_in_it_however_short(share: float, recipe_file: Path) -> None:
    asked = ('export.precision="int8"', f"prune.quantization_aware={share}")
    small = reduced(load_recipe(recipe_file, asked))
    assert small.prune.quantization_aware == 0.5
    assert float_steps(small.prune, 2) == 1
    assert reduced(load_recipe(recipe_file, asked[:1])).prune.quantization_aware == 0
    assert made_from(load_recipe(recipe_file, asked)) != made_from(load_recipe(recipe_file, asked[:1]))


def test_layers_that_losses_name_are_kept(recipe_file: Path) -> None:
    assert layers_needed(load_recipe(recipe_file)) == 2
    assert layers_needed(load_recipe(recipe_file, (LOSSES,))) == 4


@pytest.mark.parametrize(
    ("settings", "kept", "needed"),
    [
        (("prune.layers=6",), 1, 2),
        (("prune.layers=1",), 1, 2),
        (("prune.layers=5", LOSSES.replace("[1, 3]", "[-3]")), 4, 5),
        (("prune.layers=4", LOSSES.replace("[1, 3]", "[-3]")), 4, 5),
    ],
)
def test_first_layers_are_fewer_than_those_of_the_small_model(
    settings: tuple[str, ...], kept: int, needed: int, recipe_file: Path
) -> None:
    recipe = load_recipe(recipe_file, settings)
    assert (reduced(recipe).prune.layers, layers_needed(recipe)) == (kept, needed)


@pytest.mark.parametrize("loss", ALL_LOSSES)
def test_every_loss_has_a_preflight(loss: str, recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file, (f'prune.losses=[{{name="{loss}"}}]',))
    assert layers_needed(recipe) == 2
    assert reduced(recipe).prune.losses == recipe.prune.losses
