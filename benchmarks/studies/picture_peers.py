"""The peers of the picture: other engines' files of the dense model and of one with fewer heads and neurons, their
score on test, and their processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
from safetensors.numpy import load_file

from picture_measure import Engine
from picture_points import IN_PEERS, THREADS, Family, Point
from sdp.data.batches import Collator, TokenizedSplit
from sdp.data.rows import TaskData
from sdp.evaluation.on_split import compare_models
from sdp.evaluation.predict import Network, model_inputs, onnx_network, predict_logits
from sdp.models.load import load_finetuned
from sdp.models.tokenizer import saved_tokenizer
from sdp.pipeline.artifacts.comparison import Comparison, Models
from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.stages import EVALUATE, FINETUNE
from sdp.recipe.sections import Recipe
from sdp.stages.evaluate import PREDICTIONS
from sdp.training.inputs import finetuned_data, tokenize_split
from sdp_onnx.bench.cases import Case
from sdp_onnx.bench.process import Worker
from sdp_onnx.deploy.tokenization import TextTokenizer
from sdp_onnx.export.encode import encode_model
from sdp_onnx.export.torch_export import export_torch
from sdp_onnx.runtimes.base import RuntimeName
from sdp_onnx.runtimes.openvino_int8 import quantize
from sdp_onnx.runtimes.registry import DEFAULT, RUNTIMES

PEERS = Path(__file__).parents[1] / "peers"
TITLES = {
    "ort-fp32": "onnxruntime fp32",
    "ort-int8": "onnxruntime int8",
    "openvino-int8": "OpenVINO int8",
}
IN_ENGINES: Family = "structured in other engines"
# Rows that NNCF sees, of the training rows; as many as it takes by default.
CALIBRATION_ROWS = 300

Scores = dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class Task:
    """The dense run of a task, and its rows of the evaluation split."""

    recipe: Recipe
    run: RunFolder
    data: TaskData
    tokenizer: TextTokenizer
    rows: TokenizedSplit

    @classmethod
    def of(cls, recipe: Recipe, run: RunFolder) -> Self:
        """Read the rows of a run that is fine-tuned."""
        data = finetuned_data(recipe, run)
        tokenizer = saved_tokenizer(run.stage(FINETUNE.folder))
        return cls(
            recipe, run, data, tokenizer, tokenize_split(data.evaluation(recipe.evaluate.split), tokenizer, recipe)
        )

    def sample(self, count: int) -> Case:
        """A fixed sample of the rows, one in each batch, at their own lengths."""
        return _case(self.rows, count, self.tokenizer)

    def calibration(self) -> Case:
        """A fixed sample of the training rows."""
        rows = tokenize_split(self.data.train, self.tokenizer, self.recipe)
        return _case(rows, CALIBRATION_ROWS, self.tokenizer)

    def scores(self, network: Network) -> Scores:
        """Score a network on the rows, as the export stage scores its file."""
        recipe = self.recipe
        split = self.data.evaluation(recipe.evaluate.split)
        logits = predict_logits(network, self.rows, Collator(self.tokenizer), recipe.evaluate.batch_size)
        dense = load_file(self.run.stage(EVALUATE.folder) / PREDICTIONS)["dense"]
        return scores_of(
            compare_models(recipe, self.data, split, self.rows, ("dense", dense), ("file", logits)), "file"
        )


def scores_of(found: Comparison, model: str) -> Scores:
    """A model's scores with their intervals: on the whole split, or on English and the mean of the other languages."""
    places: dict[str, Models] = {found.split: found.models}
    if "zero-shot" in found.averages:
        places = {"en": found.parts["en"].models, "zero-shot average": found.averages["zero-shot"].models}
    return {place: models[model].to_json() for place, models in places.items()}


def _case(rows: TokenizedSplit, count: int, tokenizer: TextTokenizer) -> Case:
    chosen = np.random.default_rng(0).permutation(len(rows))[:count].tolist()
    collator, names = Collator(tokenizer), list(tokenizer.inputs)
    return Case("task lengths", 1, None, [model_inputs(rows, [row], collator, names) for row in chosen])


@dataclass(frozen=True)
class Peer:
    """A peer: its file and score, how a process with it starts on a file of inputs, and versions of what runs it."""

    name: str
    title: str
    family: Family
    file: Path
    scores: Scores
    start: Callable[[Path], AbstractContextManager[Engine]]
    versions: dict[str, str] = field(default_factory=dict)


def make_peers(task: Task, folder: Path, structured: Mapping[Point, Path]) -> list[Peer]:
    """Make and score what is missing of the peers, and of the int8 files of networks with fewer heads and neurons.

    Args:
        task: the task.
        folder: where they are kept, of this dense model.
        structured: points with fewer heads and neurons, and their files in fp32. Each is quantized by sdp, and one of
            them by the other engines as well.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dense = folder / "dense.onnx"
    _make(dense, lambda target: _export(task, target))
    peers = [_peer(task, "ort-fp32", dense), *_int8_peers(task, dense, folder)]
    for point, file in structured.items():
        own = folder / point.name
        own.mkdir(exist_ok=True)
        quantized = own / "sdp-int8.onnx"
        _make(quantized, partial(_quantize, file))
        ours = _peer(task, "sdp-int8", quantized)
        peers.append(replace(ours, name=f"{point.name}-int8", title=point.title, family="structured, int8"))
        if point.name == IN_PEERS:
            for peer in _int8_peers(task, file, own):
                name, title = f"{point.name}-{peer.name}", f"{point.title}, {peer.title}"
                peers.append(replace(peer, name=name, title=title, family=IN_ENGINES))
    return peers


def _int8_peers(task: Task, source: Path, folder: Path) -> Iterator[Peer]:
    quantized = folder / "ort-int8.onnx"
    script = str(PEERS / "peers_onnxruntime.py")
    _make(quantized, lambda target: subprocess.run([sys.executable, script, source, target], check=True))
    yield _peer(task, "ort-int8", quantized)
    if has_openvino():
        model = folder / "openvino-int8.xml"
        if not model.exists():
            quantize(source, task.calibration(), model)
        yield _peer(task, "openvino-int8", model, "openvino")


def has_openvino() -> bool:
    """Whether the extra `openvino` is installed."""
    return bool(RUNTIMES["openvino"].environment()["packages"])


def _peer(task: Task, name: str, file: Path, runtime: RuntimeName = DEFAULT) -> Peer:
    def score() -> Scores:
        return task.scores(onnx_network(RUNTIMES[runtime].load(file)))

    scores = _scored(file.with_name(f"{name}.json"), score)
    versions = RUNTIMES[runtime].environment()["packages"]
    return Peer(name, TITLES.get(name, name), "peer", file, scores, partial(process, file, runtime=runtime), versions)


def _quantize(source: Path, target: Path) -> None:
    encode_model(source, target, encoding="kernel", precision="int8", metadata={})


def _make(target: Path, make: Callable[[Path], object]) -> None:
    """Write a file that is missing; under another name first, so that a build that was cut leaves none by its name."""
    if not target.exists():
        unfinished = target.with_name(f"unfinished-{target.name}")
        make(unfinished)
        unfinished.replace(target)


def _export(task: Task, target: Path) -> None:
    model = load_finetuned(task.run.stage(FINETUNE.folder))
    export_torch(model, target, input_names=task.tokenizer.inputs, opset=task.recipe.export.opset)


def _scored(file: Path, score: Callable[[], Scores]) -> Scores:
    """The scores in a file, which is written first where it is missing."""
    _make(file, lambda target: target.write_text(json.dumps(score()), encoding="utf-8"))
    scores: Scores = json.loads(file.read_text(encoding="utf-8"))
    return scores


@contextmanager
def process(file: Path, inputs: Path, runtime: RuntimeName = DEFAULT) -> Iterator[Engine]:
    """A process with a file that a runtime runs, sdp's own among them."""
    with Worker(file, inputs, provider="cpu", threads=THREADS, runtime=runtime) as worker:
        worker.load()
        yield worker
