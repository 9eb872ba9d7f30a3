"""Hostile recipes: TOML as bytes, as values, as structure, and files that extend each other."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from random import Random

from hostile_folders import Project
from hostile_judge import QuietError, command, strict_json
from hostile_values import TEXTS, damaged_bytes

Use = Callable[[], object]
KEYS = (
    *("name", "seed", "extends", "model.name", "model.revision", "task.type", "task.name", "task.metric", "data.train"),
    *(
        "data.dev",
        "data.test",
        "data.text",
        "data.label",
        "data.dataset",
        "data.config",
        "data.max_length",
        "data.group",
    ),
    *(
        "finetune.epochs",
        "finetune.learning_rate",
        "finetune.batch_size",
        "prune.sparsity",
        "prune.losses",
        "prune.start",
        "prune.teacher",
    ),
    *("prune.scope", "prune.mask_updates", "prune.criterion", "export.tolerance", "export.opset", "bench.threads"),
    *("bench.sequence_lengths", "bench.seconds", "gate.max_metric_drop", "gate.budget_seconds", "gate.min_speedup"),
    *("evaluate.resamples", "runtime.checkpoint_seconds", "vocabulary.size", "vocabulary.corpus", "task.subsets"),
    *("task.eval_languages", "task.train_languages", "data.docstrings.packages", "data.train_rows", "ship.license"),
)
VALUES = (
    *("nan", "inf", "-inf", "0", "-1", "1", "2", "1e-320", "1e308", "9" * 400, "-" + "9" * 5000, "9223372036854775808"),
    *(
        "true",
        "[]",
        "{}",
        "[[]]",
        '""',
        '"\\u0000"',
        '"a\\u0000b.tsv"',
        "1979-05-27",
        "07:32:00",
        "1979-05-27T07:32:00Z",
    ),
    *("[1, 'a']", "['en', 'de']", "{name = 'kld'}", "[{name = 'kld', weight = nan}]", "0x7fffffffffffffff", "'task'"),
    *(
        "'{language}.tsv'",
        "'{subset}{language}'",
        "'package:os/x'",
        "'package:sdp/../..'",
        "'~nobody/x.tsv'",
        "'/dev/zero'",
    ),
    *("'/dev/zero.tsv'", "'/dev/null'", "'.'", "'/'", "'..'", "'" + "a/" * 2000 + "'", "'**/*'", "'[a-'", "'model'"),
)


def recipe_case(random: Random, folder: Path, project: Project) -> Use:
    """`sdp check` of a damaged recipe, or of a sound one with damaged overrides."""
    for path in project.path.iterdir():
        if path.name != "runs" and path.suffix != ".toml":
            (folder / path.name).symlink_to(path)
    file = folder / "toy.toml"
    made = random.choice([_bytes, _bytes, _values, _values, _values, _structure, _files])(random, file, project.recipe)
    arguments: list[str] = []
    if random.random() < 0.2:
        # No argument of a process holds NUL, which is the end of it.
        key, value = random.choice(KEYS), random.choice(VALUES)
        arguments = ["--set", f"{key}={value}".replace("\0", "")]
    if made is not None:
        file.write_bytes(made)
    return lambda: _check(file, arguments)


def _check(file: Path, arguments: list[str]) -> None:
    _, output = command("check", file, "--runs", file.parent / "runs", "--json", *arguments)
    plan = strict_json(output)
    if not plan["recipe"]:
        raise QuietError("a plan without a name")


def _bytes(random: Random, file: Path, recipe: str) -> bytes:
    content = recipe.encode()
    if random.random() < 0.3:
        ended = [content.replace(b"\n", end) for end in (b"\r\n", b"\r")]
        return random.choice([b"\xef\xbb\xbf" + content, *ended])
    return damaged_bytes(random, content)


def _values(random: Random, file: Path, recipe: str) -> bytes:
    """Dotted keys before the tables, so that they are valid TOML; a key that is there too is defined twice."""
    lines = recipe.splitlines()
    for _ in range(random.choice([1, 1, 2, 3])):
        key = random.choice(KEYS)
        value = random.choice(VALUES) if random.random() < 0.7 else json.dumps(random.choice(TEXTS))
        section, _, name = key.rpartition(".")
        if section and f"[{section}]" in lines:
            lines = [line for line in lines if not line.startswith(f"{name} =")]
            lines.insert(lines.index(f"[{section}]") + 1, f"{name} = {value}")
        else:
            lines = [f"{key} = {value}", *(line for line in lines if section or not line.startswith(f"{name} ="))]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _structure(random: Random, file: Path, recipe: str) -> bytes:
    deep = random.choice([50, 1000, 20_000])
    key = random.choice(["model", "prune", "x", "data.text", "prune.losses"])
    nested = random.choice(
        [
            f"{key} = {'[' * deep}{']' * deep}",
            f"{key} = " + "{a=" * deep + "1" + "}" * deep,
            ".".join(["a"] * deep) + " = 1",
            "[" + ".".join(["a"] * deep) + "]",
            "[[" + "]]\n[[".join(f"a{i}" for i in range(deep)) + "]]",
            f"x = '{'y' * 10**6}'",
            f'"{"k" * 10**5}" = 1',
            "\n".join(f"k{i} = 1" for i in range(deep)),
        ]
    )
    return f"{nested}\n{recipe}".encode() if random.random() < 0.7 else f"{recipe}\n{nested}".encode()


def _files(random: Random, file: Path, recipe: str) -> bytes | None:
    """What a recipe extends, and what its name is."""
    kind, other = random.randrange(9), file.with_name("other.toml")
    parent = "other.toml"
    if kind == 0:
        other.write_text('extends = "toy.toml"\n')
    elif kind == 1:
        other.symlink_to("other.toml")
    elif kind == 2:
        other.mkdir()
    elif kind == 3:
        parent = random.choice(
            ["/dev/zero", "/dev/null", "/proc/self/mem", "/", ".", "", "a\\u0000b", "x" * 5000, "~/x.toml"]
        )
    elif kind == 4:
        other.symlink_to("toy.toml")
    elif kind == 5:
        count = random.choice([5, 1500])
        for number in range(count):
            (file.parent / f"{number}.toml").write_text(f'extends = "{number + 1}.toml"\n')
        (file.parent / f"{count}.toml").write_text(recipe)
        parent = "0.toml"
    elif kind == 6:
        file.symlink_to(file.name)
        return None
    elif kind == 7:
        (file.parent / "dev.tsv").unlink()
        os.symlink(random.choice(["dev.tsv", "/dev/zero", ".", "/nowhere", "/dev/null"]), file.parent / "dev.tsv")
        return recipe.encode()
    else:
        other.write_bytes(b"\xff\xfe" + recipe.encode("utf-16-le"))
    return f'extends = "{parent}"\n{recipe}'.encode()
