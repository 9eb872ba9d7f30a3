"""Every arm of a study: its scores over the seeds, and its difference to the baseline arm, paired by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sdp.statistics.seeds import PairedDifference, Summary, holm, paired_difference, summarize
from sdp.study.artifacts import SPLITS, ArmScores, CellResult, SeedDifference, Split, StudyArm
from sdp.study.grid import Arm, Grid

Results = Mapping[str, CellResult]


def compare_arms(grid: Grid, results: Results) -> list[StudyArm]:
    """Summarize every arm of a grid, in its order.

    Args:
        grid: the cells; everything but the baseline's key is equal in two arms that are compared.
        results: cell key -> result, for the finished ones.
    """
    arms: dict[Arm, dict[int, CellResult]] = {cell.arm: {} for cell in grid.cells}
    for cell in grid.cells:
        if cell.key in results:
            arms[cell.arm][cell.seed] = results[cell.key]
    scores = {split: _compare(arms, split, grid) for split in SPLITS}
    return [
        StudyArm(
            arm={axis.name: label for axis, label in zip(grid.axes, arm, strict=True)},
            cells={seed: result.key for seed, result in by_seed.items()},
            metric=next((result.metric for result in by_seed.values()), ""),
            sparsity=_summary([result.sparsity for result in by_seed.values()]),
            agreement=_summary([result.evaluated.agreement for result in by_seed.values()]),
            splits={split: scores[split][arm] for split in SPLITS if arm in scores[split]},
        )
        for arm, by_seed in arms.items()
    ]


def _compare(arms: Mapping[Arm, Mapping[int, CellResult]], split: Split, grid: Grid) -> dict[Arm, ArmScores]:
    """The scores of each arm that has any on a split. p is corrected for the number of arms."""
    defined = {arm: _defined_scores(by_seed, split) for arm, by_seed in arms.items()}
    pruned = {arm: {seed: score for seed, (_, score) in found.items()} for arm, found in defined.items()}
    differences: dict[Arm, PairedDifference] = {}
    for arm, values in pruned.items():
        partner = grid.partner(arm)
        difference = paired_difference(values, pruned[partner]) if partner is not None else None
        if difference is not None:
            differences[arm] = difference
    corrected = dict(zip(differences, holm([found.p for found in differences.values()]), strict=True))
    return {
        arm: ArmScores(
            values=values,
            dense=summarize([score for score, _ in defined[arm].values()]),
            pruned=summarize(list(values.values())),
            difference=SeedDifference.of(differences[arm]) if arm in differences else None,
            holm=corrected.get(arm),
        )
        for arm, values in pruned.items()
        if values
    }


def _defined_scores(by_seed: Mapping[int, CellResult], split: Split) -> dict[int, tuple[float, float]]:
    """Seed -> scores (dense, pruned), where both are defined."""
    return {
        seed: (found.dense, found.pruned)
        for seed, result in by_seed.items()
        if (found := result.scored(split)) is not None and found.dense is not None and found.pruned is not None
    }


def _summary(values: Sequence[float | None]) -> Summary | None:
    known = [value for value in values if value is not None]
    return summarize(known) if known else None


def remarks(grid: Grid, results: Results, arms: Sequence[StudyArm]) -> list[str]:
    """The reservations that belong below the table."""
    found = [results[cell.key] for cell in grid.cells if cell.key in results]
    lines = [*_about_tests(arms)]
    if missing := len(grid.cells) - len(found):
        lines.append(f"{missing} of {len(grid.cells)} cells are not finished.")
    for split in SPLITS:
        scored = [scores for result in found if (scores := result.scored(split)) is not None]
        undefined = sum(None in (scores.dense, scores.pruned) for scores in scored)
        if undefined:
            lines.append(f"The metric is undefined on {split} in {undefined} of {len(found)} cells; they are left out.")
    constant = sum(result.evaluated.better_than_constant is False for result in found)
    if constant:
        where = f"In {constant} cell{'s' * (constant > 1)} the dense model"
        lines.append(f"{where} is not shown to be better than one answer for all rows: nothing to lose by pruning.")
    return [*lines, *_differences_in_making(grid, results, found)]


def _about_tests(arms: Sequence[StudyArm]) -> list[str]:
    pairs = [scores.difference.n for arm in arms for scores in arm.splits.values() if scores.difference is not None]
    if not pairs:
        return []
    if max(pairs) == 1:
        return ["Pairs of one seed give a difference, and no interval and no test."]
    few = f" With {max(pairs)} seeds only large effects can be distinguished from chance." if max(pairs) < 6 else ""
    return [
        "Differences, intervals and p are over seeds (paired t); rows of the split are no part of the test. "
        f"p (Holm) is corrected for all differences of the table.{few}"
    ]


def _differences_in_making(grid: Grid, results: Results, found: Sequence[CellResult]) -> list[str]:
    """Whether the cells are of several versions, machines or fine-tuned models."""
    lines = []
    made_with = {
        "versions of the code": [str(result.code) for result in found],
        "library versions": [str(result.libraries) for result in found],
        "machines": [str(result.machine) for result in found],
    }
    for name, values in made_with.items():
        different = set(values)
        if len(different) > 1:
            lines.append(f"The cells come from {len(different)} different {name}.")
    teachers: dict[str, set[str]] = {}
    for cell in grid.cells:
        if cell.key in results:
            teachers.setdefault(cell.teacher, set()).add(results[cell.key].teacher)
    if any(len(hashes) > 1 for hashes in teachers.values()):
        lines.append("Arms of one seed had different fine-tuned models, made at different times: pairs are loose.")
    return lines
