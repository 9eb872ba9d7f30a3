"""Finding a model, in depth: odd names, links out of a package, half a hub cache, every file of an identity."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sdp.errors import ModelError, NotDownloadedError
from sdp.models.source import ModelFolder, locate_model
from sdp.recipe.sections import ModelSection

FILES = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": b"weights"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def model_folder(folder: Path, without: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in FILES.items():
        if name != without:
            (folder / name).write_bytes(content)
    return folder


def locate(name: str | Path, *, download: bool = True) -> ModelFolder:
    return locate_model(ModelSection(name=str(name)), download=download)


def refused(name: str | Path, *, download: bool = True) -> ModelError:
    with pytest.raises(ModelError) as caught:
        locate(name, download=download)
    return caught.value


# Folders


@pytest.mark.parametrize("download", [True, False])
def test_a_folder(tmp_path: Path, download: bool) -> None:
    folder = locate(model_folder(tmp_path), download=download)
    assert folder.path == tmp_path
    assert folder.weight_files == [tmp_path / "model.safetensors"]


def test_shards_are_all_weight_files(tmp_path: Path) -> None:
    model_folder(tmp_path, without="model.safetensors")
    shards = [tmp_path / f"model-0000{index}-of-00002.safetensors" for index in (1, 2)]
    for shard in shards:
        shard.write_bytes(b"")
    index = {"weight_map": {"a": shards[0].name, "b": shards[1].name, "c": shards[0].name}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert locate(tmp_path).weight_files == shards


OTHERS = ("model.fp16.safetensors", "consolidated.safetensors", "masks.safetensors")


def test_what_transformers_does_not_load_is_not_read(tmp_path: Path) -> None:
    """It was counted in the parts of the model, and its hash was an input."""
    before = locate(model_folder(tmp_path)).identity()
    for name in (*OTHERS, "model-00001-of-00002.safetensors"):
        (tmp_path / name).write_bytes(b"other")
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    folder = locate(tmp_path)
    assert folder.weight_files == [tmp_path / "model.safetensors"]
    assert {name for name in folder.identity() if name.endswith(".safetensors")} == {"model.safetensors"}
    (tmp_path / "model.safetensors.index.json").unlink()
    assert folder.identity() == before


def test_weights_that_the_config_names(tmp_path: Path) -> None:
    model_folder(tmp_path)
    (tmp_path / "own.safetensors").write_bytes(b"")
    (tmp_path / "config.json").write_text('{"transformers_weights": "own.safetensors"}')
    assert locate(tmp_path).weight_files == [tmp_path / "own.safetensors"]
    (tmp_path / "config.json").write_text('{"transformers_weights": "../own.safetensors"}')
    assert "are not under the name" in refused(tmp_path).what


@pytest.mark.parametrize("name", OTHERS)
def test_weights_under_another_name_are_refused(tmp_path: Path, name: str) -> None:
    model_folder(tmp_path, without="model.safetensors")
    (tmp_path / name).write_bytes(b"")
    error = refused(tmp_path)
    assert name in error.what
    assert error.hint == "Rename the file of the whole model to model.safetensors."
    (tmp_path / name).rename(tmp_path / "model.safetensors")
    assert locate(tmp_path).weight_files


def test_parts_without_an_index_are_refused(tmp_path: Path) -> None:
    model_folder(tmp_path, without="model.safetensors")
    shard, index = tmp_path / "model-00001-of-00001.safetensors", tmp_path / "model.safetensors.index.json"
    shard.write_bytes(b"")
    assert "without their index" in refused(tmp_path).what
    for content in ("", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": "../x.safetensors"}}'):
        index.write_text(content)
        assert "not an index" in refused(tmp_path).what
    index.write_text('{"weight_map": {"a": "gone.safetensors"}}')
    assert "names gone.safetensors, which is not in the folder" in refused(tmp_path).what


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"])
@pytest.mark.parametrize("without", ["", "model.safetensors", "config.json"])
def test_an_adapter_is_refused(tmp_path: Path, name: str, without: str) -> None:
    """It was counted in the parts of the model, and not applied."""
    model_folder(tmp_path, without)
    (tmp_path / name).write_text("{}")
    for download in (True, False):
        error = refused(tmp_path, download=download)
        assert f"a PEFT adapter ({name})" in error.what
        assert "merge_and_unload()" in error.hint
        assert ("weights beside it" in error.hint) is (without != "model.safetensors")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "tf_model.h5", "flax_model.msgpack"])
def test_pickled_weights_alone_are_refused(tmp_path: Path, name: str) -> None:
    model_folder(tmp_path, without="model.safetensors")
    (tmp_path / name).write_bytes(b"")
    error = refused(tmp_path)
    assert name in error.what
    assert "save_pretrained" in error.hint


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert "no such model folder" in refused(tmp_path / "gone").what
    (tmp_path / "file").write_text("")
    assert "no such model folder" in refused(tmp_path / "file").what


# Packages


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package on sys.path with two folders, of which one holds a model; importing it would fail."""
    root = tmp_path / "site" / "fake_weights_for_sdp"
    model_folder(root / "model")
    model_folder(tmp_path / "site" / "neighbour")
    (root / "other").mkdir()
    (root / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(root.parent))
    return root


@pytest.mark.parametrize("name", ["fake_weights_for_sdp", "fake-weights-for-sdp"])
def test_a_folder_in_a_package_which_is_not_imported(package: Path, name: str) -> None:
    folder = locate(f"package:{name}/model", download=False)
    assert folder.path == package / "model"
    assert folder.name == f"package:{name}/model"
    assert "fake_weights_for_sdp" not in sys.modules


@pytest.mark.parametrize("inner", ["../neighbour", "model/../../neighbour", "../fake_weights_for_sdp_gone", "//tmp"])
def test_no_way_out_of_the_package(package: Path, inner: str) -> None:
    error = refused(f"package:fake_weights_for_sdp/{inner}")
    assert "has no folder" in error.what
    assert error.hint == "Its folders: model, other."


def test_no_way_out_by_a_link(package: Path) -> None:
    (package / "link").symlink_to(package.parent / "neighbour")
    assert "has no folder" in refused("package:fake_weights_for_sdp/link").what


def test_a_folder_of_a_package_is_checked_too(package: Path) -> None:
    assert "no config.json" in refused("package:fake_weights_for_sdp/other").what
    assert "has no folder" in refused("package:fake_weights_for_sdp/modle").what


@pytest.mark.parametrize("name", ["no_such_package_at_all", "sys", "json.decoder", "", "../x", "a b"])
def test_a_package_that_is_not_installed(name: str) -> None:
    assert "is not installed" in refused(f"package:{name}/model").what


def test_what_to_install() -> None:
    assert "the import name no_such_package_at_all" in refused("package:no_such_package_at_all/model").hint


# The hub


def test_a_model_of_the_hub_that_cannot_be_reached() -> None:
    error = refused("some-org/some-model-that-is-nowhere")
    assert not isinstance(error, NotDownloadedError)
    assert "hub cannot be reached" in error.what
    assert error.where == 'model.name = "some-org/some-model-that-is-nowhere"'


def test_a_model_that_is_not_to_be_downloaded() -> None:
    assert isinstance(refused("some-org/some-model-that-is-nowhere", download=False), NotDownloadedError)


@pytest.mark.parametrize("name", ["a/b/c", "has space", "-x", "a..b", "org/", "models/my model"])
@pytest.mark.parametrize("download", [True, False])
def test_what_can_be_no_model_is_never_a_later_download(name: str, download: bool) -> None:
    error = refused(name, download=download)
    assert not isinstance(error, NotDownloadedError)
    assert "neither a folder" in error.what


def hub_cache(folder: Path, without: str = "") -> Path:
    repository = folder / "models--org--name"
    snapshot = model_folder(repository / "snapshots" / COMMIT, without)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return snapshot


def in_cache(cache: Path, code: str) -> str:
    """Run code in a process whose hub cache is this folder (huggingface_hub reads it when it is imported)."""
    program = (
        "from sdp.models.source import locate_model\nfrom sdp.recipe.sections import ModelSection\n"
        "from sdp.errors import ModelError\n"
        f"try:\n    print(locate_model({code}).path)\n"
        "except ModelError as error:\n    print(type(error).__name__, error.what)\n"
    )
    environment = {**os.environ, "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "keys", ["name='org/name'", "name='org/name', revision='main'", f"name='org/name', revision='{COMMIT}'"]
)
def test_a_cached_model_is_found_without_the_hub(tmp_path: Path, keys: str) -> None:
    snapshot = hub_cache(tmp_path)
    assert in_cache(tmp_path, f"ModelSection({keys})") == str(snapshot)


def test_a_cached_model_of_another_revision_is_not(tmp_path: Path) -> None:
    hub_cache(tmp_path)
    assert in_cache(tmp_path, "ModelSection(name='org/name', revision='v2'), download=False").startswith(
        "NotDownloaded"
    )


def test_half_a_cached_model_is_not_downloaded_yet(tmp_path: Path) -> None:
    hub_cache(tmp_path, without="model.safetensors")
    section = "ModelSection(name='org/name')"
    assert in_cache(tmp_path, f"{section}, download=False").startswith("NotDownloadedError")
    assert in_cache(tmp_path, section).startswith("ModelError")


def test_an_adapter_in_the_cache_will_not_become_a_model(tmp_path: Path) -> None:
    (hub_cache(tmp_path, without="model.safetensors") / "adapter_config.json").write_text("{}")
    assert "PEFT adapter" in in_cache(tmp_path, "ModelSection(name='org/name'), download=False")


def test_half_the_parts_are_not_downloaded_yet(tmp_path: Path) -> None:
    index = '{"weight_map": {"a": "model-00001-of-00001.safetensors"}}'
    (hub_cache(tmp_path, without="model.safetensors") / "model.safetensors.index.json").write_text(index)
    assert in_cache(tmp_path, "ModelSection(name='org/name'), download=False").startswith("NotDownloadedError")


@pytest.mark.parametrize("trusted", [True, False])
def test_code_is_downloaded_only_where_it_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    asked: dict[str, list[str]] = {}

    def download(name: str, *, allow_patterns: list[str], **_: object) -> str:
        asked[name] = allow_patterns
        return str(model_folder(tmp_path))

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    locate_model(ModelSection(name="org/name", trust_remote_code=trusted))
    assert ("*.py" in asked["org/name"]) is trusted
    assert not any(pattern.endswith((".bin", ".pt", "*")) for pattern in asked["org/name"])


# Identity


@pytest.mark.parametrize("name", [*FILES, "vocab.txt", "sentencepiece.bpe.model", "modeling_own.py"])
def test_identity_changes_with_a_byte(tmp_path: Path, name: str) -> None:
    folder = locate(model_folder(tmp_path))
    (tmp_path / name).write_bytes(b"content")
    before = folder.identity()
    assert folder.identity() == before
    (tmp_path / name).write_bytes(b"contenT")
    after = folder.identity()
    assert before.keys() == after.keys()
    assert [key for key in before if before[key] != after[key]] == [name]


def test_identity_leaves_out_what_is_not_read(tmp_path: Path) -> None:
    folder = locate(model_folder(tmp_path / "a"))
    before = folder.identity()
    (folder.path / "README.md").write_text("x")
    (folder.path / "pytorch_model.bin").write_text("x")
    (folder.path / "1_Pooling.json").mkdir()
    assert folder.identity() == before
    assert before == locate(model_folder(tmp_path / "b")).identity(), "where it lies does not count"
