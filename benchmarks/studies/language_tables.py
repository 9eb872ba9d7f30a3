"""The tables of the languages study, from the stored results of one task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import typer

from item_means import Right, average, drops, mean_intervals, zero_shot, zero_shot_gap
from language_arms import LOSSES, WITHOUT_TEACHER
from language_result import AVERAGES, TRAINED, ArmResult, scored
from sdp_onnx.bench.interval import Interval


@dataclass(frozen=True)
class Models:
    """The results of a task, by arm and seed. Those of several seeds are means over them, item by item."""

    results: dict[str, dict[int, ArmResult]]

    def names(self, *starts: str) -> list[str]:
        """Return the arms whose names start so, by sparsity."""
        found = [name for name in self.results if name.startswith(starts)]
        return sorted(found, key=lambda name: (starts.index(_start(name, starts)), self.any(name).sparsity))

    def any(self, arm: str) -> ArmResult:
        """Return the first seed's result."""
        return min(self.results[arm].values(), key=lambda result: result.seed)

    def seeds(self, *arms: str) -> list[int]:
        """Return the seeds that all of some arms have."""
        return sorted(set.intersection(*(set(self.results[arm]) for arm in arms)))

    def right(self, arm: str, seeds: Sequence[int]) -> Right:
        """Return the share of some seeds for which an item is right, by language, [N]."""
        each = [self.results[arm][seed].unpacked() for seed in seeds]
        return {language: np.asarray(np.mean([one[language] for one in each], axis=0)) for language in each[0]}


def markdown(results: Iterable[ArmResult]) -> str:
    """Return the three tables of a task.

    Raises:
        BadParameter: the results are of different setups, or there is no dense one.
    """
    models = Models({})
    for result in results:
        models.results.setdefault(result.arm, {})[result.seed] = result
    if "dense" not in models.results:
        raise typer.BadParameter("there is no result of the arm dense: run it first")
    setup = models.any("dense").setup
    for arm, by_seed in models.results.items():
        if any(result.setup != setup for result in by_seed.values()):
            raise typer.BadParameter(f"{arm} and dense have different setups: run the study again with one of them")
    head = f"{setup.task}, {setup.model}: accuracy on {setup.test_items} test items in {len(setup.languages)} languages"
    return "\n\n".join([head, *filter(None, (by_language(models), claim_e(models), small_vocabulary(models)))]) + "\n"


def by_language(models: Models) -> str:
    """Dense and pruned accuracy by language, with intervals."""
    return _accuracies(models, ["dense", *models.names("pruned-", "unlabeled-")])


def claim_e(models: Models) -> str:
    """What English and the zero-shot average lose, arm by arm, and whether the second loses more.

    Beside it the change of that gap from the arm without a teacher, of the same seeds and items.
    """
    arms = models.names(*(f"{name}-" for name in LOSSES), "pruned-", "unlabeled-")
    if not arms:
        return ""
    lines = ["arm", "zeros", "seeds", "drop, en", "drop, zero-shot", "zero-shot less en", "against none"]
    rows = []
    for arm in arms:
        seeds = models.seeds(arm, "dense")
        if not seeds:
            continue
        dense, right = models.right("dense", seeds), models.right(arm, seeds)
        lost = drops(dense, right)
        columns = {
            "en": lost[TRAINED],
            "zero-shot": average(lost, zero_shot(lost, TRAINED)),
            "gap": zero_shot_gap(dense, right, TRAINED),
        }
        found = [change(own) for own in mean_intervals(columns).values()]
        zeros = f"{models.any(arm).sparsity:.0%}"
        rows.append([arm, zeros, str(len(seeds)), *found, _against_none(models, arm)])
    return _table(lines, rows)


def _against_none(models: Models, arm: str) -> str:
    """The gap of an arm less that of the arm without a teacher at the same sparsity."""
    base = f"{WITHOUT_TEACHER}-{arm.rpartition('-')[2]}"
    if arm == base or base not in models.results or not (seeds := models.seeds(arm, base, "dense")):
        return ""
    dense = models.right("dense", seeds)
    gaps = [zero_shot_gap(dense, models.right(name, seeds), TRAINED) for name in (arm, base)]
    return change(mean_intervals({"gap": gaps[0] - gaps[1]})["gap"])


def small_vocabulary(models: Models) -> str:
    """Bytes and accuracy with every piece and with few."""
    few = models.names("vocabulary-")
    if not few:
        return ""
    sparsities = {arm.rpartition("-")[2] for arm in few}
    pruned = [arm for arm in models.names("pruned-") if arm.rpartition("-")[2] in sparsities]
    arms = ["dense", "vocabulary-dense", *pruned, *(arm for arm in few if arm != "vocabulary-dense")]
    arms = [arm for arm in arms if arm in models.results]
    sizes = []
    for arm in arms:
        size = models.any(arm).size
        file = "" if size.file_bytes is None else f"{size.file_bytes / 1e6:.1f}"
        sizes.append([arm, f"{size.pieces:,}", f"{size.float32_bytes / 1e6:.1f}", file])
    bytes_table = _table(["arm", "pieces", "MB in float32", "MB of the exported file"], sizes)
    return f"{bytes_table}\n\n{_accuracies(models, arms)}"


def _accuracies(models: Models, arms: Sequence[str]) -> str:
    """A line for each language and average, a column for each arm."""
    scores = [scored(models.right(arm, models.seeds(arm)), None)[0] for arm in arms]
    names = (*models.any("dense").setup.languages, *AVERAGES)
    rows = [[name, *(share(own[name].accuracy) for own in scores)] for name in names]
    return _table(["language", *arms], rows)


def share(interval: Interval) -> str:
    """An accuracy with its interval."""
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def change(interval: Interval) -> str:
    """A difference with its interval."""
    return f"{interval.value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def _start(name: str, starts: Sequence[str]) -> str:
    return next(start for start in starts if name.startswith(start))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
