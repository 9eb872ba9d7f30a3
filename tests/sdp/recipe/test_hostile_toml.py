"""Recipes that nobody wrote by hand: every one is refused in one message, at once, whatever it leads to."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdp.errors import RecipeError
from sdp.recipe import load_recipe

DEEP = 30_000


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"x = {'[' * DEEP}{']' * DEEP}", "nested too deeply"),
        ("x = " + "{a=" * DEEP + "1" + "}" * DEEP, "nested too deeply"),
        (".".join(["a"] * 500) + " = 1", "nested too deeply"),
        ("[" + ".".join(["a"] * 500) + "]", "nested too deeply"),
        (".".join(["a"] * DEEP) + " = 1", "more than 2,000 dots"),
        ("x = {" + ".".join(["a"] * DEEP) + " = 1}", "more than 2,000 dots"),
        ('name = "a\\u0000b"', "NUL"),
        ('"a\\u0000b" = 1', "NUL"),
        (f"x = {'9' * 5000}", "not valid TOML"),
        ("x = 1 # " + "y" * 10**6, "longer than"),
        ('extends = "/dev/zero"', "device or a pipe"),
        ('extends = "/dev/null"', "device or a pipe"),
        ('extends = "x\\u0000.toml"', "NUL"),
    ],
)
def test_text_that_is_no_recipe(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    assert words in refusal(path)


def test_keys_without_number(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text("\n".join(f"k{number} = 1" for number in range(20_000)))
    lines = refusal(path).splitlines()
    assert len(lines) < 60
    assert "and 19,9" in lines[-1]


def test_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "r.toml").symlink_to("r.toml")
    assert "symbolic links" in refusal(tmp_path / "r.toml")
    (tmp_path / "s.toml").write_text('extends = "r.toml"')
    assert "symbolic links" in refusal(tmp_path / "s.toml")


def test_a_chain_without_end(tmp_path: Path) -> None:
    for number in range(150):
        (tmp_path / f"{number}.toml").write_text(f'extends = "{number + 1}.toml"\n')
    assert "more than 100 recipes" in refusal(tmp_path / "0.toml")


def test_overrides(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('name = "x"')
    assert "form A.B=VALUE" in refusal(path, ".".join(["a"] * 500) + "=1")
    assert "not TOML" in refusal(path, f"seed={'[' * DEEP}{']' * DEEP}")
    assert "not TOML" in refusal(path, 'model.name="a\\u0000"')
