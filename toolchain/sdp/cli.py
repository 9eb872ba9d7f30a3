"""The command line. Commands are thin: they find recipe and run folder, call the library, and print."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from sdp import ranks
from sdp.command_errors import told
from sdp.console import Reporter
from sdp.errors import RunError
from sdp.versus.command import compare_command

app = typer.Typer(
    name="sdp",
    help="Prune a Transformer encoder against its unpruned self, and ship it as ONNX that is measured and gated.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Target = Annotated[
    Path | None,
    typer.Argument(help="A recipe (.toml) or a run folder. Without it, the newest run is taken.", show_default=False),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=VALUE", help="Override a key of the recipe; VALUE is TOML. May be repeated."),
]
RunDir = Annotated[
    Path | None,
    typer.Option("--run-dir", help="The run folder; the recipe's name in the runs folder without it."),
]
Runs = Annotated[Path, typer.Option("--runs", help="The folder that run folders are made in.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, only results and errors.")]
RUNS = Path("runs")


@dataclass(frozen=True)
class Selected:
    """What a command works on."""

    recipe_file: Path
    overrides: tuple[str, ...]
    recipe: Any
    run: Any


def select(target: Path | None, overrides: list[str] | None, run_dir: Path | None, runs: Path) -> Selected:
    """Find recipe and run folder: from a recipe file, from a run folder, or from the newest run.

    Raises:
        RunError: there is no run, or the given folder is none.
        RecipeError: the recipe is wrong.
    """
    from sdp.recipe import load_recipe
    from sdp.run_folder import RUN_FILE, RunFolder, newest_run, read_json

    given = tuple(overrides or ())
    if target is not None and not target.is_dir():
        recipe = load_recipe(target, given)
        return Selected(target, given, recipe, RunFolder(run_dir or runs / recipe.name))
    folder = target or run_dir or newest_run(runs)
    owner = read_json(folder / RUN_FILE)
    if owner is None or not _tells_recipe(owner):
        raise RunError("no run folder (it has no run.json)", where=str(folder), hint="Give a recipe or a run folder.")
    file = Path(os.path.realpath(folder / owner["file"]))
    given = (*owner["overrides"], *given)
    if not file.is_file():
        raise RunError("the recipe of this run is gone", where=str(file), hint="Give the recipe's new place.")
    return Selected(file, given, load_recipe(file, given), RunFolder(folder))


def _tells_recipe(owner: dict[str, Any]) -> bool:
    """Whether a run.json holds the name of a file and a list of overrides."""
    file, overrides = owner.get("file"), owner.get("overrides")
    texts = [file, *overrides] if isinstance(overrides, list) else [None]
    return all(isinstance(text, str) and _names_a_file(text) for text in texts)


def _names_a_file(text: str) -> bool:
    """Whether the system could take a text for the name of a file."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def bring_up_to_date(selected: Selected, until: str, *, as_json: bool, quiet: bool) -> dict[str, Any]:
    """Run the pipeline up to a stage and print what is known by then; returns the stages' records."""
    from sdp.pipeline import follow, run_pipeline
    from sdp.summary import run_results

    run = selected.run
    if ranks.rank() > 0:
        follow(selected.recipe, run)
        raise typer.Exit
    with run.at_work(selected.recipe.name, selected.recipe_file, selected.overrides):
        records = run_pipeline(selected.recipe, run, until, Reporter(quiet=quiet))
    if as_json:
        typer.echo(json.dumps({"run": str(run.path), **run_results(run)}, indent=2))
    else:
        print_summary(selected, vocabulary=until == "vocabulary")
    return records


def print_summary(selected: Selected, *, vocabulary: bool) -> None:
    """Print the tables (that of the vocabulary where it was asked for) and the lines below them."""
    from sdp.console import result_console
    from sdp.summary import parts_table, summary_lines, summary_table, vocabulary_table

    console, run = result_console(), selected.run
    tables = (vocabulary_table(run),) if vocabulary else (summary_table(run, selected.recipe.name), parts_table(run))
    for table in tables:
        if table is not None:
            console.print(table)
    for line in summary_lines(selected.run):
        console.print(line, markup=False)


def exit_with_verdict(selected: Selected) -> None:
    """End with the exit code of the gate's verdict, and tell a GitHub job's page of it."""
    from sdp.run_folder import read_json

    verdict = read_json(selected.run.stage("6-gate") / "verdict.json")
    if verdict is None:
        raise RunError("the gate left no verdict", where=str(selected.run.path))
    page = os.environ.get("GITHUB_STEP_SUMMARY")
    if page:
        with open(page, "a", encoding="utf-8") as stream:
            stream.write((selected.run.stage("6-gate") / "summary.md").read_text(encoding="utf-8"))
    raise typer.Exit(int(verdict["exit_code"]))


@app.command("run")
def run_command(
    target: Target = None,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    runs: Runs = RUNS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the whole pipeline: fine-tune, prune, evaluate, export, bench, gate, report, and ship if the gate passes.

    Stages that are up to date are skipped; an interrupted stage resumes. Exit code: 0 the gate passes, 1 it or a stage
    fails, 2 wrong usage or recipe, 3 inconclusive.
    """
    with told():
        selected = select(target, overrides, run_dir, runs)
        bring_up_to_date(selected, "ship", as_json=as_json, quiet=quiet)
        exit_with_verdict(selected)


@app.command("ship")
def ship_command(
    target: Target = None,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    runs: Runs = RUNS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make the folder that goes out, 8-ship, after bringing everything before it up to date, if the gate passes.

    Exit code: 0 it is made, 1 the gate or a stage fails, 2 wrong usage or recipe, 3 inconclusive.
    """
    run_command(target, overrides, run_dir, runs, as_json, quiet)


def _stage_command(stage: str, help_text: str) -> None:
    def command(
        target: Target = None,
        overrides: Overrides = None,
        run_dir: RunDir = None,
        runs: Runs = RUNS,
        as_json: Json = False,
        quiet: Quiet = False,
    ) -> None:
        with told():
            bring_up_to_date(select(target, overrides, run_dir, runs), stage, as_json=as_json, quiet=quiet)

    app.command(stage, help=help_text)(command)


_stage_command("vocabulary", "Trim the vocabulary to the recipe's [vocabulary], and tell what the kept pieces cover.")
_stage_command("finetune", "Fine-tune the pretrained encoder densely: the baseline and the teacher.")
_stage_command("prune", "Prune by self-distillation, after bringing fine-tuning up to date.")
_stage_command("evaluate", "Compare dense and pruned model on the evaluation split, after bringing both up to date.")
_stage_command("export", "Export sparse ONNX and verify it against torch, after bringing what comes before up to date.")
_stage_command("bench", "Measure the exported file against the dense one, after bringing what comes before up to date.")
_stage_command("report", "Write report.html, after bringing everything before it up to date.")


@app.command("gate")
def gate_command(
    target: Target = None,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    runs: Runs = RUNS,
    no_update: Annotated[
        bool, typer.Option("--no-update", help="Judge the numbers that the run folder holds; run no other stage.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge the recipe's thresholds, after bringing what comes before up to date.

    Exit code: 0 pass, 1 fail, 2 wrong usage or recipe, 3 inconclusive.
    """
    with told():
        selected = select(target, overrides, run_dir, runs)
        if no_update:
            from sdp.pipeline import run_single

            ranks.require_one_process("sdp gate --no-update")
            if not selected.run.path.is_dir():
                raise RunError("there is no such run", where=str(selected.run.path), hint="Run it first: sdp run.")
            # Without a budget nothing is measured; and with one, the verdict is not up to date.
            gate = selected.recipe.gate.model_copy(update={"budget_seconds": 0.0})
            with selected.run.locked():
                recipe = selected.recipe.model_copy(update={"gate": gate})
                run_single("gate", recipe, selected.run, Reporter(quiet=quiet))
        else:
            bring_up_to_date(selected, "gate", as_json=as_json, quiet=quiet)
        if no_update and as_json:
            typer.echo((selected.run.stage("6-gate") / "verdict.json").read_text(encoding="utf-8"))
        exit_with_verdict(selected)


@app.command("check")
def check_command(
    target: Target = None,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    runs: Runs = RUNS,
    as_json: Json = False,
) -> None:
    """Validate a recipe and print its plan: stages, optimizer steps, parameters and bytes by part. Changes nothing."""
    with told():
        from sdp.plan import make_plan
        from sdp.plan_table import print_plan

        selected = select(target, overrides, run_dir, runs)
        made = make_plan(selected.recipe, selected.run)
        if as_json:
            typer.echo(json.dumps(made.to_json(), indent=2))
        else:
            print_plan(made, selected.recipe_file, selected.run.path)


@app.command("study")
def study_command(
    recipe: Annotated[Path, typer.Argument(help="A recipe (.toml).", show_default=False)],
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=V1,V2,...",
            help="A key to vary; losses by name (none,kld,hidden:2+kld), or arms of several keys: "
            "arm=plain{A.B=V;C.D=V},sdp{}. May be repeated: every combination is run.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds; they are 0 to N - 1.")] = 3,
    baseline: Annotated[
        str | None, typer.Option(metavar="KEY=V", help="The value that the others of its key are compared with.")
    ] = None,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="The study's folder; studies/NAME without it.")] = None,
    keep_models: Annotated[bool, typer.Option("--keep-models", help="Keep every cell's run folder.")] = False,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Run the cells on a Ray cluster: auto, HOST:PORT, or local for this machine."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would run, and run nothing.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a recipe over a grid of settings and seeds, and compare the arms: table, paired tests, plot.

    Finished cells are kept and not run again. Exit code: 0 all cells are finished, 1 one failed, 2 wrong usage.
    """
    with told():
        from sdp.study.study import execute, open_study, plan_lines, plan_study

        study = open_study(recipe, vary or [], seeds, baseline, overrides or [], out, download=not dry_run)
        if dry_run:
            made = plan_study(study)
            typer.echo(json.dumps(made, indent=2) if as_json else "\n".join(plan_lines(made)))
            return
        table = execute(study, Reporter(quiet=quiet), keep_models=keep_models, ray=ray)
        if as_json:
            typer.echo(json.dumps(table.to_json(), indent=2))
        else:
            from sdp.study.table import print_study

            print_study(table, study.out)
        if table.failed:
            raise typer.Exit(1)


@app.command("sweep")
def sweep_command(
    recipe: Annotated[Path, typer.Argument(help="A recipe (.toml).", show_default=False)],
    sparsity: Annotated[str, typer.Option(metavar="S1,S2,...", help="The levels, in rising order.")],
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="The sweep's folder; sweeps/NAME without it.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would run, and run nothing.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Prune gradually through several sparsities, keep a run of each, and choose the sparsest that passes the gate.

    Fine-tunes once; every level goes on from the one before with prune.epochs of its own. Levels are judged on dev
    where there is a test split, and the chosen one then on test. Levels that are up to date are not run again.

    Exit code: 0 a level passes, 1 none does or a stage fails, 2 wrong usage or recipe, 3 inconclusive.
    """
    with told():
        from sdp.sweep.levels import open_sweep
        from sdp.sweep.plan import plan_lines, plan_sweep

        sweep = open_sweep(recipe, sparsity, overrides or [], out)
        if dry_run:
            planned = plan_sweep(sweep)
            typer.echo(json.dumps(planned, indent=2) if as_json else "\n".join(plan_lines(planned)))
            return
        from sdp.sweep.runner import execute
        from sdp.sweep.table import print_frontier

        frontier = execute(sweep, Reporter(quiet=quiet))
        content = frontier.to_json()
        if as_json:
            typer.echo(json.dumps(content, indent=2))
        else:
            print_frontier(frontier, sweep.out)
        raise typer.Exit(content["exit_code"])


app.command("compare")(compare_command)


@app.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of a recipe, for editors."""
    from sdp.recipe.schema import recipe_schema

    typer.echo(json.dumps(recipe_schema(), indent=2))


@app.command("predict")
def predict_command(
    run: Annotated[Path, typer.Argument(help="A run folder whose export is done, or an exported folder.")],
    texts: Annotated[
        list[str], typer.Argument(help="The text, one for each text column of the task; for tagging a sentence.")
    ],
    as_json: Json = False,
) -> None:
    """Answer with label and probability, from the exported file alone; a tagger answers with a line for each word."""
    with told():
        from sdp.predict import Predictor, exported_folder

        predictor = Predictor(exported_folder(run))
        if predictor.type == "tagging":
            print_tags(predictor.words([word for text in texts for word in text.split()]), as_json=as_json)
            return
        answer = predictor(*texts)
        if as_json:
            typer.echo(json.dumps(asdict(answer), ensure_ascii=False))
        elif answer.score is not None:
            typer.echo(f"{answer.score:.4f}")
        else:
            typer.echo(f"{answer.label} {answer.probability:.4f}")


def print_tags(said: list[tuple[str, Any]], *, as_json: bool) -> None:
    """Print a tagger's answers: word, tag and probability, one line a word; "-" where the model said nothing."""
    if as_json:
        records = [{"word": word, **(asdict(answer) if answer else {})} for word, answer in said]
        typer.echo(json.dumps(records, ensure_ascii=False))
        return
    for word, answer in said:
        typer.echo(f"{word}\t{answer.label}\t{answer.probability:.4f}" if answer else f"{word}\t-\t-")


@app.command("verify")
def verify_command(
    folder: Annotated[Path, typer.Argument(help="A shipped folder (8-ship, or a copy of it), or a run folder.")],
    as_json: Json = False,
) -> None:
    """Check a shipped folder: every file against the manifest, then the golden inputs in onnxruntime. Needs no torch.

    Exit code: 0 it is as it was shipped, 1 it is not, 2 wrong usage.
    """
    with told():
        from sdp.push import shipped_folder
        from sdp.shipped_text import report_lines
        from sdp_onnx.verify_folder import verify_folder

        report = verify_folder(shipped_folder(folder))
        typer.echo(json.dumps(report.to_json(), indent=2) if as_json else "\n".join(report_lines(report)))
        if not report.ok:
            raise typer.Exit(1)


@app.command("push")
def push_command(
    folder: Annotated[Path, typer.Argument(help="A shipped folder, or a run folder.")],
    repository: Annotated[str, typer.Argument(metavar="REPO_ID", help="The hub's repository: OWNER/NAME.")],
    revision: Annotated[str, typer.Option(help="The branch that gets the commit.")] = "main",
    public: Annotated[bool, typer.Option("--public", help="If the repository is made now, make it public.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Upload. Without it, the command tells what it would do.")] = False,
    as_json: Json = False,
) -> None:
    """Verify a shipped folder, and upload it to the Hugging Face Hub in one commit.

    The token is that of `hf auth login`, or HF_TOKEN. Exit code: 0 done, 1 the folder does not verify or the hub
    refuses, 2 wrong usage.
    """
    with told():
        from sdp.push import push, shipped_folder
        from sdp.shipped_text import push_lines

        made = push(shipped_folder(folder), repository, revision=revision, private=not public, dry_run=not yes)
        typer.echo(json.dumps(made.to_json(), indent=2) if as_json else "\n".join(push_lines(made)))


@app.command("inspect")
def inspect_command(
    model: Annotated[Path, typer.Argument(help="An ONNX file.")],
    as_json: Json = False,
) -> None:
    """Show what is in an ONNX file: operators, sizes, sparsity and encoding of each tensor."""
    with told():
        from sdp.inspect_table import print_model
        from sdp_onnx.inspect import inspect_model

        summary = inspect_model(model)
        if as_json:
            typer.echo(json.dumps(summary.to_json(), indent=2))
        else:
            print_model(model, summary)


def main() -> None:
    """Entry point of the `sdp` command."""
    try:
        # Also while commands are put together, before one of them begins.
        with told():
            app()
    except typer.Exit as end:
        sys.exit(end.exit_code)
    except BrokenPipeError:
        # The reader (head, less) has seen enough.
        sys.stderr.close()
        sys.exit(0)
