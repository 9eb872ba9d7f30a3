"""Parameter counts of a model by part, from the headers of its safetensors files: no torch, no weights in memory."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field, replace

from safetensors import SafetensorError, safe_open

from sdp.errors import ModelError
from sdp.models.architectures import ANY_LAYOUT, supported_types
from sdp.models.source import ModelFolder

_BLOCK = re.compile(rf"(^|\.)({'|'.join(map(re.escape, ANY_LAYOUT.lists))})\.(\d+)(?=\.)")
_INPUT_EMBEDDINGS = re.compile(rf"(^|\.)({'|'.join(map(re.escape, ANY_LAYOUT.input_embeddings))})\.weight$")

# Names of sizes in config.json, for `check_size`.
_WIDTHS = (*ANY_LAYOUT.width, "d_model", "embedding_size", "intermediate_size", "hidden_dim")
_ROWS = ("vocab_size", "max_position_embeddings", "type_vocab_size")
# A model of any file may have so many parameters, or so many times the file's.
_ALWAYS_ALLOWED = 10**8
_MOST_TIMES = 100


@dataclass(frozen=True)
class ModelParts:
    """Parameter counts by part.

    Attributes:
        embeddings: of the embeddings.
        encoder_other: of the encoder layers, without their linear weights.
        rest: of what is neither.
        prunable: the size of each linear weight of the encoder layers.
        vocabulary: rows and columns of the input embeddings, a row a piece; None where they are not found.
    """

    embeddings: int
    encoder_other: int
    rest: int
    prunable: dict[str, int] = field(default_factory=dict)
    vocabulary: tuple[int, int] | None = None

    @property
    def encoder(self) -> int:
        """All parameters of the encoder layers."""
        return self.encoder_other + sum(self.prunable.values())

    @property
    def total(self) -> int:
        """All parameters."""
        return self.embeddings + self.encoder + self.rest

    def trimmed(self, size: int) -> ModelParts:
        """The same model with at most `size` pieces; as it is where the table of pieces is not found."""
        if self.vocabulary is None:
            return self
        rows, columns = self.vocabulary
        kept = min(rows, size)
        return replace(self, embeddings=self.embeddings - (rows - kept) * columns, vocabulary=(kept, columns))

    def first(self, layers: int | None, total: int | None) -> ModelParts:
        """The same model with its first layers alone; as it is where either number is unknown.

        Args:
            layers: how many are kept; None for all.
            total: how many it has.
        """
        if layers is None or total is None:
            return self
        prunable = {name: size for name, size in self.prunable.items() if layer_number(name) < layers}
        return replace(self, encoder_other=self.encoder_other * layers // total, prunable=prunable)


def is_prunable(name: str, dimensions: int) -> bool:
    """Whether a parameter is a linear weight of an encoder layer, which pruning may change."""
    return dimensions == 2 and name.endswith(".weight") and not _is_table(name) and _BLOCK.search(name) is not None


def _is_table(name: str) -> bool:
    return any(table in name for table in ANY_LAYOUT.tables)


def block_of(name: str) -> str:
    """Return the encoder layer of a parameter: the name up to the layer's number.

    Raises:
        ValueError: it belongs to none.
    """
    found = _BLOCK.search(name)
    if found is None:
        raise ValueError(f"{name} is in no encoder layer")
    return name[: found.end()]


def layer_number(name: str) -> int:
    """Return the number of a parameter's encoder layer; -1 outside of the layers."""
    found = _BLOCK.search(name)
    return int(found[3]) if found is not None else -1


def part_of(name: str) -> str:
    """Return the part of a parameter: "embeddings", "encoder" or "rest"."""
    if _BLOCK.search(name):
        return "encoder"
    return "embeddings" if "embed" in name else "rest"


def count_parts(folder: ModelFolder) -> ModelParts:
    """Count the parameters of a model folder by part.

    Raises:
        ModelError: a safetensors file is damaged, or holds no encoder layers of linear weights alone.
    """
    counts = {"embeddings": 0, "encoder": 0, "rest": 0}
    prunable: dict[str, int] = {}
    vocabulary: tuple[int, int] | None = None
    for name, shape in tensor_shapes(folder).items():
        if name.startswith(ANY_LAYOUT.pretraining_heads):
            continue
        if _INPUT_EMBEDDINGS.search(name):
            vocabulary = (shape[0], shape[1])
        if is_prunable(name, len(shape)):
            prunable[name] = math.prod(shape)
        elif len(shape) > 2 and part_of(name) == "encoder" and not _is_table(name):
            what = f"sdp cannot prune this model: {name} is no linear weight, but has {len(shape)} dimensions"
            raise ModelError(what, where=str(folder.path), hint=supported_types())
        elif not name.endswith("position_ids"):
            counts[part_of(name)] += math.prod(shape)
    if not prunable:
        what = "sdp cannot prune this model: no linear weights of encoder layers were found"
        raise ModelError(what, where=str(folder.path), hint=supported_types())
    return ModelParts(counts["embeddings"], counts["encoder"], counts["rest"], prunable, vocabulary)


def vocabulary_tensors(folder: ModelFolder) -> dict[str, int]:
    """The tensors that have a row for each piece, with their rows: the input embeddings first, then the output layers
    of pretraining heads.

    Raises:
        ModelError: a safetensors file is damaged, or no input embeddings are found.
    """
    shapes = tensor_shapes(folder)
    tables = {name: shape[0] for name, shape in shapes.items() if _INPUT_EMBEDDINGS.search(name)}
    if not tables:
        hint = "Remove [vocabulary]: sdp does not know where this kind of model keeps its embeddings."
        raise ModelError("no table of input embeddings is found", where=str(folder.path), hint=hint)
    heads = {
        name: shape[0] for name, shape in shapes.items() if name.startswith(ANY_LAYOUT.pretraining_heads) and shape
    }
    return {**tables, **{name: rows for name, rows in heads.items() if rows in tables.values()}}


def tensor_shapes(folder: ModelFolder) -> dict[str, list[int]]:
    """Return the shape of every tensor, by name.

    Raises:
        ModelError: a safetensors file is damaged.
    """
    shapes: dict[str, list[int]] = {}
    for path in folder.weight_files:
        try:
            with safe_open(path, framework="np") as weights:
                shapes |= {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError, TypeError) as error:
            raise ModelError(f"not a readable safetensors file: {error}", where=str(path)) from None
    return shapes


def check_size(folder: ModelFolder) -> None:
    """Check that config.json does not describe a model far larger than the weights beside it.

    Such a model would be made in memory before its weights are found missing. Sizes that are shared or cut may be
    smaller in the file, by the number of layers at most, hence the wide bounds.

    Raises:
        ModelError: it does.
    """
    try:
        config = json.loads((folder.path / "config.json").read_text(encoding="utf-8"))
        stored = sum(math.prod(shape) for shape in tensor_shapes(folder).values())
    except (OSError, ValueError, RecursionError, ModelError):
        # Loading them reports the error.
        return
    if not isinstance(config, dict):
        return
    most = max(_ALWAYS_ALLOWED, _MOST_TIMES * stored)
    width, layers = (_largest(config, keys) for keys in (_WIDTHS, ANY_LAYOUT.depth))
    rows = _largest(config, _ROWS)
    claimed = max(width * rows, width * width * layers)
    if claimed > most:
        what = (
            f"config.json describes a model of {claimed:,} parameters or more, and the weights are not nearly so many"
        )
        raise ModelError(what, where=str(folder.path))


def _largest(config: dict[str, object], keys: tuple[str, ...]) -> int:
    """The largest of some sizes; 1 where none is a positive whole number."""
    return max((value for key in keys if isinstance(value := config.get(key), int) and value > 0), default=1)


def encoder_shape(folder: ModelFolder) -> tuple[int | None, int | None]:
    """Return width and number of layers of the encoder, from config.json; None where it has none."""
    try:
        config = json.loads((folder.path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None, None
    found = [
        next((config[key] for key in keys if isinstance(config, dict) and isinstance(config.get(key), int)), None)
        for keys in (ANY_LAYOUT.width, ANY_LAYOUT.depth)
    ]
    return found[0], found[1]


def require_more_layers(layers: int | None, folder: ModelFolder) -> None:
    """Require that a model has more layers than are kept, by its config.json.

    Args:
        layers: the value of `prune.layers`.
        folder: the model.

    Raises:
        ModelError: it has not.
    """
    _, total = encoder_shape(folder)
    if layers is None or total is None or layers < total:
        return
    what = f"prune.layers = {layers} removes nothing: the model has {total} layer{'s' * (total != 1)}"
    hint = f"Set 1 to {total - 1}, or remove the key." if total > 1 else "Remove the key."
    raise ModelError(what, where=str(folder.path), hint=hint)
