"""Every criterion in small training runs, against the same run written out naively."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sdp.pruning.criteria import CRITERIA, Criterion, Setup
from sdp.pruning.criteria.l0 import RATE, START
from sdp.pruning.fisher import obs_group_scores, obs_group_update
from sdp.pruning.hard_concrete import BETA, GAMMA, ZETA
from sdp.pruning.masked_weights import STATE_FILE, MaskedWeights
from sdp.pruning.masks import Masks, kept_count, select_masks
from sdp.recipe.pruning import PruneSection

NAMES = {
    role: f"encoder.layer.0.{role}.weight"
    for role in (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    )
}
UPDATES = {3: 0.3, 6: 0.5, 9: 0.75}
STEPS = 12
SIZE = 6 * 64


class Run:
    """A linear regression on each matrix, with SGD and momentum, so that what is not held at zero moves."""

    def __init__(self, kind: str, **setup: int | str) -> None:
        generator = torch.Generator().manual_seed(0)
        self.weights = {name: nn.Parameter(torch.randn(8, 8, generator=generator)) for name in NAMES.values()}
        self.inputs = torch.randn(STEPS, 16, 8, generator=generator)
        self.targets = torch.randn(STEPS, 16, 8, generator=generator)
        settings = PruneSection.model_validate({"criterion": kind, "scope": "global", **setup})
        self.criterion: Criterion = CRITERIA[kind](self.weights, Setup(3, tuple(UPDATES), settings))
        self.masked = MaskedWeights(self.weights, self.criterion)
        self.optimizer = torch.optim.SGD(self.weights.values(), lr=0.05, momentum=0.9, weight_decay=0.1)

    def forward_backward(self, step: int) -> None:
        self.optimizer.zero_grad()
        self.masked.before_forward(step)
        for index, weight in enumerate(self.weights.values()):
            loss = (self.inputs[step - 1] @ weight.T - self.targets[step - 1] * (index + 1)).square().mean()
            loss.backward()

    def finish(self, step: int, scope: str = "layer") -> None:
        self.masked.after_backward(step)
        self.optimizer.step()
        self.masked.after_optimizer_step()
        if step in UPDATES:
            masks = select_masks(self.masked.scores(), UPDATES[step], scope)
            self.masked.set(masks, last=step == max(UPDATES))

    def steps(self, first: int = 1, last: int = STEPS) -> Run:
        for step in range(first, last + 1):
            self.forward_backward(step)
            self.finish(step)
        return self


def tensors(masks: Masks) -> torch.Tensor:
    return torch.cat([mask.reshape(-1) for mask in masks.values()])


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("kind", CRITERIA)
def test_sparsity_is_exact_and_pruned_weights_are_zero_after_every_step(kind: str, scope: str) -> None:
    run = Run(kind)
    wanted, before = 0.0, tensors(run.masked.masks)
    for step in range(1, STEPS + 1):
        run.forward_backward(step)
        assert not tensors(run.weights)[~before].count_nonzero(), "the forward pass sees zeros"
        run.finish(step, scope)
        wanted = UPDATES.get(step, wanted)
        kept = tensors(run.masked.masks)
        expected = kept_count(SIZE, wanted) if scope == "global" else 6 * kept_count(SIZE // 6, wanted)
        assert int(kept.sum()) == expected
        assert not tensors(run.weights)[~kept].count_nonzero()
        assert tensors(run.weights)[kept].count_nonzero()
        if kind not in ("movement", "l0"):
            assert not (kept & ~before).any(), "masks only shrink"
        before = kept


@pytest.mark.parametrize("kind", CRITERIA)
@pytest.mark.parametrize("stop", [0, 2, 5, 6, 8, 9, 10])
def test_a_run_continued_from_disk_is_the_unbroken_one(kind: str, stop: int, tmp_path: Path) -> None:
    unbroken, first, second = Run(kind).steps(), Run(kind).steps(last=stop), Run(kind)
    first.masked.save(tmp_path)
    assert (tmp_path / STATE_FILE).exists() == (stop < max(UPDATES)), "nothing is stored that is not needed any more"
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    with torch.no_grad():
        for name, weight in second.weights.items():
            weight.copy_(first.weights[name])
    second.masked.load(tmp_path)
    second.steps(first=stop + 1)
    assert torch.equal(tensors(second.masked.masks), tensors(unbroken.masked.masks))
    assert torch.equal(tensors(second.weights), tensors(unbroken.weights))


@pytest.mark.parametrize("kind", CRITERIA)
def test_what_comes_from_disk_goes_where_the_weights_are(kind: str) -> None:
    """Files are read onto the CPU; the weights of a run on a GPU are elsewhere."""
    state = Run(kind).steps(last=2).criterion.state()
    weights = {name: nn.Parameter(torch.empty(8, 8, device="meta")) for name in NAMES.values()}
    elsewhere = CRITERIA[kind](weights, Setup(updates=tuple(UPDATES)))
    elsewhere.load_state(state)
    found = elsewhere.state()
    assert found.keys() == state.keys()
    assert {tensor.device.type for name, tensor in found.items() if not name.startswith("adam.step:")} <= {"meta"}


def test_another_seed_is_another_choice_by_chance_and_the_same_one_is_not() -> None:
    chosen = [tensors(select_masks(Run("random").masked.scores(), 0.5, "global")) for _ in range(2)]
    assert torch.equal(*chosen)
    run = Run("random")
    other = CRITERIA["random"](run.weights, Setup(seed=4)).scores(run.masked.masks)
    assert not torch.equal(tensors(select_masks(other, 0.5, "global")), chosen[0])
    values = tensors(run.masked.scores())
    assert ((values >= 0) & (values < 1)).all()
    assert float(values.mean()) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("kind", ["gradient", "taylor", "momentum"])
def test_means_of_gradients_against_float64(kind: str) -> None:
    run = Run(kind)
    means = np.zeros(SIZE)
    for step in range(1, 8):
        run.forward_backward(step)
        # Raw gradients: those of pruned weights are zeroed only after the criterion has seen them.
        gradient = torch.cat([weight.grad.reshape(-1) for weight in run.weights.values()]).double().numpy()
        weight = tensors(run.weights).detach().double().numpy()
        decay = 0.9 if kind == "momentum" else 0.99
        means = decay * means + (1 - decay) * np.abs(gradient if kind == "gradient" else gradient * weight)
        run.finish(step)
    kept = tensors(run.masked.masks).numpy()
    scores = tensors(run.masked.scores()).numpy()
    np.testing.assert_allclose(scores[kept], means[kept], rtol=1e-4)
    assert np.isneginf(scores[~kept]).all()


def test_lookahead_multiplies_by_the_right_rows_and_columns() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = {"intermediate.dense": (12, 6), "output.dense": (6, 12)}
    weights = {
        name: nn.Parameter(torch.randn(shapes.get(role, (6, 6)), generator=generator)) for role, name in NAMES.items()
    }
    of = {role: weights[name].detach().double().numpy() for role, name in NAMES.items()}
    everything = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    scores = CRITERIA["lookahead"](weights, Setup()).scores(everything)
    for role, weight in of.items():
        expected = np.zeros(weight.shape)
        for i, j in np.ndindex(weight.shape):
            neighbour = {
                "attention.self.query": of["attention.self.key"][i % 6],
                "attention.self.key": of["attention.self.query"][i % 6],
                "attention.self.value": of["attention.output.dense"][:, i % 6],
                "attention.output.dense": of["attention.self.value"][j % 6],
                "intermediate.dense": of["output.dense"][:, i],
                "output.dense": of["intermediate.dense"][j],
            }[role]
            expected[i, j] = weight[i, j] ** 2 * sum(float(v) ** 2 for v in neighbour)
        np.testing.assert_allclose(scores[NAMES[role]].numpy(), expected, rtol=1e-5)


def test_movement_against_a_run_with_hidden_weights_and_a_mask_in_the_forward_pass() -> None:
    """W and M kept apart, the mask a factor with a straight-through gradient, as in the paper."""
    run, reference = Run("movement"), Run("movement")
    hidden = {name: weight.detach().clone() for name, weight in reference.weights.items()}
    masks = {name: torch.ones(8, 8) for name in hidden}
    momentum = {name: torch.zeros(8, 8) for name in hidden}
    movement = {name: np.zeros((8, 8)) for name in hidden}
    came_back = False
    for step in range(1, max(UPDATES) + 1):
        run.forward_backward(step)
        run.finish(step)
        for index, name in enumerate(hidden):
            effective = (hidden[name] * masks[name]).requires_grad_()
            loss = (run.inputs[step - 1] @ effective.T - run.targets[step - 1] * (index + 1)).square().mean()
            (gradient,) = torch.autograd.grad(loss, effective)
            movement[name] -= (hidden[name].double() * gradient.double()).numpy()
            kept = masks[name] == 1
            direction = gradient * masks[name] + 0.1 * effective.detach()
            momentum[name] = direction if step == 1 else 0.9 * momentum[name] + direction
            hidden[name] = torch.where(kept, hidden[name] - 0.05 * momentum[name], hidden[name])
        if step in UPDATES:
            for name, score in movement.items():
                keep = kept_count(64, UPDATES[step])
                limit = np.sort(score, axis=None)[::-1][keep - 1]
                following = torch.from_numpy((score >= limit).astype(np.float32))
                came_back |= bool((following > masks[name]).any())
                masks[name] = following
    assert came_back, "the example must show weights that return"
    for name, value in hidden.items():
        assert torch.equal(run.masked.masks[name].float(), masks[name])
        torch.testing.assert_close(run.weights[name].detach(), value * masks[name], rtol=1e-4, atol=1e-6)


def test_l0_gates_against_autograd() -> None:
    """log alpha of one step and the next by autograd through W * z * M and the penalty, with PyTorch's Adam."""
    run = Run("l0")
    masks = {name: torch.rand(8, 8, generator=torch.Generator().manual_seed(9)) > 0.3 for name in run.weights}
    plain = {name: weight.detach().clone() for name, weight in run.weights.items()}
    run.masked.set(masks)
    log_alpha = {name: torch.full((8, 8), START, requires_grad=True) for name in plain}
    adam = torch.optim.Adam(log_alpha.values(), lr=RATE)
    for step in (1, 2):
        run.forward_backward(step)
        for index, (name, weight) in enumerate(run.weights.items()):
            kept = masks[name] & (plain[name] != 0)
            z = torch.where(kept, weight.detach() / plain[name], 0.0)
            assert ((z >= 0) & (z <= 1 + 1e-6)).all()
            assert not weight.detach()[~masks[name]].count_nonzero()
            # The noise that gave these gates; for closed and fully open gates and pruned weights the criterion's own.
            gates = run.criterion._gates[name]
            torch.testing.assert_close(gates[kept], z[kept])
            between = (gates > 0) & (gates < 1)
            logit = torch.logit((gates - GAMMA) / (ZETA - GAMMA)) * BETA - log_alpha[name].detach()
            drawn = torch.clamp(torch.sigmoid((logit + log_alpha[name]) / BETA) * (ZETA - GAMMA) + GAMMA, 0, 1)
            through = torch.where(between, drawn, gates)
            effective = plain[name] * through
            straight = effective + (effective * masks[name] - effective).detach()
            loss = (run.inputs[step - 1] @ straight.T - run.targets[step - 1] * (index + 1)).square().mean()
            open_gates = torch.sigmoid(log_alpha[name] - BETA * math.log(-GAMMA / ZETA)).sum() / SIZE
            (loss + 100.0 * open_gates).backward()
        gradients = {name: weight.grad.clone() for name, weight in run.weights.items()}
        gates = {name: run.criterion._gates[name] for name in plain}
        adam.step()
        adam.zero_grad()
        run.masked.after_backward(step)
        for name, weight in run.weights.items():
            # Adam hides the size of a gradient in log alpha; its own mean does not.
            mean = run.criterion._adam.state[run.criterion.scores(masks)[name]]["exp_avg"]
            torch.testing.assert_close(mean, adam.state[log_alpha[name]]["exp_avg"], rtol=1e-3, atol=1e-6)
            torch.testing.assert_close(
                run.criterion.scores(masks)[name], log_alpha[name].detach(), rtol=1e-4, atol=1e-4
            )
            torch.testing.assert_close(weight.grad, gradients[name] * gates[name] * masks[name])
        run.optimizer.step()
        run.masked.after_optimizer_step()
        for name, weight in run.weights.items():
            mean = torch.clamp(torch.sigmoid(run.criterion.scores(masks)[name]) * (ZETA - GAMMA) + GAMMA, 0, 1)
            value = run.criterion._plain[name]
            torch.testing.assert_close(weight.detach(), value * mean * masks[name])
            assert torch.equal(value[~masks[name]], plain[name][~masks[name]]), "pruned weights keep their value"
            assert not torch.equal(value[masks[name]], plain[name][masks[name]])
            plain[name] = value.clone()


def test_l0_gates_are_drawn_anew_in_each_step_and_once_for_accumulated_batches() -> None:
    run = Run("l0")
    run.masked.before_forward(1)
    first = tensors(run.weights).detach().clone()
    run.masked.before_forward(1)
    assert torch.equal(tensors(run.weights), first)
    run.forward_backward(1)
    assert torch.equal(tensors(run.weights), first)
    run.finish(1)
    run.masked.before_forward(2)
    assert not torch.equal(tensors(run.weights), first)


def test_weights_that_l0_pruned_may_come_back_with_their_value() -> None:
    run = Run("l0").steps(last=3)
    name = next(iter(run.weights))
    pruned = ~run.masked.masks[name]
    value = run.criterion._plain[name].clone()
    run.masked.set({**run.masked.masks, name: pruned})
    assert run.weights[name][pruned].count_nonzero()
    mean = torch.clamp(torch.sigmoid(run.criterion.scores({})[name]) * (ZETA - GAMMA) + GAMMA, 0, 1)
    torch.testing.assert_close(run.weights[name].detach(), value * mean * pruned)


def test_obert_keeps_the_gradients_before_an_update_and_moves_the_kept_weights() -> None:
    run = Run("obert", fisher_gradients=2)
    stored = []
    for step in range(1, 10):
        run.forward_backward(step)
        run.masked.after_backward(step)
        stored.append(len(run.criterion.state()) // len(run.weights))
        run.optimizer.step()
        run.masked.after_optimizer_step()
        if step in UPDATES:
            before = {name: weight.detach().clone() for name, weight in run.weights.items()}
            old = run.masked.masks
            run.masked.set(select_masks(run.masked.scores(), UPDATES[step], "layer"), last=step == 9)
            for name, mask in run.masked.masks.items():
                assert not torch.equal(before[name] * mask, run.weights[name]), "the kept weights make up for it"
                assert not run.weights[name][~old[name]].count_nonzero()
    assert stored == [0, 1, 2, 0, 1, 2, 0, 1, 2]


def test_obert_removes_blocks_of_four_by_the_score_of_the_block() -> None:
    run = Run("obert", pattern="1x4", fisher_gradients=3)
    for step in range(1, 4):
        run.forward_backward(step)
        run.masked.after_backward(step)
    stored = run.criterion.state()
    before = {name: weight.detach().clone() for name, weight in run.weights.items()}
    scores = run.masked.scores()
    run.masked.set(select_masks(scores, 0.5, "layer", "1x4"))
    for name, mask in run.masked.masks.items():
        gradients = torch.stack([stored[f"gradient.{index}:{name}"].reshape(-1) for index in range(3)])
        rises = obs_group_scores(before[name], gradients, 4)
        assert torch.equal(scores[name].unflatten(1, (-1, 4)).sum(dim=2), rises)
        kept = mask.unflatten(1, (-1, 4))[..., 0]
        assert int(kept.sum()) == 8
        assert rises[kept].min() >= rises[~kept].max()
        expected = (before[name] + obs_group_update(before[name], gradients, mask)) * mask
        torch.testing.assert_close(run.weights[name].detach(), expected)
        assert not torch.equal(before[name] * mask, run.weights[name])
