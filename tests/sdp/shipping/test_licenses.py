"""Licences are told by the recipe or by a README's front matter, or they are unknown."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sdp.recipe import load_recipe
from sdp.shipping.card import unknown_licenses
from sdp.shipping.licenses import License, find_licenses, license_in
from support.toy import write_project


@pytest.mark.parametrize(
    ("readme", "name"),
    [
        (None, "unknown"),
        ("", "unknown"),
        ("# a model, MIT licence", "unknown"),
        ("---\nlanguage: en\n---\n", "unknown"),
        ("---\nlicense: mit\n---\ntext", "mit"),
        ("---\nlicense:\n- mit\n- apache-2.0\n---\n", "mit and apache-2.0"),
        ("---\nlicense: other\nlicense_name: my-licence\n---\n", "my-licence"),
        ("---\nlicense: other\n---\n", "unknown"),
        ("---\nlicense: [mit\n---\n", "unknown"),
        ("---\n- mit\n---\n", "unknown"),
    ],
)
def test_a_readmes_front_matter(readme: str | None, name: str, tmp_path: Path) -> None:
    if readme is not None:
        (tmp_path / "README.md").write_text(readme)
    assert license_in(tmp_path, "it") == License(name, "it" if name != "unknown" else "")


def test_the_recipe_goes_before_the_readme(tmp_path: Path, toy_model: Path) -> None:
    shutil.copytree(toy_model, tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    recipe = write_project(tmp_path, toy_model)
    found = find_licenses(load_recipe(recipe))
    assert found.model == License("apache-2.0", "the pretrained model's README.md")
    assert found.shipped == License(
        "apache-2.0", "the pretrained model's licence, from the pretrained model's README.md"
    )
    assert unknown_licenses(found) == "licence unknown for the data (ship.data_license)"
    found = find_licenses(load_recipe(recipe, ('ship.license="mit"', 'ship.data_license="cc0-1.0"')))
    assert (found.shipped.name, found.model.name, found.data.name) == ("mit", "apache-2.0", "cc0-1.0")
    assert unknown_licenses(found) == ""


def test_a_model_that_is_gone_leaves_it_unknown(tmp_path: Path, toy_model: Path) -> None:
    recipe = load_recipe(write_project(tmp_path, toy_model))
    (tmp_path / "model").unlink()
    assert find_licenses(recipe).shipped == License()
