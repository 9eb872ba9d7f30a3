"""The GitHub action: its steps run as in a job, in a repository of its own; the example workflow fits it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from junitparser import Error, Failure, JUnitXml

from sdp_onnx.deploy.verify_folder import verify_folder
from support.toy import ONE_THREAD

CI = Path(__file__).parents[2] / "toolchain" / "ci"
ACTION: dict[str, Any] = yaml.safe_load((CI / "action.yml").read_text(encoding="utf-8"))
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")


class Job:
    """A job's contexts and files, and how it runs a step."""

    def __init__(self, workspace: Path, **inputs: str) -> None:
        self.workspace = workspace
        self.temp = workspace / "runner-temp"
        self.temp.mkdir()
        self.summary, self.output = self.temp / "summary.md", self.temp / "output"
        self.summary.touch()
        self.context: dict[str, str] = {"github.action_path": str(CI)}
        for name, given in ACTION["inputs"].items():
            self.context[f"inputs.{name}"] = inputs.pop(name.replace("-", "_"), given.get("default", ""))
        assert not inputs

    def fill(self, text: str) -> str:
        """Put what expressions stand for in their place."""
        return EXPRESSION.sub(lambda match: self.context[match.group(1)], text)

    def run(self, step: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        """Run a step's shell as GitHub does, and read its outputs."""
        assert step["shell"] == "bash"
        script = self.temp / "step.sh"
        script.write_text(step["run"], encoding="utf-8")
        self.output.write_text("")
        places = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "GITHUB_OUTPUT": str(self.output),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "RUNNER_TEMP": str(self.temp),
        }
        env = ONE_THREAD | places | {key: self.fill(value) for key, value in step["env"].items()}
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
        done = subprocess.run(
            command, cwd=self.workspace, env=env, capture_output=True, text=True, timeout=300, check=False
        )
        for line in self.output.read_text().splitlines():
            name, _, value = line.partition("=")
            self.context[f"steps.{step['id']}.outputs.{name}"] = value
        return done

    def run_all(self, *, installs: bool = False) -> tuple[int, str]:
        """Run the steps with a shell, after one that fails only those that always run.

        Returns:
            the first exit code that is not 0, and what the last step said.
        """
        code = 0
        for step in STEPS:
            if code and "always()" not in step.get("if", ""):
                continue
            skipped = step.get("name") == "Compare with the baseline" and not self.context["inputs.baseline"]
            skipped |= "== '0'" in step.get("if", "") and self.context["steps.run.outputs.exit-code"] != "0"
            if "run" not in step or skipped or (step["name"] == "Install sdp" and not installs):
                continue
            done = self.run(step)
            code = code or done.returncode
        return code, done.stdout

    @property
    def folder(self) -> Path:
        """The run folder that the action names."""
        return self.workspace / self.context["steps.plan.outputs.run-folder"]


@pytest.fixture
def repository(finished: Path, tmp_path: Path) -> Path:
    """A repository with recipe, data and model, and the runs that the cache brought back."""
    return Path(shutil.copytree(finished, tmp_path / "repository", symlinks=True))


def results(job: Job) -> list[list[type]]:
    report = JUnitXml.fromfile(job.folder / "6-gate" / "junit.xml")
    return [[type(result) for result in case.result] for suite in report for case in suite]


def test_a_model_that_passes_is_compared_with_the_baseline(repository: Path) -> None:
    from sdp.compare.snapshot import save_snapshot, take_snapshot

    save_snapshot(take_snapshot(repository / "runs" / "toy"), repository / "baseline.json")
    job = Job(repository, recipe="toy.toml", baseline="baseline.json", install="--quiet pip")
    assert job.run_all(installs=True) == (0, "the gate passes\n")
    assert job.context["steps.run.outputs.exit-code"] == "0"
    assert job.context["steps.plan.outputs.run-folder"] == str(repository / "runs/toy")
    assert re.fullmatch(r"sdp-toy-[0-9a-f]{16}", job.context["steps.plan.outputs.key"])
    assert job.context["steps.plan.outputs.key"].startswith(job.context["steps.plan.outputs.prefix"])
    page = job.summary.read_text(encoding="utf-8")
    assert page.startswith("### sdp gate: toy: **pass**\n")
    assert "against baseline.json: nothing is worse beyond noise" in page
    assert results(job) == [[], []]
    (upload,) = [step for step in STEPS if step.get("name") == "Upload verdict and report"]
    for line in upload["with"]["path"].splitlines():
        assert (repository / job.fill(line.strip())).is_file()
    (shipped,) = [step for step in STEPS if step.get("name") == "Upload the shipped folder"]
    assert job.fill(shipped["with"]["name"]) == "sdp-gate-model"
    folder = Path(job.fill(shipped["with"]["path"]))
    assert verify_folder(folder).ok
    # What the first run of a repository leaves for the next ones is what they are compared with.
    shutil.copy(job.folder / "baseline.json", repository / "baseline.json")
    (compare,) = [step for step in STEPS if step.get("name") == "Compare with the baseline"]
    assert "against baseline.json: nothing is worse beyond noise" in job.run(compare).stdout


def test_the_first_run_has_no_baseline_and_does_not_fail(repository: Path) -> None:
    job = Job(repository, recipe="toy.toml", baseline="baseline.json")
    (compare,) = [step for step in STEPS if step.get("name") == "Compare with the baseline"]
    job.context["steps.plan.outputs.run-folder"] = str(repository / "runs/toy")
    assert job.run(compare).returncode == 0
    assert job.summary.read_text(encoding="utf-8") == "No baseline yet (baseline.json): nothing is compared.\n"
    (repository / "baseline.json").write_text("{}")
    assert job.run(compare).returncode == 2, "a damaged one is an error"


def test_a_model_that_lost_too_much_fails_with_the_reason(repository: Path) -> None:
    overrides = "gate.min_metric=1.01\n\ngate.max_size_ratio=1.0\n"
    job = Job(repository, recipe="toy.toml", set=overrides, inconclusive="pass", baseline="gone.json")
    code, printed = job.run_all()
    assert (code, job.context["steps.run.outputs.exit-code"]) == (1, "1")
    assert not (job.folder / "8-ship").exists()
    assert job.run(STEPS[-1]).returncode == 1
    assert printed == "::error::sdp run ended with exit code 1\n"
    assert results(job) == [[Failure], [], []]
    assert "| min_metric | fail | accuracy of the exported file on dev is " in job.summary.read_text(encoding="utf-8")


def test_an_inconclusive_one_does_what_the_input_asks(repository: Path) -> None:
    cases = json.loads((repository / "runs/toy/5-bench/latency.json").read_text())["cases"]
    open_value = min(case["speedup"]["value"] for case in cases)
    job = Job(repository, recipe="toy.toml", set=f"gate.min_speedup={open_value}")
    code, printed = job.run_all()
    assert (code, job.context["steps.run.outputs.exit-code"]) == (3, "3")
    assert printed.startswith("::error::the gate is inconclusive")
    assert Error in [kind for kinds in results(job) for kind in kinds]
    assert job.summary.read_text(encoding="utf-8").startswith("### sdp gate: toy: **inconclusive**")
    job.context["inputs.inconclusive"] = "pass"
    done = job.run(STEPS[-1])
    assert (done.returncode, done.stdout.startswith("::warning::the gate is inconclusive")) == (0, True)


@pytest.mark.parametrize(
    ("install", "arguments"),
    [("--upgrade sdp[quickstart]", ["--upgrade", "sdp[quickstart]"]), ("", [f"{CI}/../..[train]"])],
)
def test_what_is_installed_is_no_pattern_of_file_names(install: str, arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "sdpq").touch()
    step = next(step for step in STEPS if step.get("name") == "Install sdp")
    shown = {**step, "run": "python() { printf '%s\\n' \"$@\"; }\n" + step["run"]}
    done = Job(tmp_path, recipe="toy.toml", install=install).run(shown)
    assert done.stdout.splitlines() == ["-m", "pip", "install", *arguments]


def test_wrong_inputs_end_before_anything_runs(repository: Path) -> None:
    plan = next(step for step in STEPS if step.get("id") == "plan")
    job = Job(repository, recipe="toy.toml", inconclusive="maybe")
    done = job.run(plan)
    assert (done.returncode, "must be fail or pass, not 'maybe'" in done.stdout) == (2, True)
    assert job.context["steps.plan.outputs.exit-code"] == "2"


def test_a_wrong_recipe_has_its_exit_code(repository: Path) -> None:
    plan = next(step for step in STEPS if step.get("id") == "plan")
    job = Job(repository, recipe="toy.toml", set="prune.sparsity=2")
    done = job.run(plan)
    assert (done.returncode, job.context["steps.plan.outputs.exit-code"]) == (2, "2")
    assert "prune.sparsity" in done.stderr


def test_the_action_is_whole() -> None:
    """Every expression names something that is there, and what others wrote is pinned to a version."""
    outputs = {"plan": {"key", "prefix", "run-folder", "exit-code"}, "run": {"exit-code"}, "cache": {"cache-hit"}}
    assert {step["id"] for step in STEPS if "id" in step} == set(outputs)
    for expression in EXPRESSION.findall((CI / "action.yml").read_text(encoding="utf-8")):
        for name in re.findall(r"(?:inputs|steps|github)\.[\w.-]+", expression):
            context, rest = name.split(".", 1)
            assert context != "inputs" or rest in ACTION["inputs"], name
            assert context != "github" or rest == "action_path", name
            if context == "steps":
                step, _, output = rest.split(".")
                assert output in outputs[step], name
    for step in STEPS:
        assert ("run" in step) != ("uses" in step)
        assert "run" not in step or EXPRESSION.search(step["run"]) is None, "inputs go through the environment"
        assert "uses" not in step or re.fullmatch(r"actions/[\w/-]+@v\d+", step["uses"])


def test_the_example_workflow_and_the_docs_fit_the_action() -> None:
    workflow = yaml.safe_load((CI / "workflow.yml").read_text(encoding="utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    (ours,) = [step for step in steps if step["uses"].endswith("/toolchain/ci@main")]
    required = {name for name, given in ACTION["inputs"].items() if given.get("required")}
    assert required <= set(ours["with"]) <= set(ACTION["inputs"])
    # YAML 1.1 reads "on" as true.
    assert set(workflow[True]) == {"pull_request", "push"}
    page = (CI.parent / "docs" / "CI.md").read_text(encoding="utf-8")
    table = page.split("| input |")[1].split("Outputs:")
    assert set(re.findall(r"^\| `([\w-]+)`", table[0], re.MULTILINE)) == set(ACTION["inputs"])
    assert set(re.findall(r"`([\w-]+)`", table[1].split("\n\n")[0])) == set(ACTION["outputs"])
