"""The arms of the languages study: what each sets beside the defaults."""

from __future__ import annotations

from dataclasses import dataclass

SPARSITIES = (0.5, 0.7, 0.8, 0.9)
PIECES = 24_000
# Plain magnitude pruning with the labels, as the papers have it; a loss is added to it, and nothing else is changed.
# The learning rate was the best of three for pruning without a teacher (STUDY.md).
WITH_LABELS = (
    "prune.labels=true",
    "prune.dropout=true",
    'prune.criterion="magnitude"',
    "prune.learning_rate=2e-4",
    "prune.warmup=0.1",
    "prune.decay=1",
    "prune.betas=[0.9, 0.999]",
    "prune.weight_decay=0.01",
)
WITHOUT_TEACHER = "none"
LOSSES = {
    WITHOUT_TEACHER: '[{name="none"}]',
    "align-cosine": '[{name="align-cosine"}]',
    "align-frobenius": '[{name="align-frobenius"}]',
    "cross-correlation": '[{name="cross-correlation", representation="tokens"}]',
}


@dataclass(frozen=True)
class Arm:
    """One model of the study.

    Attributes:
        name: of the arm and its result.
        settings: `--set` options beside those that all arms have.
        stage: the stage that makes the model.
        vocabulary: whether it has few pieces; such arms have a fine-tuned model of their own.
        unlabeled: whether it learns from texts in the other languages, too.
        exported: whether the bytes of its file are measured.
    """

    name: str
    settings: tuple[str, ...] = ()
    stage: str = "prune"
    vocabulary: bool = False
    unlabeled: bool = False
    exported: bool = False


def study_arms(sparsity: float) -> tuple[Arm, ...]:
    """Return all arms: the default pruning at every sparsity, and the others at one.

    Args:
        sparsity: of the other arms; also pruned by default, where it is not one of `SPARSITIES`.
    """
    few = f"vocabulary.size={PIECES}"
    levels = sorted({*SPARSITIES, sparsity})
    zeros = f"prune.sparsity={sparsity}"
    return (
        Arm("dense", stage="finetune"),
        *(Arm(pruned(level), (f"prune.sparsity={level}",), exported=level == sparsity) for level in levels),
        *(Arm(at(name, sparsity), (zeros, *WITH_LABELS, f"prune.losses={losses}")) for name, losses in LOSSES.items()),
        Arm(at("unlabeled", sparsity), (zeros,), unlabeled=True),
        Arm("vocabulary-dense", (few,), stage="finetune", vocabulary=True),
        Arm(at("vocabulary", sparsity), (few, zeros), vocabulary=True, exported=True),
    )


def pruned(sparsity: float) -> str:
    """Return the name of the default pruning at a sparsity."""
    return at("pruned", sparsity)


def at(name: str, sparsity: float) -> str:
    """Return the name of an arm at a sparsity, which stands in it in per cent."""
    return f"{name}-{100 * sparsity:g}"
