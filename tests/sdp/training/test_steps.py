"""Steps as transformers' own Trainer counts them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import Trainer, TrainingArguments

from sdp.recipe.sections import FinetuneSection
from sdp.training.steps import optimizer_steps, passes


class Toy(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": (self.weight * x.float()).mean()}


@pytest.mark.parametrize(("rows", "batch", "epochs"), [(10, 4, 2), (12, 4, 3), (1, 32, 1), (7, 1, 2)])
def test_against_trainer(rows: int, batch: int, epochs: int, tmp_path: Path) -> None:
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        num_train_epochs=epochs,
        per_device_train_batch_size=batch,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = Trainer(Toy(), arguments, train_dataset=[{"x": index} for index in range(rows)])
    trainer.train()
    assert trainer.state.global_step == optimizer_steps(rows, FinetuneSection(epochs=epochs, batch_size=batch))


def test_parts_of_an_epoch_are_rounded_up() -> None:
    assert optimizer_steps(100, FinetuneSection(epochs=0.25, batch_size=10)) == 3
    assert optimizer_steps(5, FinetuneSection(epochs=0.01, batch_size=10)) == 1


def test_steps_stand_in_place_of_epochs() -> None:
    settings = FinetuneSection(epochs=3, steps=25, batch_size=10)
    assert optimizer_steps(95, settings) == 25
    assert passes(95, settings) == 2.5
    assert passes(95, FinetuneSection(epochs=3, batch_size=10)) == 3
