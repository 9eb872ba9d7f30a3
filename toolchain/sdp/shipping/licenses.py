"""The declared licences of a shipped model; undeclared ones are unknown, never guessed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sdp.errors import ModelError
from sdp.models.source import locate_model
from sdp.recipe.sections import Recipe

UNKNOWN = "unknown"


@dataclass(frozen=True)
class License:
    """A licence and where it is declared.

    Attributes:
        name: an identifier such as apache-2.0; "unknown" where none is declared.
        source: where it is declared, in words; empty where it is unknown.
    """

    name: str = UNKNOWN
    source: str = ""


@dataclass(frozen=True)
class Licenses:
    """The licences of the shipped folder, of the pretrained model and of the data."""

    shipped: License
    model: License
    data: License

    def unknown(self) -> list[str]:
        """Return the items without a licence, each with the setting that declares one."""
        settings = (("the shipped model", self.shipped, "ship.license"), ("the data", self.data, "ship.data_license"))
        return [f"{what} ({setting})" for what, found, setting in settings if found.name == UNKNOWN]


def find_licenses(recipe: Recipe) -> Licenses:
    """Find the licences: the recipe's, else those in the README.md of the pretrained model and of a data set folder."""
    try:
        model = license_in(locate_model(recipe.model, download=False).path, "the pretrained model's README.md")
    except ModelError:
        # The pretrained model may be missing after its stage has finished.
        model = License()
    data = license_in(Path(recipe.data.dataset), "the data set's README.md") if recipe.data.dataset else License()
    shipped = License(model.name, f"the pretrained model's licence, from {model.source}") if model.source else model
    if recipe.ship.license is not None:
        shipped = License(recipe.ship.license, "the recipe")
    if recipe.ship.data_license is not None:
        data = License(recipe.ship.data_license, "the recipe")
    return Licenses(shipped, model, data)


def license_in(folder: Path, source: str) -> License:
    """Read the licence in the front matter of a folder's README.md."""
    from huggingface_hub import metadata_load

    try:
        content = metadata_load(folder / "README.md") or {}
    except Exception:  # no README.md, or invalid front matter, for which the YAML parser raises various exceptions
        return License()
    declared = content.get("license_name") if content.get("license") == "other" else content.get("license")
    declared = " and ".join(map(str, declared)) if isinstance(declared, list) else declared
    return License(str(declared), source) if declared else License()
