"""The model of the preflight: the recipe's model with its weights, cut to its first layers where possible."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModel, PretrainedConfig

from sdp.models.source import ModelFolder
from sdp.pipeline.files import read_json, write_json
from sdp.vocabulary.trim import INDEX_FILE

CONFIG_FILE = "config.json"


def small_model(source: ModelFolder, target: Path, layers: int, *, trust_remote_code: bool) -> int | None:
    """Make a model folder with the first layers of a model. Unchanged files and folders are linked.

    Args:
        source: the model folder.
        target: the folder to make.
        layers: number of layers to keep.
        trust_remote_code: allow code that comes with the model.

    Returns:
        the number of removed layers; None where the architecture does not allow it, and all files are linked.
    """
    target.mkdir(parents=True)
    for path in sorted(source.path.iterdir()):
        (target / path.name).symlink_to(path.resolve())
    try:
        cut = _cut(source.path, layers, trust_remote_code)
    except Exception:  # configs and models raise any exception; loading the whole model reports the cause
        return None
    if cut is None:
        return None
    write_json(target / CONFIG_FILE, cut.config)
    for path in source.weight_files:
        _write_kept(path, target / path.name, cut)
    if (index := read_json(source.path / INDEX_FILE)) is not None:
        weight_map = {name: file for name, file in index["weight_map"].items() if cut.keeps(name)}
        write_json(target / INDEX_FILE, {**index, "weight_map": weight_map})
    return cut.layers


@dataclass(frozen=True)
class _Cut:
    """A model without its last layers.

    Attributes:
        config: the content of config.json.
        modules: dotted names, in the bare encoder, of the removed modules.
        layers: number of removed layers.
    """

    config: dict[str, Any]
    modules: frozenset[str]
    layers: int

    def keeps(self, name: str) -> bool:
        """Whether a tensor stays; its name may start with the encoder's name."""
        return not any(f".{module}." in f".{name}" for module in self.modules)


def _cut(folder: Path, layers: int, trust_remote_code: bool) -> _Cut | None:
    """Plan the cut; None where the model has no more layers, or fewer layers change more than their number.

    The model is built with all layers and with few, on the meta device: the modules that differ are the layers, for
    any architecture.
    """
    config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    total = config.num_hidden_layers
    if total <= layers:
        return None
    # Lists with a value for each layer, such as attention types.
    content = {
        name: value[:layers] if isinstance(value, list) and len(value) == total else value
        for name, value in (read_json(folder / CONFIG_FILE) or {}).items()
    }
    content[config.attribute_map.get("num_hidden_layers", "num_hidden_layers")] = layers
    whole, short = (_shapes(made, trust_remote_code) for made in (config, type(config).from_dict(dict(content))))
    if not short.items() <= whole.items():
        return None
    modules = {module for name in short for module in _modules_of(name)}
    gone = {
        next(module for module in _modules_of(name) if module not in modules) for name in whole.keys() - short.keys()
    }
    return _Cut(content, frozenset(gone), total - layers)


def _shapes(config: PretrainedConfig, trust_remote_code: bool) -> dict[str, torch.Size]:
    """Return the shape of every tensor of a model, by name, without allocating any."""
    with torch.device("meta"):
        model = AutoModel.from_config(config, trust_remote_code=trust_remote_code)
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def _modules_of(name: str) -> list[str]:
    """Return the names of the modules that contain a tensor, the outermost first, and of the tensor itself."""
    words = name.split(".")
    return [".".join(words[:count]) for count in range(1, len(words) + 1)]


def _write_kept(source: Path, target: Path, cut: _Cut) -> None:
    with safe_open(source, framework="pt") as weights:
        names = list(weights.keys())
        kept = {name: weights.get_tensor(name) for name in names if cut.keeps(name)}
        metadata = weights.metadata()
    if len(kept) < len(names):
        target.unlink()
        save_file(kept, target, metadata=metadata)
