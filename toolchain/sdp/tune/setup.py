"""A tuning as it was asked for: read, checked, and what is in its folder. Nothing is run or written here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdp.choice.held_out import CHOSEN, ON_DEV, evaluates_on_test
from sdp.choice.run import Prepared
from sdp.distributed.ranks import require_one_process
from sdp.errors import NotDownloadedError, RecipeError, UsageError
from sdp.models.architectures import find_architecture, model_type
from sdp.models.parts import encoder_shape
from sdp.models.source import ModelFolder, locate_model
from sdp.pipeline.run_folder import RunFolder, absolute, check_results_folder
from sdp.recipe import Recipe, load_recipe
from sdp.recipe.override import override_key
from sdp.recipe.pruning import PruneSection
from sdp.training.steps import optimizer_steps
from sdp.tune.artifacts import TuneReport
from sdp.tune.candidates import CHOSEN_KEYS, DENSE_FP32, Candidate, Trial, ladder, pruned_candidates
from sdp.tune.next_trial import opening
from sdp.tune.outcome import Promise
from sdp_onnx.operators.library import has_library


@dataclass(frozen=True)
class Tune:
    """A tuning.

    Attributes:
        recipe_file: the recipe.
        overrides: of all trials alike (`--set`).
        recipe: what both give.
        candidates: the pruned ones.
        promise: what is asked for.
        minutes: of the budget.
        out: the tuning's folder, absolute.
        held_out: whether trials are judged on dev, and the chosen one then on test.
    """

    recipe_file: Path
    overrides: tuple[str, ...]
    recipe: Recipe
    candidates: tuple[Candidate, ...]
    promise: Promise
    minutes: float
    out: Path
    held_out: bool

    @property
    def base(self) -> Prepared:
        """The run whose fine-tuned model all trials share."""
        return Prepared(self.recipe_file, self.overrides, self.recipe, RunFolder(self.out / DENSE_FP32.name))

    def prepared(self, trial: Trial) -> Prepared:
        """The run of a trial."""
        on_dev = [ON_DEV] if self.held_out else []
        overrides = (*self.overrides, *trial.overrides(self.recipe.prune), *on_dev)
        return Prepared(
            self.recipe_file, overrides, load_recipe(self.recipe_file, overrides), RunFolder(self.out / trial.name)
        )

    def chosen(self, trial: Trial) -> Prepared:
        """A trial as the recipe evaluates it, in a run folder beside the trials."""
        overrides = (*self.overrides, *trial.overrides(self.recipe.prune))
        return Prepared(
            self.recipe_file, overrides, load_recipe(self.recipe_file, overrides), RunFolder(self.out / CHOSEN)
        )

    def ladder(self, rows: int) -> tuple[int, ...]:
        """The steps that a candidate may be pruned in, for so many training rows."""
        return ladder(optimizer_steps(rows * self.recipe.inputs_per_row, self.recipe.prune))

    def trials(self, steps: Sequence[int]) -> Iterator[Trial]:
        """Every trial that there may be.

        Args:
            steps: of `ladder`.
        """
        yield from (trial for trial in opening(self.candidates) if not trial.candidate.sparsity)
        yield from (Trial(candidate, count) for candidate in self.candidates for count in steps)


def open_tune(
    recipe_file: Path,
    promise: Promise,
    minutes: float,
    overrides: Sequence[str],
    out: Path | None,
    *,
    download: bool = False,
) -> Tune:
    """Read and check a tuning; nothing is run or written.

    Args:
        recipe_file: the recipe.
        promise: the options `--max-drop` and `--confidence`.
        minutes: the option `--minutes`.
        overrides: the `--set` options.
        out: the tuning's folder; tune/NAME without it.
        download: fetch a hub model that is not here yet; without it, some of its candidates are not known.

    Raises:
        UsageError: options, recipe, data or folder are wrong, or no candidate can be faster here.
    """
    require_one_process("sdp tune")
    for key in CHOSEN_KEYS:
        if key in map(override_key, overrides):
            raise RecipeError("sdp tune chooses it", where=f"--set {key}", hint="Leave it out, or use sdp run.")
    recipe = load_recipe(recipe_file, overrides)
    _require_something_to_choose(recipe)
    _require_free_sparsity(recipe.prune)
    folder = absolute(out or Path("tune") / recipe.name)
    check_results_folder(folder, "tuning", marks=(TuneReport.FILE,), others=(DENSE_FP32.name,))
    tune = Tune(
        recipe_file,
        tuple(overrides),
        recipe,
        _candidates(recipe, download=download),
        promise,
        minutes,
        folder,
        evaluates_on_test(recipe),
    )
    # Recipes that cannot be are errors now.
    for trial in tune.trials((0, 1) if recipe.prune.trains else (0,)):
        tune.prepared(trial)
    return tune


def _candidates(recipe: Recipe, *, download: bool) -> tuple[Candidate, ...]:
    try:
        model = locate_model(recipe.model, download=download)
    except NotDownloadedError:
        return pruned_candidates(recipe, units=True, layers=None)
    return pruned_candidates(recipe, units=_has_units(model), layers=encoder_shape(model)[1])


def _has_units(model: ModelFolder) -> bool:
    """Whether heads or neurons of the model can be removed."""
    row = find_architecture(model_type(model))
    return row is not None and bool(row.removable)


def _require_free_sparsity(prune: PruneSection) -> None:
    """Require that a trial may have any sparsity, with training and without.

    Raises:
        RecipeError: a key rules that out.
    """
    if prune.start is not None:
        hint = "Remove it: sdp sweep goes on from sparsity to sparsity."
        raise RecipeError("every trial starts from the dense model", where="prune.start", hint=hint)
    if prune.layers is not None:
        what, hint = "sdp tune chooses the layers", "Remove it, or use sdp run."
        raise RecipeError(what, where="prune.layers", hint=hint)
    if prune.target_speedup is not None:
        what, hint = "sdp tune chooses the sparsity", "Remove it, or use sdp run."
        raise RecipeError(what, where="prune.target_speedup", hint=hint)
    if prune.teacher is not None:
        what, hint = (
            "trials without training learn from no other network",
            "Remove it, and give it to the chosen recipe.",
        )
        raise RecipeError(what, where="prune.teacher", hint=hint)


def _require_something_to_choose(recipe: Recipe) -> None:
    """Require that a file can be faster than the dense one.

    Raises:
        UsageError: the recipe or this installation rules it out.
    """
    if recipe.bench.provider == "cuda":
        what, where = "the candidates are for the CPU, and this recipe measures on CUDA", "bench.provider"
        raise UsageError(what, where=where, hint='Set it to "cpu", where the operator library runs.')
    if recipe.export.encoding not in ("auto", "kernel"):
        what = f'encoding = "{recipe.export.encoding}" makes files smaller and not faster: there is nothing to choose'
        raise UsageError(what, where="export.encoding", hint='Set it to "auto".')
    if not has_library():
        what = "this installation has no operator library, without which no candidate is faster than the dense file"
        raise UsageError(what, hint="Install g++ or clang++, then install this package again.")
