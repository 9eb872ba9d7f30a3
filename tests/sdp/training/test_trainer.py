"""Training with masks: pruned weights are exactly zero in every checkpoint, whatever the optimizer remembers."""

from __future__ import annotations

import copy
import gc
import os
import signal
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainingArguments

from sdp.data.batches import Collator, TokenizedSplit, tokenize
from sdp.data.rows import Split
from sdp.errors import StageError, StoppedError
from sdp.losses.objective import Objective
from sdp.losses.task import TaskObjective
from sdp.models.layers import prunable_weights
from sdp.models.load import load_pretrained
from sdp.models.source import ModelFolder
from sdp.models.tokenizer import load_tokenizer
from sdp.pipeline.context import StageContext
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import RunFolder
from sdp.pruning.criteria import Criterion, Setup
from sdp.pruning.distillation import Distillation
from sdp.pruning.mask_updates import MaskUpdates, mask_plan
from sdp.pruning.masked_weights import MaskedWeights
from sdp.pruning.masks import Masks, select_masks
from sdp.pruning.scores import magnitude_scores
from sdp.pruning.teacher import LiveTeacher
from sdp.recipe.losses import CrossCorrelationLoss, KldLoss
from sdp.recipe.pruning import PruneSection
from sdp.recipe.sections import FinetuneSection, Recipe
from sdp.training.callback import discard_checkpoint, last_good_checkpoint
from sdp.training.checkpoints import complete_checkpoints
from sdp.training.hooks import Hook
from sdp.training.run import TrainingRun, train
from sdp.training.trainer import SdpTrainer
from support.toy import toy_rows

CPU = torch.device("cpu")
QUIET = Reporter(quiet=True)
LOSSES = (
    CrossCorrelationLoss(name="cross-correlation", weight=1.0, off_diagonal=0.005),
    KldLoss(name="kld", weight=0.5, temperature=2.0),
)


def recipe(checkpoint_seconds: float) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "x",
            "model": {"name": "m"},
            "task": {"type": "classification"},
            "data": {"train": "t", "dev": "d", "text": ("a",), "label": "l"},
            "runtime": {"checkpoint_seconds": checkpoint_seconds},
        }
    )


@pytest.fixture
def parts(toy_model: Path) -> dict[str, Any]:
    tokenizer = load_tokenizer(toy_model)
    rows = toy_rows(96, seed=1)
    split = Split("train", tuple((t,) for t, _ in rows), np.array([int(k == "pos") for _, k in rows]), ("",) * 96)
    torch.manual_seed(0)
    return {
        "model": load_pretrained(ModelFolder("toy", toy_model), "classification", ("neg", "pos"), CPU),
        "train": TokenizedSplit(tokenize(split.texts, tokenizer, 32), split.labels),
        "collator": Collator(tokenizer),
    }


def run(
    parts: dict[str, Any], folder: Path, evaluate: Callable[[], float] = lambda: 0.0, **options: Any
) -> list[dict[str, Any]]:
    # A high learning rate and decay: what is not held at zero moves.
    options.setdefault("settings", FinetuneSection(epochs=2, batch_size=16, learning_rate=5e-3, weight_decay=0.5))
    options.setdefault("objective", TaskObjective("classification"))
    context = StageContext(recipe(checkpoint_seconds=0), RunFolder(folder), folder, QUIET)
    return train(TrainingRun(title="t", context=context, device=CPU, evaluate=evaluate, **parts, **options))


def test_pruned_weights_are_zero_in_every_checkpoint(
    parts: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    masked = MaskedWeights(prunable_weights(parts["model"]))
    # Keep all checkpoints, not the newest two.
    monkeypatch.setattr("sdp.training.callback.KEPT_CHECKPOINTS", 99)
    settings = PruneSection(sparsity=0.9, scope="layer", mask_updates=3, ramp=0.75)
    sparsities = mask_plan(settings, 12)
    log = run(parts, tmp_path, hooks=(masked, MaskUpdates(settings, 12, masked)))
    assert [record["step"] for record in log if "sparsity" in record] == list(sparsities) == [3, 6, 9]
    checkpoints = sorted(tmp_path.glob("checkpoints/checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    assert len(checkpoints) == 11  # 12 steps; the last one's result is the stage's own
    before: dict[str, torch.Tensor] = {}
    for checkpoint in checkpoints:
        weights, masks = load_file(checkpoint / "model.safetensors"), load_file(checkpoint / "masks.safetensors")
        step = int(checkpoint.name.split("-")[1])
        wanted = max((s for at, s in sparsities.items() if at <= step), default=0.0)
        for name, mask in masks.items():
            assert not weights[name][mask == 0].count_nonzero()
            assert float((mask == 0).float().mean()) == pytest.approx(wanted, abs=1 / mask.numel())
            kept = mask.bool()
            assert name not in before or not torch.equal(before[name][kept], weights[name][kept]), "kept weights train"
        before = weights


@pytest.mark.parametrize(("epoch", "output"), [(1, "a checkpoint was saved"), (2, "done again")])
def test_a_stop_states_what_was_saved(epoch: int, output: str, parts: dict[str, Any], tmp_path: Path) -> None:
    epochs = iter((1, 2))

    def stop_at_the_end_of_an_epoch() -> float:
        if next(epochs) == epoch:
            signal.raise_signal(signal.SIGTERM)
        return 0.0

    with pytest.raises(StoppedError, match=output):
        run(parts, tmp_path, stop_at_the_end_of_an_epoch)
    # Stopped after the first of two epochs of six steps: at the end of the next step.
    newest = last_good_checkpoint(tmp_path / "checkpoints", QUIET)
    assert newest is not None
    assert newest.name == {1: "checkpoint-7", 2: "checkpoint-11"}[epoch]


def test_a_pruned_weight_has_no_gradient(parts: dict[str, Any]) -> None:
    model = parts["model"]
    masked = MaskedWeights(prunable_weights(model))
    masked.set(select_masks(magnitude_scores(masked.weights, masked.masks), 0.5, "global"))
    batch = parts["collator"]([parts["train"][i] for i in range(8)])
    model(**{k: v for k, v in batch.items() if k != "index"}).loss.backward()
    assert all(weight.grad[~masked.masks[name]].count_nonzero() for name, weight in masked.weights.items())
    masked.after_backward(step=1)
    for name, weight in masked.weights.items():
        assert not weight.grad[~masked.masks[name]].count_nonzero()
        assert weight.grad[masked.masks[name]].count_nonzero()


def accumulating(parts: dict[str, Any], folder: Path, masked: MaskedWeights, collator: Any) -> SdpTrainer:
    """A trainer that takes steps of four batches of eight rows."""
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=3,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=4,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        save_strategy="no",
        label_names=["labels"],
        logging_steps=1,
    )
    return SdpTrainer(
        parts["model"],
        arguments,
        objective=TaskObjective("classification"),
        hooks=(masked,),
        train_dataset=parts["train"],
        data_collator=collator,
    )


def test_accumulated_batches_are_one_step_to_a_criterion(parts: dict[str, Any], tmp_path: Path) -> None:
    seen = []

    class Watching(Criterion):
        def observe(self, masks: Masks, step: int) -> None:
            gradients = [weight.grad[~masks[name]] for name, weight in self.weights.items()]
            seen.append((step, all(bool(gradient.count_nonzero()) for gradient in gradients)))

    weights = prunable_weights(parts["model"])
    masked = MaskedWeights(weights, Watching(weights, Setup()))
    masked.set({name: weight.abs() > weight.abs().median() for name, weight in weights.items()})
    norms: list[float] = []
    trainer = accumulating(parts, tmp_path, masked, parts["collator"])
    clip = trainer._clip_grad_norm
    trainer._clip_grad_norm = lambda model: (
        norms.extend(float(w.grad[~masked.masks[n]].abs().sum()) for n, w in weights.items()),
        clip(model),
    )[1]
    trainer.train()
    assert seen == [(1, True), (2, True), (3, True)]
    assert norms == [0.0] * 36, "clipping sees masked gradients"


def test_the_gradient_of_accumulated_batches_is_the_mean_of_theirs(parts: dict[str, Any], tmp_path: Path) -> None:
    model = parts["model"]
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    start, seen, batches = copy.deepcopy(model), {}, []

    class Watching(Criterion):
        def observe(self, masks: Masks, step: int) -> None:
            seen.setdefault(step, {name: weight.grad.clone() for name, weight in self.weights.items()})

    def collator(rows: Any) -> dict[str, torch.Tensor]:
        batches.append(parts["collator"](rows))
        return dict(batches[-1])

    weights = prunable_weights(model)
    trainer = accumulating(parts, tmp_path, MaskedWeights(weights, Watching(weights, Setup())), collator)
    trainer.train()
    losses = [start(**{k: v for k, v in batch.items() if k != "index"}).loss for batch in batches[:4]]
    (sum(losses) / 4).backward()
    for name, weight in prunable_weights(start).items():
        torch.testing.assert_close(seen[1][name], weight.grad, rtol=1e-4, atol=1e-7)
    assert trainer.state.log_history[0]["loss"] == pytest.approx(float(sum(losses).detach()) / 4, rel=1e-4)


def test_a_process_that_sees_two_gpus_trains_on_one(
    parts: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else Trainer makes batches of twice the size, and there are twice the epochs in as many steps."""
    before = TrainingArguments.__post_init__

    def two_gpus(arguments: TrainingArguments) -> None:
        before(arguments)
        arguments._n_gpu = 2

    monkeypatch.setattr(TrainingArguments, "__post_init__", two_gpus)
    sizes: list[int] = []

    def collator(rows: Any) -> dict[str, torch.Tensor]:
        sizes.append(len(rows))
        return parts["collator"](rows)

    run({**parts, "collator": collator}, tmp_path)
    assert sizes == [16] * 12


def test_a_trained_model_is_freed(parts: dict[str, Any], tmp_path: Path) -> None:
    """A study trains many in one process."""
    masked = MaskedWeights(prunable_weights(parts["model"]))
    run(parts, tmp_path, hooks=(masked,))
    known = [weakref.ref(weight) for weight in masked.weights.values()]
    assert all(weight() is not None for weight in known)
    parts.clear()
    del masked
    gc.collect()
    assert all(weight() is None for weight in known)


def test_a_loss_that_is_no_number_stops_the_run(parts: dict[str, Any], tmp_path: Path) -> None:
    with torch.no_grad():
        parts["model"].classifier.weight.fill_(float("nan"))
    with pytest.raises(StageError, match=r"loss became nan at step 1 \(task nan\)"):
        run(parts, tmp_path)


def test_weights_that_are_no_numbers_are_neither_saved_nor_finished(parts: dict[str, Any], tmp_path: Path) -> None:
    weight = parts["model"].classifier.weight

    class Poison(Hook):
        def __init__(self, at: int) -> None:
            self.at = at

        def after_step(self, step: int) -> None:
            if step == self.at:
                weight.data[0, 0] = float("inf")

    with pytest.raises(StageError, match="no finite numbers after step 5") as caught:
        run(parts, tmp_path, hooks=(Poison(5),))
    newest = last_good_checkpoint(tmp_path / "checkpoints", QUIET)
    assert newest is not None
    assert newest.name == "checkpoint-4"
    assert caught.value.where == "classifier.weight"
    assert str(newest) in caught.value.hint
    assert "learning rate" in caught.value.hint
    # Resumed from there; after the last step no loss is computed any more that could show it.
    with pytest.raises(StageError, match="no finite numbers after step 12"):
        run(parts, tmp_path, hooks=(Poison(12),))


def test_a_weight_that_is_no_number_is_not_pruned_away(parts: dict[str, Any], tmp_path: Path) -> None:
    """Its row would be: scores that are no numbers are never the highest, and what is left would train on."""
    masked = MaskedWeights(prunable_weights(parts["model"]))
    settings = PruneSection(sparsity=0.5, mask_updates=3, ramp=0.75)
    name, weight = next(iter(masked.weights.items()))

    class Spoil(MaskUpdates):
        def changes_weights(self, step: int) -> bool:
            if step == 6:
                weight.data[0] = float("nan")
            return super().changes_weights(step)

    with pytest.raises(StageError, match="no finite numbers after step 6") as caught:
        run(parts, tmp_path, hooks=(masked, Spoil(settings, 12, masked)))
    assert caught.value.where == name


@pytest.mark.parametrize("file", ["optimizer.pt", "model.safetensors", "trainer_state.json"])
def test_a_damaged_checkpoint_is_left_out_for_the_one_before(file: str, parts: dict[str, Any], tmp_path: Path) -> None:
    def damage(folder: Path) -> None:
        content = (folder / "checkpoint-6" / file).read_bytes()
        kept = len(content) // 2
        (folder / "checkpoint-6" / file).write_bytes(content[:kept].ljust(len(content), b"?"))

    whole = run({**parts, "model": copy.deepcopy(parts["model"])}, tmp_path / "whole", lambda: 0.5)
    resumed = killed_and_resumed(parts, tmp_path / "resumed", damage)
    assert [record["loss"] for record in resumed if "loss" in record] == [r["loss"] for r in whole if "loss" in r]


def killed_and_resumed(parts: dict[str, Any], folder: Path, kill: Callable[[Path], None]) -> list[dict[str, Any]]:
    """Break off at the end of the first epoch, whose last step has left a checkpoint; then go on. Returns the log."""

    def end() -> float:
        kill(folder / "checkpoints")
        raise KeyboardInterrupt

    first = copy.deepcopy(parts["model"])
    with pytest.raises(KeyboardInterrupt):
        run({**parts, "model": first}, folder, end)
    return run(parts, folder, lambda: 0.5)


def test_a_kill_while_an_epoch_is_evaluated_loses_no_point_of_the_curve(parts: dict[str, Any], tmp_path: Path) -> None:
    whole = run({**parts, "model": copy.deepcopy(parts["model"])}, tmp_path / "whole", lambda: 0.5)
    resumed = killed_and_resumed(parts, tmp_path / "resumed", lambda folder: None)
    assert [record["step"] for record in resumed if "dev" in record] == [6, 12]
    assert [record for record in resumed if "dev" in record] == [record for record in whole if "dev" in record]
    assert len(resumed) == len(whole)


def test_checkpoints_are_kept_by_their_steps_whatever_the_clock_shows(parts: dict[str, Any], tmp_path: Path) -> None:
    def set_back(folder: Path) -> None:
        for checkpoint in folder.iterdir():
            ahead = checkpoint.stat().st_mtime + 1000
            os.utime(checkpoint, (ahead, ahead))

    killed_and_resumed(parts, tmp_path, set_back)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["checkpoint-10", "checkpoint-11"]
    assert [path.name for path in complete_checkpoints(tmp_path / "checkpoints")] == kept


def test_a_checkpoint_that_is_half_removed_counts_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (9, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "complete.json").write_text("{}")
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    discard_checkpoint(tmp_path / "checkpoint-10")
    assert complete_checkpoints(tmp_path) == [tmp_path / "checkpoint-9"]


def test_the_log_holds_every_unweighted_term(parts: dict[str, Any], tmp_path: Path) -> None:
    objective = Objective("classification", LOSSES, 2)
    teacher = LiveTeacher(copy.deepcopy(parts["model"]), objective)
    distillation = Distillation(parts["model"], objective, teacher)
    log = [record for record in run(parts, tmp_path, objective=distillation) if "loss" in record]
    assert len(log) == 12
    for record in log:
        expected = 0.5 * record["task"] + 0.5 * record["kld"] + record["cross-correlation"]
        assert record["loss"] == pytest.approx(expected, rel=1e-4)
    assert len({record["kld"] for record in log}) == 12
