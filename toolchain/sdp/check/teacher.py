"""What `sdp check` reports of another network to learn from, before anything runs. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sdp.check.facts import Facts, Finding, TeacherFacts
from sdp.check.model import data_labels
from sdp.errors import NotDownloadedError
from sdp.models.architectures import model_type
from sdp.models.parts import encoder_shape, part_of, tensor_shapes
from sdp.pruning.teacher_source import KEY, locate_teacher, teacher_head, teacher_title
from sdp.recipe.sections import Recipe


def read_teacher(recipe: Recipe) -> TeacherFacts | str | None:
    """Return the facts of the recipe's other teacher; None without one, the reason where it is not downloaded.

    Raises:
        UsageError: it cannot be used, or is no network for this task.
    """
    if recipe.prune.teacher is None:
        return None
    try:
        folder = locate_teacher(recipe, download=False)
    except NotDownloadedError as error:
        return f"the teacher, and what is up to date: {error.where}: {error.what}"
    labels = data_labels(recipe)
    if labels is not None:
        teacher_head(recipe, folder, labels)
    sizes = {name: math.prod(shape) for name, shape in tensor_shapes(folder).items()}
    computing = sum(size for name, size in sizes.items() if part_of(name) != "embeddings")
    width, layers = encoder_shape(folder)
    kind = model_type(folder) or "unknown"
    return TeacherFacts(teacher_title(recipe), kind, layers, width, sum(sizes.values()), computing)


def teacher_findings(facts: Facts) -> Iterator[Finding]:
    """Name the other network to learn from."""
    teacher = facts.teacher
    if teacher is None:
        return
    what = f"pruning learns from {teacher.title}, a {teacher.model_type} model of {teacher.parameters:,} parameters"
    if teacher.layers is not None and teacher.width is not None:
        what += f", {teacher.layers} layers of {teacher.width}"
    yield Finding("note", KEY, f"{what}; its metric on dev is measured before")
