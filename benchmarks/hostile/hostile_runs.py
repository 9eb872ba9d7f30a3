"""Hostile folders: shipped ones, exported ones, models, run folders and their JSON, cells of a study, masks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from random import Random

from hostile_folders import Project, copy, files_below, pick, replace, reseal
from hostile_judge import QuietError, command, strict_json
from hostile_values import SURROGATES, TEXTS, damaged_bytes, damaged_json, text

Use = Callable[[], object]
# A result that `sdp study` wrote.
CELL = next((Path(__file__).parents[1] / "results" / "study").glob("*/cells/*.json"))


def shipped_case(random: Random, folder: Path, project: Project) -> Use:
    """`sdp verify` of a shipped folder with damaged files; half of them with hashes that fit the damage."""
    shipped = copy(project.run / "8-ship", folder / "shipped")
    (shipped / "stage.json").unlink()
    before = _hashes(shipped)
    sealed = random.random() < 0.5
    for _ in range(random.choice([1, 1, 2])):
        path = pick(random, shipped) if not sealed else shipped / random.choice(SEALED)
        kind = random.randrange(8)
        if kind == 0 and not sealed:
            path.unlink()
        elif kind == 1 and not sealed:
            (shipped / random.choice(["more.bin", "inner", "évil\u2028.txt"])).write_bytes(b"x")
        elif kind == 2 and not sealed:
            (folder / "elsewhere").write_bytes(path.read_bytes())
            path.unlink()
            path.symlink_to("../elsewhere")
        elif path.suffix == ".json" and path.exists():
            replace(path, damaged_json(random, path.read_bytes()))
        elif path.exists() and path.suffix != ".so":
            replace(path, damaged_bytes(random, path.read_bytes()))
        elif path.exists():
            # A library that loads runs its code: with hashes that fit, it is trusted.
            replace(path, damaged_bytes(random, path.read_bytes()))
            sealed = False
    if sealed:
        try:
            reseal(shipped)
        except (ValueError, AttributeError, TypeError, RecursionError, OSError):
            sealed = False
    changed = _hashes(shipped) != before
    return lambda: _verify(shipped, fails=changed and not sealed)


SEALED = ("golden.json", "tokenizer.json", "config.json", "manifest.json", "model.onnx", "README.md", "golden.json")


def _verify(shipped: Path, *, fails: bool) -> None:
    code, output = command("verify", shipped, "--json")
    report = strict_json(output)
    if report["ok"] is not (code == 0) or (fails and code == 0):
        raise QuietError("a damaged folder verifies")
    command("verify", shipped)


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): f"{path.is_symlink()} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in files_below(folder)
    }


def predict_case(random: Random, folder: Path, project: Project) -> Use:
    """`sdp predict` with hostile texts, in half of the cases from a damaged folder."""
    exported = copy(project.run / "4-export", folder / "exported")
    if random.random() < 0.5:
        path = exported / random.choice(
            ["config.json", "manifest.json", "tokenizer.json", "tokenizer.json", "model.onnx"]
        )
        damage = damaged_json if path.suffix == ".json" else damaged_bytes
        replace(path, damage(random, path.read_bytes()))
    # Undecodable bytes of an argument come as lone surrogates.
    texts = [
        random.choice([text(random), random.choice(TEXTS), random.choice(SURROGATES)])
        for _ in range(random.choice([1, 1, 1, 2]))
    ]
    return lambda: _predict(exported, [part.replace("\0", "") for part in texts])


def _predict(exported: Path, texts: list[str]) -> None:
    _, output = command("predict", exported, "--json", "--", *texts)
    lines = [strict_json(line) for line in output.removesuffix("\n").split("\n")]
    if len(lines) != len(texts):
        raise QuietError(f"{len(lines)} answers to {len(texts)} texts")
    answers = [word for line in lines for word in (line if isinstance(line, list) else [line])]
    for one in (answer for answer in answers if len(answer) > 1):
        if one["score"] is None and abs(sum(one["probabilities"].values()) - 1) > 1e-6:
            raise QuietError(f"probabilities sum to {sum(one['probabilities'].values())}")
        if one["score"] is None and one["label"] not in one["probabilities"]:
            raise QuietError("the label is no class")


JUDGED = ("4-export/metrics.json", "5-bench/latency.json", "6-gate/verdict.json", "run.json", "4-export/stage.json")
COMPARED = ("4-export/metrics.json", "4-export/rows.json", "4-export/rows.json", "5-bench/latency.json", "run.json")
THRESHOLDS = (
    *("max_metric_drop=0.5", "min_metric=0.1", "max_part_drop=0.5", "max_size_ratio=0.9", "max_size_mb=10.0"),
    *("min_speedup=0.1", "max_latency_ms=1000.0", "max_p99_ms=1000.0", "max_memory_mb=1e5", "min_same_predictions=0.5"),
    *("max_relative_error=0.5",),
)


def gate_case(random: Random, folder: Path, project: Project) -> Use:
    """`sdp gate --no-update` on damaged numbers: what is judged must be numbers."""
    run = copy(project.run, folder / "run")
    (folder / "toy.toml").write_text(project.recipe, encoding="utf-8")
    for name in ("train.tsv", "dev.tsv", "model"):
        (folder / name).symlink_to((project.path / name).resolve())
    owner = json.loads((run / "run.json").read_text(encoding="utf-8"))
    replace(run / "run.json", json.dumps({**owner, "file": "../toy.toml"}).encode())
    for _ in range(random.choice([1, 1, 2])):
        path = run / random.choice(JUDGED)
        replace(path, damaged_json(random, path.read_bytes()))
    settings = [part for threshold in random.sample(THRESHOLDS, 4) for part in ("--set", f"gate.{threshold}")]
    return lambda: _gate(run, settings)


def _gate(run: Path, settings: list[str]) -> None:
    code, output = command("gate", run, "--no-update", "--quiet", "--json", *settings)
    content = strict_json(output)
    if {"pass": 0, "fail": 1, "inconclusive": 3}[content["verdict"]] != code:
        raise QuietError(f"{content['verdict']} ends with {code}")
    if len(content["checks"]) < len(settings) // 2:
        raise QuietError("a threshold was not judged")


def compare_case(random: Random, folder: Path, project: Project) -> Use:
    """`sdp compare` of a run with one whose numbers are damaged, or with a damaged baseline."""
    run = copy(project.run, folder / "run")
    if random.random() < 0.3:
        command("compare", run, "--save", folder / "base.json")
        path = folder / "base.json"
        replace(path, damaged_json(random, path.read_bytes()))
        return lambda: _compare(path, project.run)
    for _ in range(random.choice([1, 1, 2])):
        path = run / random.choice(COMPARED)
        replace(path, damaged_json(random, path.read_bytes()))
    pair = (run, project.run) if random.random() < 0.5 else (project.run, run)
    return lambda: _compare(*pair)


def _compare(before: Path, after: Path) -> None:
    _, output = command("compare", before, after, "--json")
    if not strict_json(output)["rows"]:
        raise QuietError("a comparison of nothing")
    command("compare", before, after)


def model_case(random: Random, folder: Path, project: Project) -> Use:
    """A damaged pretrained model: `sdp check`, then loaded as fine-tuning does."""
    model = copy((project.path / "model").resolve(), folder / "model")
    for _ in range(random.choice([1, 1, 2])):
        path = pick(random, model)
        damage = damaged_json if path.suffix == ".json" else damaged_bytes
        replace(path, damage(random, path.read_bytes()) if path.suffix != ".safetensors" else _header(random, path))
    for name in ("train.tsv", "dev.tsv"):
        (folder / name).symlink_to(project.path / name)
    (folder / "toy.toml").write_text(project.recipe, encoding="utf-8")
    return lambda: _load(folder)


def _header(random: Random, path: Path) -> bytes:
    """A safetensors file whose header is damaged, or its length, or its content."""
    content = path.read_bytes()
    if random.random() < 0.3:
        return damaged_bytes(random, content)
    length = int.from_bytes(content[:8], "little")
    header = damaged_json(random, content[8 : 8 + length])
    output = len(header) if random.random() < 0.8 else random.choice([0, 1, 2**62, len(header) + 1])
    return output.to_bytes(8, "little") + header + content[8 + length :]


def _load(folder: Path) -> None:
    import torch

    from sdp.data.batches import tokenize
    from sdp.data.load import load_task_data
    from sdp.models.inputs import require_embeddings
    from sdp.models.load import load_pretrained
    from sdp.models.source import locate_model
    from sdp.models.tokenizer import load_tokenizer
    from sdp.recipe.load import load_recipe

    command("check", folder / "toy.toml", "--runs", folder / "runs", "--json")
    recipe = load_recipe(folder / "toy.toml")
    located = locate_model(recipe.model)
    tokenizer = load_tokenizer(located.path)
    model = load_pretrained(located, "classification", ("neg", "pos"), torch.device("cpu"))
    if any(not bool(torch.isfinite(parameter).all()) for parameter in model.parameters()):
        raise QuietError("weights that are no finite numbers")
    rows = tokenize(load_task_data(recipe).dev.texts, tokenizer, 32)
    require_embeddings(model, rows, str(located.path))
    # Runs unless a piece has no embedding.
    model(input_ids=torch.tensor([list(rows[0]["input_ids"])[:8]], dtype=torch.int64))


def stored_case(random: Random, folder: Path, project: Project) -> Use:
    """Masks, and the cell of a study: read back as the stages do."""
    from sdp.pruning.masks import FILE_NAME, load_masks

    path = folder / FILE_NAME
    path.write_bytes(_header(random, project.run / "2-prune" / FILE_NAME))
    if random.random() < 0.5:
        return lambda: load_masks(folder)
    return _cell(random, folder, project)


def _cell(random: Random, folder: Path, project: Project) -> Use:
    from sdp.pipeline.progress import Reporter
    from sdp.study.artifacts import CellResult
    from sdp.study.cell import read_cell
    from sdp.study.plan import StudyOptions, open_study, plan_study

    options = StudyOptions(project.path / "toy.toml", ("prune.sparsity=0.5,0.6",), 1, out=folder / "out")
    study = open_study(options, download=False)
    cell = study.grid.cells[0]
    content = json.loads(CELL.read_text(encoding="utf-8"))
    content |= {"key": cell.key, "seed": cell.seed, "inputs": cell.inputs, "settings": {}}
    target = CellResult.path(folder / "out", cell.key)
    target.parent.mkdir(parents=True)
    target.write_bytes(damaged_json(random, json.dumps(content).encode()))

    def use() -> None:
        read_cell(folder / "out", cell, Reporter(quiet=True))
        plan_study(study, Reporter(quiet=True))

    return use
