"""Findings on training and on the machine: learning rate, memory of the teacher, bf16, threads."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sdp.check.facts import Facts, Finding
from sdp.check.forecast import FLOAT_BYTES
from sdp.losses.needs import live_teacher, needs_of, token_bytes
from sdp.recipe.criteria import CRITERIA
from sdp.training.trackers import WHERE, missing_trackers

# A larger share of the memory gets a warning.
_MUCH = 0.5
# Wider encoders than this need a lower learning rate than the default of pruning, which was measured at 384.
_WIDE = 512


def training_findings(facts: Facts) -> Iterator[Finding]:
    """Yield findings on training and on the machine."""
    yield from _threads(facts)
    yield from _bf16(facts)
    yield from _learning_rate(facts)
    yield from _teacher(facts)
    yield from _criterion(facts)
    yield from _repair(facts)
    yield from _first_layers(facts)
    yield from _quantization(facts)
    yield from _trackers(facts)


def _trackers(facts: Facts) -> Iterator[Finding]:
    if missing := missing_trackers(facts.recipe.runtime.report_to):
        what, install = missing
        yield Finding("warning", WHERE, f"{what}; training would fail", f"{install}.")


def _threads(facts: Facts) -> Iterator[Finding]:
    cores, most = facts.machine.cores, max(facts.recipe.bench.thread_counts)
    if most > cores and facts.recipe.bench.provider == "cpu":
        what = f"{most} threads on the {cores} core{'s' * (cores > 1)} of this machine wait for each other: measured "
        what += "latencies would be meaningless"
        yield Finding("warning", "bench.threads", what, f"bench.threads of at most {cores}, or another machine.")


def _bf16(facts: Facts) -> Iterator[Finding]:
    recipe, machine = facts.recipe, facts.machine
    on_cpu = recipe.runtime.device == "cpu" or (recipe.runtime.device == "auto" and not machine.gpu)
    keys = [f"{key}.precision" for key in ("finetune", "prune") if getattr(recipe, key).trains]
    if not on_cpu:
        return
    wrong = "fp32" if machine.bf16 else "bf16"
    slow = [key for key in keys if getattr(recipe, key.partition(".")[0]).precision == wrong]
    if slow and machine.bf16:
        what = "training in fp32, and this CPU has instructions for bf16, which is faster"
        yield Finding("note", ", ".join(slow), what, '"auto".')
    elif slow:
        yield Finding(
            "warning", ", ".join(slow), "this CPU has no instructions for bf16: training is very slow", '"fp32".'
        )


def _learning_rate(facts: Facts) -> Iterator[Finding]:
    prune = facts.recipe.prune
    default = type(prune).model_fields["learning_rate"].default
    if prune.trains and prune.learning_rate >= default and (facts.hidden_size or 0) > _WIDE:
        what = f"{prune.learning_rate:g} was measured on encoders 384 wide, and this one is {facts.hidden_size} wide"
        yield Finding("note", "prune.learning_rate", what, "2e-4, and compare.")


def teacher_is_live(facts: Facts) -> bool:
    """Whether a loss reads teacher outputs too large to store, so that the teacher runs at every step."""
    recipe = facts.recipe
    outputs = needs_of(recipe.prune.losses, facts.layers or 1).token_outputs(recipe.task.problem_type)
    return live_teacher(outputs, _tokens(facts), facts.hidden_size or 1, recipe.runtime.teacher_cache_gb)


def _tokens(facts: Facts) -> float:
    """Estimate the tokens of all training rows."""
    return ((facts.train_inputs or 0) + facts.unlabeled) * _tokens_of_a_row(facts)


def _tokens_of_a_row(facts: Facts) -> float:
    longest = facts.recipe.data.max_length
    lengths = np.minimum(facts.lengths if facts.lengths is not None else [longest], longest)
    return float(lengths.mean()) if lengths.size else 0.0


def _teacher(facts: Facts) -> Iterator[Finding]:
    rows, losses = facts.train_inputs, facts.recipe.prune.losses
    if teacher_is_live(facts):
        if facts.parameters is not None:
            parameters = facts.parameters if facts.teacher is None else facts.teacher.parameters
            size = parameters * FLOAT_BYTES
            what = f"the teacher runs beside the student at every step, in {_shown(size)} more of memory"
            yield Finding("note", "prune.losses", what)
        return
    if rows is None or facts.hidden_size is None or facts.layers is None:
        return
    # One of the encoder's width for each row of data; what two losses read is stored once.
    needs = needs_of(losses, facts.layers)
    if outputs := needs.token_outputs(facts.recipe.task.problem_type):
        on_disk = token_bytes(outputs, _tokens(facts), facts.hidden_size)
        what = f"the teacher's outputs for every token are stored once, on the disk: {_shown(on_disk)}"
        yield Finding("note", "prune.losses", what)
    vectors = sum(key.kind != "tokens" for key in needs.rows)
    if vectors == 0:
        return
    size = rows * vectors * facts.hidden_size * FLOAT_BYTES
    each = f"{vectors} vector{'s' * (vectors > 1)} of {facts.hidden_size}"
    what = f"the teacher's outputs for {rows:,} rows, {each} each, are stored once and held in memory: {_shown(size)}"
    yield _memory(facts, size, "prune.losses", what, "fewer layers in the loss, or data.train_rows.")


def _criterion(facts: Facts) -> Iterator[Finding]:
    prune = facts.recipe.prune
    key = CRITERIA[prune.criterion].copies
    if key and facts.prunable is not None:
        copies = getattr(prune, key)
        size = copies * facts.prunable * FLOAT_BYTES
        what = f"{copies} gradients of {facts.prunable:,} weights are held in memory: {_shown(size)}"
        yield _memory(facts, size, f"prune.{key}", what, "fewer of them.")


def _repair(facts: Facts) -> Iterator[Finding]:
    prune = facts.recipe.prune
    if not prune.repair or facts.parameters is None or facts.hidden_size is None or facts.layers is None:
        return
    states = 2 * prune.calibration_rows * _tokens_of_a_row(facts) * facts.hidden_size * facts.layers
    size = round(facts.parameters + states) * FLOAT_BYTES
    what = f"the dense network, and what the layers of both return on {prune.calibration_rows:,} rows, are in memory"
    what += f": {_shown(size)}"
    yield _memory(facts, size, "prune.repair", what, "fewer prune.calibration_rows.")


def _first_layers(facts: Facts) -> Iterator[Finding]:
    prune = facts.recipe.prune
    if prune.layers is not None and not prune.trains:
        what = "without training the classifier reads the output of another layer than it learned from"
        yield Finding("warning", "prune.layers", what, "prune.steps above 0, or no prune.layers.")


def _quantization(facts: Facts) -> Iterator[Finding]:
    prune = facts.recipe.prune
    # Shares of hundredths: sums of floats may miss 1.
    if prune.quantization_aware > 0 and round(prune.ramp + prune.quantization_aware, 6) > 1:
        what = (
            f"the ramp takes {prune.ramp:.0%} of the steps and the phase {prune.quantization_aware:.0%}: weights are "
        )
        what += "still pruned while it rounds"
        yield Finding("note", "prune.quantization_aware", what, f"at most {1 - prune.ramp:.2g}.")


def _memory(facts: Facts, size: int, subject: str, what: str, would: str) -> Finding:
    memory = facts.machine.memory_bytes
    if memory is not None and size > _MUCH * memory:
        return Finding("warning", subject, f"{what}, of {_shown(memory)} on this machine", would)
    return Finding("note", subject, what)


def _shown(size: float) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6)):,} MB"
