"""The importance of units, against gradients of masks that are written out, row by row."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sdp.models.units import Part, find_parts
from sdp.pipeline.progress import Reporter
from sdp.pruning.structured.measures import drawn_log_likelihood, measure_units
from support.tiny_models import tiny_model

QUIET = Reporter(quiet=True)


def batches() -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([[9], [4], [1]])
    mask = (torch.arange(9) < lengths).long()
    return [
        {
            "input_ids": torch.where(mask == 1, torch.randint(5, 40, (3, 9), generator=generator), 1),
            "attention_mask": mask,
            "labels": torch.zeros(3, dtype=torch.long),
        }
        for _ in range(2)
    ]


def multiplied_by(mask: Tensor) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor]]:
    return lambda _module, given: (given[0] * mask,)


def expected_importance(model: PreTrainedModel, parts: tuple[Part, ...], seed: int) -> dict[str, Tensor]:
    """The mean over rows of the squared gradient of each unit's mask."""
    generator = torch.Generator().manual_seed(seed)
    squares = {part.name: torch.zeros(part.units, dtype=torch.float64) for part in parts}
    for batch in batches():
        # Labels are drawn for the batch at once: the rows of one batch follow each other.
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        state = generator.get_state()
        drawn_log_likelihood(logits, batch["attention_mask"], generator)
        after = generator.get_state()
        for row in range(3):
            masks = {part.name: torch.ones(part.units, dtype=torch.float64, requires_grad=True) for part in parts}
            hooks = []
            for part in parts:
                width = torch.zeros(part.columns.numel(), dtype=torch.float64)
                spread = width.index_add(
                    0, part.columns.flatten(), masks[part.name].repeat_interleave(part.columns.shape[1])
                )
                layer = model.get_submodule(part.output.removesuffix(".weight"))
                hooks.append(layer.register_forward_pre_hook(multiplied_by(spread)))
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            generator.set_state(state)
            own = torch.zeros(3, dtype=torch.float64)
            own[row] = 1
            # Only this row's likelihood: the others' gradients are multiplied by zero.
            likelihood = drawn_log_likelihood(only(logits, row), batch["attention_mask"], generator)
            likelihood.backward()
            for hook in hooks:
                hook.remove()
            for part in parts:
                gradient = masks[part.name].grad
                assert gradient is not None
                squares[part.name] += gradient.square()
        generator.set_state(after)
    return {name: total / 6 for name, total in squares.items()}


def only(logits: Tensor, row: int) -> Tensor:
    """The same logits, of which one row alone has a gradient."""
    mine = torch.zeros(len(logits), *[1] * (logits.dim() - 1), dtype=torch.bool)
    mine[row] = True
    return torch.where(mine, logits, logits.detach())


@pytest.mark.parametrize("labels", [1, 2, 5])
@pytest.mark.parametrize("kind", ["bert", "distilbert", "modernbert", "albert"])
def test_importance_is_the_squared_gradient_of_a_mask(kind: str, labels: int) -> None:
    model = tiny_model(kind, num_labels=labels).double()
    model.train()
    parts = find_parts(model)
    before = {name: (own.requires_grad, own.clone()) for name, own in model.named_parameters()}
    measured = measure_units(model, parts, batches(), 7, QUIET)

    assert model.training
    for name, parameter in model.named_parameters():
        assert parameter.grad is None
        assert parameter.requires_grad == before[name][0]
        assert torch.equal(parameter, before[name][1])
    model.eval()
    for name, wanted in expected_importance(model, parts, 7).items():
        torch.testing.assert_close(measured[name].importance, wanted, rtol=1e-6, atol=1e-12)
        assert bool((wanted > 0).all())


def test_several_labels_are_drawn_one_by_one() -> None:
    """The gradient of a Bernoulli log-likelihood by its logit is what was drawn less its probability."""
    logits = torch.tensor([[0.3, -2.0, 5.0], [-0.1, 0.0, 1.0]], dtype=torch.float64).requires_grad_()
    mask = torch.ones(2, 4)
    drawn = drawn_log_likelihood(logits, mask, torch.Generator().manual_seed(1), multi_label=True)
    drawn.backward()
    yes = logits.grad + logits.detach().sigmoid()
    torch.testing.assert_close(yes, yes.round())
    expected = torch.bernoulli(logits.detach().sigmoid(), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(yes.round(), expected)
    kinds = {"problem_type": "multi_label_classification"}
    model = tiny_model("bert", num_labels=3, **kinds).double().eval()
    measured = measure_units(model, find_parts(model), batches(), 3, QUIET)
    other = measure_units(tiny_model("bert", num_labels=3).double().eval(), find_parts(model), batches(), 3, QUIET)
    assert any(not torch.equal(measured[name].importance, other[name].importance) for name in measured)


def test_squared_gradients_of_a_vector_add_up_over_its_values() -> None:
    """The mean over drawn signs is the Fisher information of a mask, the sum of the squares of its gradients."""
    slopes, mask = torch.tensor([[0.5, -2.0, 1.0]]), torch.ones((), requires_grad=True)
    generator = torch.Generator().manual_seed(0)
    squares = []
    for _ in range(4000):
        likelihood = drawn_log_likelihood(mask * slopes, torch.ones(1, 1), generator, vectors=True)
        (slope,) = torch.autograd.grad(likelihood, mask)
        squares.append(float(slope) ** 2)
    assert sum(squares) / len(squares) == pytest.approx(float(slopes.square().sum()), rel=0.05)


def test_tagging_draws_a_label_for_each_token() -> None:
    model = tiny_model("bert", tagger=True, num_labels=3).double().eval()
    parts = find_parts(model)
    measured = measure_units(model, parts, batches(), 3, QUIET)
    for name, wanted in expected_importance(model, parts, 3).items():
        torch.testing.assert_close(measured[name].importance, wanted, rtol=1e-6, atol=1e-12)


def test_the_gram_matrix_is_of_the_real_tokens() -> None:
    model = tiny_model("bert").double().eval()
    parts = find_parts(model)
    measured = measure_units(model, parts, batches(), 0, QUIET)
    for part in parts:
        rows: list[Tensor] = []
        layer = model.get_submodule(part.output.removesuffix(".weight"))
        hook = layer.register_forward_pre_hook(lambda _module, given, rows=rows: rows.append(given[0].detach()))
        for batch in batches():
            model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        hook.remove()
        real = torch.cat([own[batch["attention_mask"].bool()] for own, batch in zip(rows, batches(), strict=True)])
        with_one = torch.cat([real, torch.ones(len(real), 1, dtype=torch.float64)], dim=1)
        torch.testing.assert_close(measured[part.name].gram, with_one.T @ with_one, rtol=1e-4, atol=1e-4)
