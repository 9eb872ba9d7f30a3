"""What a study found: every arm's scores over its seeds, and its difference to the baseline arm, paired by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from sdp.statistics.seeds import PairedDifference, Summary, holm, paired_difference, summarize
from sdp.study.cell import BothScores, CellResult
from sdp.study.grid import Arm, StudyCell
from sdp.study.vary import Axis, Baseline

Results = Mapping[str, CellResult]
Split = Literal["dev", "test"]
SPLITS: tuple[Split, ...] = ("dev", "test")


@dataclass(frozen=True)
class SplitScores:
    """An arm on one split.

    Attributes:
        values: the pruned model's score, seed -> score.
        dense: the fine-tuned model's.
        pruned: the pruned model's.
        difference: to the baseline arm; None for the baseline itself, and without one.
        holm: the difference's p, corrected for all arms of the table.
    """

    values: dict[int, float]
    dense: Summary
    pruned: Summary
    difference: PairedDifference | None = None
    holm: float | None = None


@dataclass(frozen=True)
class ArmResult:
    """An arm over its finished seeds; `splits` is empty where there are none.

    Attributes:
        arm: the label on each axis.
        cells: seed -> key of the finished cell.
        metric: the name of the score.
        sparsity: share of zeros in the pruned weights.
        agreement: share of the evaluated rows (words) for which the pruned model predicts what the dense one does.
        splits: split -> scores.
    """

    arm: Arm
    cells: dict[int, str]
    metric: str
    sparsity: Summary | None
    agreement: Summary | None
    splits: dict[Split, SplitScores]


def compare_arms(
    cells: Sequence[StudyCell], results: Results, axes: Sequence[Axis], baseline: Baseline | None
) -> list[ArmResult]:
    """Summarize every arm of a grid, in its order.

    Args:
        cells: the grid.
        results: cell key -> its result, for the finished ones.
        axes: what the grid varies.
        baseline: the value that the others of its axis are compared with; everything else stays equal.
    """
    arms: dict[Arm, dict[int, CellResult]] = {cell.arm: {} for cell in cells}
    for cell in cells:
        if cell.key in results:
            arms[cell.arm][cell.seed] = results[cell.key]
    scores = {split: {arm: _scores(by_seed, split) for arm, by_seed in arms.items()} for split in SPLITS}
    for of_split in scores.values():
        _add_differences(of_split, axes, baseline)
    return [
        ArmResult(
            arm=arm,
            cells={seed: result.key for seed, result in by_seed.items()},
            metric=next((result.metric for result in by_seed.values()), ""),
            sparsity=_summary([result.sparsity for result in by_seed.values()]),
            agreement=_summary([result.evaluated.agreement for result in by_seed.values()]),
            splits={split: found for split in SPLITS if (found := scores[split][arm]) is not None},
        )
        for arm, by_seed in arms.items()
    ]


def baseline_of(arm: Arm, axes: Sequence[Axis], baseline: Baseline | None) -> Arm | None:
    """The arm that another is compared with; None for the baseline itself, and without one."""
    if baseline is None:
        return None
    partner = tuple(
        baseline.label if axis.name == baseline.axis else label for axis, label in zip(axes, arm, strict=True)
    )
    return partner if partner != arm else None


def _scores(by_seed: Mapping[int, CellResult], split: Split) -> SplitScores | None:
    found = {seed: defined for seed, result in by_seed.items() if (defined := _defined(result, split)) is not None}
    if not found:
        return None
    values = {seed: pruned for seed, (_, pruned) in found.items()}
    return SplitScores(values, summarize([dense for dense, _ in found.values()]), summarize(list(values.values())))


def _on(result: CellResult, split: Split) -> BothScores | None:
    return result.dev if split == "dev" else result.test


def _defined(result: CellResult, split: Split) -> tuple[float, float] | None:
    """Both models' scores on a split; None where there is none, or one is undefined."""
    scores = _on(result, split)
    if scores is None or scores.dense is None or scores.pruned is None:
        return None
    return scores.dense, scores.pruned


def _add_differences(scores: dict[Arm, SplitScores | None], axes: Sequence[Axis], baseline: Baseline | None) -> None:
    """Compare each arm with its baseline over the seeds that both have, then correct for the number of arms."""
    differences: dict[Arm, PairedDifference] = {}
    for arm, own in scores.items():
        partner = baseline_of(arm, axes, baseline)
        other = scores[partner] if partner is not None else None
        difference = paired_difference(own.values, other.values) if own is not None and other is not None else None
        if difference is not None:
            differences[arm] = difference
    corrected = holm([difference.p for difference in differences.values()])
    for (arm, difference), p in zip(differences.items(), corrected, strict=True):
        own = scores[arm]
        if own is not None:
            scores[arm] = SplitScores(own.values, own.dense, own.pruned, difference, p)


def _summary(values: Sequence[float | None]) -> Summary | None:
    known = [value for value in values if value is not None]
    return summarize(known) if known else None


def remarks(cells: Sequence[StudyCell], results: Results, arms: Sequence[ArmResult]) -> list[str]:
    """What a reader must know before believing the table."""
    lines = []
    pairs = [scores.difference.n for arm in arms for scores in arm.splits.values() if scores.difference is not None]
    if pairs and max(pairs) == 1:
        lines.append("Pairs of one seed give a difference, and no interval and no test.")
    elif pairs:
        lines.append(
            "Differences, intervals and p are over seeds (paired t); rows of the split are no part of the test. "
            "p (Holm) is corrected for all differences of the table."
            + (f" With {max(pairs)} seeds only large effects can be told from chance." if max(pairs) < 6 else "")
        )
    missing = sum(cell.key not in results for cell in cells)
    if missing:
        lines.append(f"{missing} of {len(cells)} cells are not finished.")
    found = [results[cell.key] for cell in cells if cell.key in results]
    for split in SPLITS:
        undefined = sum(_on(result, split) is not None and _defined(result, split) is None for result in found)
        if undefined:
            lines.append(f"The metric is undefined on {split} in {undefined} of {len(found)} cells; they are left out.")
    constant = sum(result.evaluated.better_than_constant is False for result in found)
    if constant:
        cells_of = f"In {constant} cell{'s' * (constant > 1)} the dense model"
        lines.append(f"{cells_of} is not shown to be better than one answer for all rows: nothing to lose by pruning.")
    for key, what in (("code", "versions of the code"), ("libraries", "library versions"), ("machine", "machines")):
        different = {str(getattr(result, key)) for result in found}
        if len(different) > 1:
            lines.append(f"The cells come from {len(different)} different {what}.")
    teachers: dict[str, set[str]] = {}
    for cell in cells:
        if cell.key in results:
            teachers.setdefault(cell.teacher, set()).add(str(results[cell.key].teacher))
    if any(len(hashes) > 1 for hashes in teachers.values()):
        lines.append("Arms of one seed had different fine-tuned models, made at different times: pairs are loose.")
    return lines


def to_json(arm: ArmResult, axes: Sequence[Axis]) -> dict[str, object]:
    """An arm as study.json holds it."""
    splits = {
        split: {**asdict(scores), "difference": scores.difference.to_json() if scores.difference is not None else None}
        for split, scores in arm.splits.items()
    }
    labels = {axis.name: label for axis, label in zip(axes, arm.arm, strict=True)}
    return {**asdict(arm), "arm": labels, "splits": splits}
