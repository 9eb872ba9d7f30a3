"""The options of a study: values, losses by name, arms of several keys, and which are refused."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sdp.cli.main import app
from sdp.errors import RecipeError
from sdp.recipe import load_recipe
from sdp.recipe.sections import Recipe
from sdp.study.vary import check_axes, check_measured, parse_baseline, parse_vary, split_outside

IGNORED = ["export.precision=fp32,int8", "bench.threads=1,2", "gate.max_metric_drop=0.1", 'ship.license="mit"']
MEASURED = {"seed", "model", "vocabulary", "task", "data", "finetune", "prune", "analysis", "evaluate"}


def values(text: str) -> list[object]:
    """The values of a --vary of one key, as TOML reads them."""
    axis = parse_vary(text)
    found = []
    for value in axis.values:
        (override,) = value.overrides
        key, _, toml = override.partition("=")
        assert key == axis.name
        found.append(tomllib.loads(f"value = {toml}")["value"])
    return found


def test_values_are_toml_or_a_bare_word() -> None:
    assert values("a.b=0.9,true,3,word,1x4,\"x, y\",'q'") == [0.9, True, 3, "word", "1x4", "x, y", "q"]
    assert values("bench.threads=[1, 2],[4]") == [[1, 2], [4]]
    assert values("model.name=FacebookAI/xlm-roberta-base,package:a_b/model,./here") == [
        "FacebookAI/xlm-roberta-base",
        "package:a_b/model",
        "./here",
    ]
    assert [value.label for value in parse_vary("a.b= 0.90 , word").values] == ["0.90", "word"]


def test_losses_are_named_with_their_weights() -> None:
    assert values("prune.losses=none,kld,cross-correlation+kld,hidden:2+kld:0.25") == [
        [{"name": "none"}],
        [{"name": "kld"}],
        [{"name": "cross-correlation"}, {"name": "kld"}],
        [{"name": "hidden", "weight": 2}, {"name": "kld", "weight": 0.25}],
    ]
    assert values('prune.losses=[{name="kld", temperature=1.0}],kld') == [
        [{"name": "kld", "temperature": 1.0}],
        [{"name": "kld"}],
    ]
    # The shorthand belongs to that key alone.
    assert values("a.b=none,x+y") == ["none", "x+y"]


def test_an_arm_may_set_several_keys_or_none() -> None:
    axis = parse_vary("arm=plain{prune.losses=none; prune.learning_rate=2e-4},both{prune.losses=kld+hidden:2},as-is{}")
    assert [value.label for value in axis.values] == ["plain", "both", "as-is"]
    assert axis.values[0].overrides == ('prune.losses=[{name = "none"}]', "prune.learning_rate=2e-4")
    assert axis.values[1].overrides == ('prune.losses=[{name = "kld"}, {name = "hidden", weight = 2}]',)
    assert axis.values[2].overrides == ()


plain = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=8)
scalars = st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False) | plain
items = scalars | st.lists(scalars, max_size=3)


@settings(max_examples=100, deadline=None)
@given(st.lists(items, min_size=1, max_size=5, unique_by=lambda item: json.dumps(item, ensure_ascii=False)))
def test_whatever_is_written_as_toml_is_read_back(wanted: list[object]) -> None:
    text = ",".join(json.dumps(item, ensure_ascii=False) for item in wanted)
    assert values(f"a.b={text}") == wanted


@settings(max_examples=100, deadline=None)
@given(st.text("ab,;[]{}\"'\\", max_size=20))
def test_a_split_loses_nothing_and_leaves_brackets_whole(text: str) -> None:
    try:
        pieces = split_outside(text, ",", "here")
    except RecipeError:
        return
    assert ",".join(pieces) == text
    for piece in pieces:
        assert split_outside(piece, ",", "here") == [piece]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prune.sparsity", "form KEY=V1"),
        ("=0.5", "form KEY=V1"),
        ("prune..x=0.5", "form KEY=V1"),
        ("prune.sparsity=0.5,", "empty"),
        ("prune.sparsity=", "empty"),
        ("prune.sparsity=0.5,0.6,0.5", "0.5 is given twice"),
        ("a.b=[1, 2", "[ is not closed"),
        ("a.b=1]", "unmatched ]"),
        ('a.b="x', '" is not closed'),
        ('a.b="x"y', 'As text: "\\"x\\"y"'),
        ("arm=x{prune.losses}", "form KEY=VALUE"),
    ],
)
def test_malformed_options_are_errors(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match="--vary") as caught:
        parse_vary(text)
    assert message in str(caught.value)


def test_a_baseline_is_one_of_the_values() -> None:
    axes = [parse_vary("prune.losses=none,kld:0.5"), parse_vary("prune.sparsity=0.5")]
    assert parse_baseline("prune.losses = kld:0.5", axes).label == "kld:0.5"
    for wrong in ("prune.losses", "prune.epochs=3"):
        with pytest.raises(RecipeError, match="does not name a varied key"):
            parse_baseline(wrong, axes)
    with pytest.raises(RecipeError, match="Vary it"):
        parse_baseline("prune.losses=none", [])
    same = [parse_vary("prune.sparsity=0.5,0.9"), parse_vary("prune.pattern=1x4,unstructured")]
    assert parse_baseline("prune.sparsity=0.50", same).label == "0.5"
    assert parse_baseline('prune.pattern="1x4"', same).label == "1x4"
    with pytest.raises(RecipeError, match=r"One of none, kld:0\.5"):
        parse_baseline("prune.losses=kld", axes)


@pytest.mark.parametrize(
    ("vary", "fixed", "message"),
    [
        (["prune.epochs=1,2", "prune.epochs=3"], [], "prune.epochs: set in two places"),
        (["prune.epochs=1,2"], ["prune.epochs=3"], "prune.epochs: set in two places"),
        (["arm=a{prune.epochs=1}", "prune.epochs=3"], [], "prune.epochs: set in two places"),
        (["arm=a{}", "arm=b{}"], [], "arm: set in two places"),
        (["seed=1,2"], [], "--seeds N"),
        ([], ["seed=1"], "--seeds N"),
    ],
)
def test_a_key_is_set_in_one_place(vary: list[str], fixed: list[str], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        check_axes([parse_vary(text) for text in vary], fixed)
    assert message in str(caught.value)
    check_axes([parse_vary("arm=a{prune.epochs=1},b{prune.epochs=2}")], ["prune.sparsity=0.5"])


def test_the_recipe_reads_what_was_parsed(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('name = "r"\nmodel.name = "m"\ntask.name = "sst2"\n')
    (value,) = parse_vary("prune.losses=hidden:2+kld").values
    losses = load_recipe(recipe, value.overrides).prune.losses
    assert [(loss.name, loss.weight) for loss in losses if loss.name != "none"] == [("hidden", 2.0), ("kld", 0.5)]


@pytest.mark.parametrize("text", [*IGNORED, "arm=a{prune.sparsity=0.5},b{export.encoding=coo}"])
def test_a_key_of_a_later_stage_is_not_varied(text: str) -> None:
    with pytest.raises(RecipeError, match=r"^--vary .*: a study ends with evaluate, and (export|bench|gate|ship)\."):
        check_measured([parse_vary(text)], [])


def test_every_section_is_either_measured_or_refused() -> None:
    sections = set(Recipe.model_fields) - {"seed"}
    refused = set()
    for section in sections:
        try:
            check_measured([parse_vary(f"{section}.x=1")], [])
        except RecipeError:
            refused.add(section)
    assert sections - refused == MEASURED - {"seed"}
    assert {"export", "bench", "gate", "ship", "runtime", "name"} <= refused


def test_how_a_study_runs_is_set_and_not_varied() -> None:
    check_measured([parse_vary("prune.sparsity=0.5,0.9")], ["runtime.device=cpu", "name=mine", "prune.epochs=2"])
    with pytest.raises(RecipeError, match=r"runtime\.device changes no result .*\n  Give it with --set"):
        check_measured([parse_vary("runtime.device=cpu")], [])


def test_the_command_refuses_it_and_leaves_a_mistyped_section_to_the_recipe(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished)
    for option in ("--set", "--vary"):
        done = CliRunner().invoke(app, ["study", "toy.toml", option, "export.precision=int8", "--dry-run"])
        assert done.exit_code == 2
        assert "a study ends with evaluate, and export.precision takes effect after it" in done.stderr
    done = CliRunner().invoke(app, ["study", "toy.toml", "--set", "exprot.precision=int8", "--dry-run"])
    assert 'did you mean "export"' in done.stderr
