"""How a sentence encoder makes one vector of its tokens: what a sentence-transformers folder states. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sdp.errors import ModelError
from sdp.pipeline.files import read_json, write_json
from sdp.recipe.sections import Recipe

Pooled = Literal["mean", "cls"]
MODULES_FILE, SETTINGS_FILE = "modules.json", "config_sentence_transformers.json"
PROMPTS, DEFAULT_PROMPT = "prompts", "default_prompt_name"
# Of the second file; not the versions that made it.
_SETTINGS = (PROMPTS, DEFAULT_PROMPT, "similarity_fn_name")
# In the folder of the pooling module: keys that are true, or what follows the first words under "pooling_mode".
_MODES: dict[str, Pooled] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_cls": "cls",
}
_HINT = 'Set task.pooling to "mean" or "cls", as the model was trained.'


@dataclass(frozen=True)
class Pooling:
    """How the vector is made.

    Attributes:
        kind: the mean of the real tokens of the last layer, or its first token.
        normalized: whether the vector is scaled to length 1.
        settings: what sentence-transformers does before and behind the network, by its own keys: prompts that stand
            before a text, and how vectors are compared. The shipped folder has them too.
    """

    kind: Pooled
    normalized: bool
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def default_prompt(self) -> str:
        """What sentence-transformers puts before every text unless it is asked for another prompt."""
        prompts = self.settings.get(PROMPTS)
        name = self.settings.get(DEFAULT_PROMPT)
        return str(prompts.get(name, "")) if isinstance(prompts, dict) and name is not None else ""


def choose_pooling(recipe: Recipe, folder: Path) -> Pooling:
    """Return the recipe's pooling, or else the one of the model's folder.

    Args:
        recipe: of an embedding.
        folder: of the model.

    Raises:
        ModelError: neither has one, or the folder has modules that sdp does not know.
    """
    if recipe.task.pooling is not None:
        return Pooling(recipe.task.pooling, normalized=True)
    if not (folder / MODULES_FILE).is_file():
        raise ModelError(f"how to pool is not known: the folder has no {MODULES_FILE}", where=str(folder), hint=_HINT)
    types, paths = _modules(folder)
    unknown = [kind for kind in types if kind not in ("Transformer", "Pooling", "Normalize")]
    if unknown or "Pooling" not in types:
        what = f"it has a module {unknown[0]}" if unknown else "it has no module Pooling"
        raise ModelError(f"{what}: sdp exports mean and cls, and scales to length 1", where=str(folder), hint=_HINT)
    kind = _kind(folder / paths[types.index("Pooling")])
    return Pooling(kind, normalized="Normalize" in types, settings=_settings(folder))


def write_modules(folder: Path, *, size: int, max_length: int, settings: Mapping[str, Any]) -> None:
    """Describe an exported sentence encoder as sentence-transformers does, for its ONNX backend.

    The file pools and scales by itself, and gives its vector as the only token of `last_hidden_state`: the pooling that
    is named here takes that token.

    Args:
        folder: of the exported file.
        size: of a vector.
        max_length: tokens after which a text is cut.
        settings: those of the `Pooling`.
    """
    paths = {"Transformer": "", "Pooling": "1_Pooling"}
    modules = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for place, (kind, path) in enumerate(paths.items())
    ]
    (folder / paths["Pooling"]).mkdir(exist_ok=True)
    pooling = {"word_embedding_dimension": size, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    write_json(folder / MODULES_FILE, modules)
    write_json(folder / paths["Pooling"] / "config.json", pooling)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False})
    if settings:
        write_json(folder / SETTINGS_FILE, dict(settings))


def _settings(folder: Path) -> dict[str, Any]:
    found = read_json(folder / SETTINGS_FILE) or {}
    return {key: found[key] for key in _SETTINGS if found.get(key) is not None}


def _modules(folder: Path) -> tuple[list[str], list[str]]:
    """The modules' classes without their package, and their folders.

    Raises:
        ModelError: the file is damaged.
    """
    try:
        modules = json.loads((folder / MODULES_FILE).read_text(encoding="utf-8"))
        types = [str(module["type"]).rpartition(".")[2] for module in modules]
        paths = [str(module["path"]) for module in modules]
    except (OSError, ValueError, TypeError, KeyError):
        raise ModelError(f"{MODULES_FILE} is damaged", where=str(folder), hint=_HINT) from None
    if any(Path(path).is_absolute() or ".." in Path(path).parts for path in paths):
        raise ModelError(f"{MODULES_FILE} names a folder outside of the model's", where=str(folder), hint=_HINT)
    return types, paths


def _kind(folder: Path) -> Pooled:
    config = read_json(folder / "config.json") or {}
    modes = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    if (named := config.get("pooling_mode")) is not None:
        modes.append(f"pooling_mode_{named}")
    known = _MODES.get(modes[0]) if len(modes) == 1 else None
    if known is None:
        raise ModelError("the pooling is none that sdp exports", where=str(folder), hint=_HINT)
    return known
