"""What pruning costs a multilingual encoder, language by language: trained on English, evaluated in all.

    python benchmarks/studies/languages.py run --data FOLDER --model FOLDER --runs FOLDER [--task xnli] [--arm NAME]
    python benchmarks/studies/languages.py table

The data folder holds xnli and pawsx with train.en.tsv.gz, and for every language dev.LANGUAGE.tsv.gz and
test.LANGUAGE.tsv.gz (columns sentence1, sentence2, label; no quoting; row i is the same item in every language). Arms:

    dense                fine-tuned on the English pairs
    pruned-50 to -90     the defaults of [prune]: no labels, squared error and cross-correlation on token rows
    none-90              magnitude with the labels, without a teacher; and the same with one loss added:
    align-cosine-90, align-frobenius-90, cross-correlation-90
    unlabeled-90         the defaults, with texts in the other languages that have no labels
    vocabulary-dense, vocabulary-90    24,000 pieces, chosen by dev and the training rows

Everything is scored on test. Half of dev, by item and in all languages, is what unlabeled-90 learns from; the other
half is every arm's dev, of which training looks at the English rows (see parallel_files.py). Arms of a seed have one
fine-tuned model; with few pieces they have another. Each finished arm is a JSON in results/languages/TASK, and the
command goes on from what is there.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

import language_tables
from language_arms import Arm, study_arms
from language_result import TRAINED, ArmResult, ModelSize, Setup, packed, scored
from parallel_files import prepare
from sdp.cli.main import app as sdp
from sdp.errors import UsageError
from sdp.pipeline.artifacts.pruning import PruneMetrics
from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.stages import EXPORT, FINETUNE, PRUNE, Stage
from sdp_onnx.runtimes.environment import environment_record

RECIPE = Path(__file__).parent / "recipes" / "languages.toml"
RESULTS = Path(__file__).parents[1] / "results" / "languages"
LANGUAGES = {
    "xnli": ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ko", "ru", "sw", "th", "tr", "ur", "vi", "zh"),
    "pawsx": ("de", "en", "es", "fr", "ja", "ko", "zh"),
}
FLOAT_BYTES = 4
_SPLITS = ("dev", "test")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)


@dataclass(frozen=True)
class Study:
    """The setup of a task's models, and where their files are.

    Attributes:
        setup: what all of them have in common.
        source: the folder with the task's files.
        prepared: the folder with the divided files.
        runs: the folder with the task's runs.
        model: the pretrained model, as a recipe names it.
    """

    setup: Setup
    source: Path
    prepared: Path
    runs: Path
    model: str

    def run_folder(self, arm: Arm, seed: int) -> RunFolder:
        """Return the run that an arm is made in: one after the other, on the same fine-tuned model."""
        return RunFolder(self.runs / f"{'vocabulary-' if arm.vocabulary else ''}seed{seed}")

    def overrides(self, arm: Arm, seed: int) -> list[str]:
        """Return the settings of an arm and the places of its files."""
        places = [
            f"model.name={json.dumps(self.model)}",
            f"data.train={json.dumps(str(self.source / f'train.{TRAINED}.tsv.gz'))}",
            *(f"data.{split}={json.dumps(str(self.prepared / f'{split}.{{language}}.tsv.gz'))}" for split in _SPLITS),
        ]
        if arm.unlabeled:
            others = [language for language in self.setup.languages if language != TRAINED]
            files = [str(self.prepared / f"unlabeled.{language}.tsv.gz") for language in others]
            places.append(f"data.unlabeled={json.dumps(files)}")
        if arm.vocabulary:
            files = [str(self.source / name) for name in ("dev.{language}.tsv.gz", f"train.{TRAINED}.tsv.gz")]
            places.append(f"vocabulary.corpus={json.dumps(files)}")
        return [*places, *self.setup.settings, *arm.settings, f"seed={seed}"]


@app.command()
def run(
    data: Annotated[Path, typer.Option(help="The folder with xnli and pawsx.")],
    model: Annotated[str, typer.Option(help="A model folder, or package:NAME/FOLDER.")],
    runs: Annotated[Path, typer.Option(help="The folder for runs, which are gone on from.")],
    tasks: Annotated[list[str] | None, typer.Option("--task", help="xnli or pawsx; both without it.")] = None,
    arms: Annotated[list[str] | None, typer.Option("--arm", help="An arm; all without it.")] = None,
    languages: Annotated[list[str] | None, typer.Option("--language", help="A language; all without it.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="English pairs to train on.")] = 8000,
    steps: Annotated[int, typer.Option(min=1, help="Steps of pruning.")] = 3000,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds for each arm, from 0.")] = 1,
    sparsity: Annotated[float, typer.Option(min=0.01, max=0.99, help="Of the arms that have one sparsity.")] = 0.9,
    test_rows: Annotated[int | None, typer.Option(min=2, help="Test items to score; all without it.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="A setting of all arms, as in sdp.")] = None,
) -> None:
    """Make and score the models that have no result yet."""
    if unknown := [task for task in tasks or () if task not in LANGUAGES]:
        raise typer.BadParameter(f"no task is named {unknown[0]}; there are {', '.join(LANGUAGES)}")
    chosen = _chosen_arms(sparsity, arms)
    spoken_in = {task: _spoken(task, languages) for task in tasks or LANGUAGES}
    for task, spoken in spoken_in.items():
        more = (f"data.train_rows={rows}", f"prune.steps={steps}", *(settings or ()))
        study = _prepared_study(task, spoken, data / task, runs / task, model, test_rows, more)
        for seed in range(seeds):
            for arm in chosen:
                _run_arm(study, arm, seed)


@app.command()
def table() -> None:
    """Print what was measured as Markdown."""
    for task in LANGUAGES:
        found = [_stored(path) for path in sorted((RESULTS / task).glob("*.json"))]
        results = [result for result in found if result is not None]
        if results:
            typer.echo(language_tables.markdown(results))


def _prepared_study(
    task: str,
    spoken: tuple[str, ...],
    source: Path,
    runs: Path,
    model: str,
    test_rows: int | None,
    settings: tuple[str, ...],
) -> Study:
    """Divide the rows of a task, and print how many there are."""
    prepared = (runs / f"data-{test_rows or 'all'}-{'-'.join(spoken)}").resolve()
    divided = prepare(source, prepared, spoken, TRAINED, test_rows)
    dev, unlabeled, items = map(len, (divided.dev, divided.unlabeled, divided.test))
    counts = f"{dev} items of dev, {unlabeled} without labels, {items} of test, in {len(spoken)} languages"
    typer.echo(f"{task}: {counts}", err=True)
    common = (f"task.name={json.dumps(task)}", f"task.eval_languages={json.dumps(spoken)}", *settings)
    packaged = model.startswith("package:")
    name, place = (model, model) if packaged else (Path(model).name, str(Path(model).resolve()))
    setup = Setup(task=task, model=name, languages=spoken, test_items=items, settings=common)
    return Study(setup, source.resolve(), prepared, runs, place)


def result_file(task: str, arm: str, seed: int) -> Path:
    """Return where the result of an arm and a seed is."""
    return RESULTS / task / f"{arm}-seed{seed}.json"


def _chosen_arms(sparsity: float, names: list[str] | None) -> list[Arm]:
    """Return the named arms, and the dense one before them: drops are from it."""
    known = {arm.name: arm for arm in study_arms(sparsity)}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise typer.BadParameter(f"no arm is named {unknown[0]}; there are {', '.join(known)}")
    return [arm for name, arm in known.items() if names is None or name in (*names, "dense")]


def _spoken(task: str, names: list[str] | None) -> tuple[str, ...]:
    unknown = [name for name in names or () if name not in LANGUAGES[task]]
    if unknown:
        raise typer.BadParameter(f"{task} has no language {unknown[0]}; it has {', '.join(LANGUAGES[task])}")
    spoken = tuple(name for name in LANGUAGES[task] if names is None or name in names)
    if TRAINED not in spoken or len(spoken) < 2:
        raise typer.BadParameter(f"name {TRAINED}, which is trained on, and at least one language more")
    return spoken


def _run_arm(study: Study, arm: Arm, seed: int) -> None:
    """Make, score and store a model, unless its result is there."""
    path = result_file(study.setup.task, arm.name, seed)
    stored = _stored(path)
    if stored is not None and (stored.setup, stored.settings) == (study.setup, arm.settings):
        return
    dense = None if arm.name == "dense" else _stored(result_file(study.setup.task, "dense", seed))
    seconds = _sdp(study, arm, seed, arm.stage)
    stage = FINETUNE if arm.stage == "finetune" else PRUNE
    run = study.run_folder(arm, seed)
    right = _right(study, arm, seed, stage)
    scores, gap = scored(
        {name: own.astype(np.float64) for name, own in right.items()}, None if dense is None else dense.unpacked()
    )
    result = ArmResult(
        setup=study.setup,
        arm=arm.name,
        seed=seed,
        settings=arm.settings,
        sparsity=0.0 if stage is FINETUNE else PruneMetrics.load(run).sparsity,
        size=_size(study, arm, seed, stage),
        seconds=seconds,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=environment_record(),
        scores=scores,
        gap=gap,
        right={name: packed(own) for name, own in right.items()},
    )
    result.write(path)


def _stored(path: Path) -> ArmResult | None:
    """Return a stored result; None where there is none that this version can read."""
    try:
        return ArmResult.read(path)
    except UsageError as error:
        typer.echo(f"not used, and made again by the next run: {path.name}: {error}", err=True)
        return None


def _sdp(study: Study, arm: Arm, seed: int, stage: str, *more: str) -> float:
    """Bring the run of an arm up to date through a stage; returns the seconds of that stage's last attempt."""
    run = study.run_folder(arm, seed)
    overrides = [word for setting in (*study.overrides(arm, seed), *more) for word in ("--set", setting)]
    command = [stage, str(RECIPE), "--run-dir", str(run.path), *overrides]
    typer.echo(f"$ {shlex.join(['sdp', *command])}", err=True)
    # In this process, so that a signal that stops it stops the work.
    code = sdp(command, standalone_mode=False)
    if code:
        raise typer.Exit(code)
    folder = {"finetune": FINETUNE, "prune": PRUNE, "export": EXPORT}[stage].folder
    record = run.record(folder)
    return 0.0 if record is None else round(record["seconds"], 1)


def _right(study: Study, arm: Arm, seed: int, stage: Stage) -> dict[str, NDArray[np.bool_]]:
    """Run a finished model over test; returns which items are right, by language, [N]."""
    from sdp.data.batches import Collator
    from sdp.evaluation.predict import predict_logits
    from sdp.evaluation.stored_logits import LogitsFile
    from sdp.evaluation.torch_network import torch_network
    from sdp.models.load import load_finetuned
    from sdp.models.tokenizer import saved_tokenizer
    from sdp.pipeline.progress import Reporter
    from sdp.recipe.load import load_recipe
    from sdp.training.device import training_device
    from sdp.training.inputs import finetuned_data, tokenize_split

    recipe, run = load_recipe(RECIPE, study.overrides(arm, seed)), study.run_folder(arm, seed)
    split, folder = finetuned_data(recipe, run).evaluation("test"), run.stage(stage.folder)
    tokenizer, record = saved_tokenizer(folder), run.record(stage.folder)
    rows = tokenize_split(split, tokenizer, recipe)
    model = load_finetuned(folder, training_device(recipe.runtime))
    # The file of an interrupted attempt is of this very model and these rows.
    fingerprint = "" if record is None else record["fingerprint"][:16]
    logits_file = LogitsFile(study.runs / "logits" / f"{fingerprint}.safetensors", recipe.runtime.checkpoint_seconds)
    logits_file.path.parent.mkdir(parents=True, exist_ok=True)
    with Reporter().task(f"{arm.name}, tokens", rows.tokens) as task:
        batch_size = recipe.evaluate.batch_size
        logits = predict_logits(torch_network(model), rows, Collator(tokenizer), batch_size, task, logits_file)
    right, parts = logits.argmax(axis=1) == split.labels, np.array(split.parts)
    return {language: right[parts == language] for language in study.setup.languages}


def _size(study: Study, arm: Arm, seed: int, stage: Stage) -> ModelSize:
    """Measure a model; it is exported for the first seed alone: as many zeros take as many bytes."""
    from sdp.models.export import MODEL_FILE
    from sdp.models.parts import count_parts
    from sdp.models.source import ModelFolder

    run = study.run_folder(arm, seed)
    file = None
    if arm.exported and seed == 0:
        # Export scores the file, too; dev has fewer rows.
        _sdp(study, arm, seed, "export", 'evaluate.split="dev"')
        file = sum(part.stat().st_size for part in run.stage(EXPORT.folder).glob(f"{MODEL_FILE}*"))
    parts = count_parts(ModelFolder(study.setup.model, run.stage(stage.folder)))
    pieces = 0 if parts.vocabulary is None else parts.vocabulary[0]
    return ModelSize(pieces=pieces, float32_bytes=FLOAT_BYTES * parts.total, file_bytes=file)


if __name__ == "__main__":
    app()
