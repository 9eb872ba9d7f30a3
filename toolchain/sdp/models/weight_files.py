"""Which files of a model folder transformers loads the weights from. Needs no torch."""

from __future__ import annotations

import re
from pathlib import Path

from sdp.errors import ModelError
from sdp.pipeline.files import read_json

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
_SHARD = re.compile(r"-\d+-of-\d+\.safetensors$")
_COPY_AGAIN = "Copy or download the folder again."


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers loads: model.safetensors, or else the shards that its index names.

    Others (model.fp16.safetensors, consolidated.safetensors, the masks of a pruning) are never read.

    Returns:
        the files in the order of their names; none where the folder has no weights under these names.

    Raises:
        ModelError: the index is damaged, or names a file that is not in the folder.
    """
    named = (read_json(folder / "config.json") or {}).get("transformers_weights")
    first = folder / (named if isinstance(named, str) else WEIGHTS)
    if first.name.endswith(".safetensors") and first.parent == folder and first.is_file():
        return [first]
    index = first if isinstance(named, str) else folder / INDEX
    if not index.is_file() or index.suffix != ".json":
        return []
    shards = (read_json(index) or {}).get("weight_map")
    names = set(shards.values()) if isinstance(shards, dict) and all(map(_is_name, shards.values())) else set()
    if not names:
        raise ModelError("not an index of safetensors files", where=str(index), hint=_COPY_AGAIN)
    if missing := sorted(name for name in names if not (folder / name).is_file()):
        raise ModelError(f"names {missing[0]}, which is not in the folder", where=str(index), hint=_COPY_AGAIN)
    return [folder / name for name in sorted(names)]


def refuse_adapter(folder: Path) -> None:
    """Reject a folder with a PEFT adapter: its weights change the network, and sdp loads the network alone.

    Raises:
        ModelError: it holds one.
    """
    found = next((name for name in ADAPTER_FILES if (folder / name).is_file()), None)
    if found is None:
        return
    hint = (
        "Merge it into its model once: AutoPeftModelForSequenceClassification.from_pretrained(FOLDER, num_labels=N)"
        ".merge_and_unload().save_pretrained(NEW) with the package peft (ForTokenClassification for a tagger), copy "
        "the tokenizer's files into NEW, and name NEW in the recipe."
    )
    if weight_files(folder):
        hint += f" Without its files ({', '.join(ADAPTER_FILES[:2])}) the weights beside it are used alone."
    raise ModelError(
        f"the folder holds a PEFT adapter ({found}), which sdp does not apply", where=str(folder), hint=hint
    )


def unread_weights(folder: Path) -> ModelError | None:
    """The error for a folder without weights to load that has safetensors files under other names; None without."""
    others = sorted(path.name for path in folder.glob("*.safetensors"))
    if not others:
        return None
    if any(_SHARD.search(name) for name in others):
        what, hint = f"the weights are in parts ({others[0]}, …) without their index", f"Copy {INDEX} beside them."
    else:
        what = f"the weights are not under the name that transformers loads ({WEIGHTS}): {', '.join(others)}"
        hint = f"Rename the file of the whole model to {WEIGHTS}."
    return ModelError(what, where=str(folder), hint=hint)


def _is_name(value: object) -> bool:
    """Whether a value of an index names a safetensors file in the same folder."""
    return isinstance(value, str) and value.endswith(".safetensors") and Path(value).name == value
