"""Libraries of a stage that are not installed here: sdp without the extra `train` reads and judges finished runs."""

from __future__ import annotations

from importlib.util import find_spec

from sdp.pipeline.stages import TRAINING_LIBRARIES, Stage


def with_absent_libraries(installed: dict[str, str], before: object, stage: Stage) -> dict[str, str]:
    """The installed versions, and the recorded ones of libraries that are not here: those cannot make another result.

    Args:
        installed: distribution -> version, of those that are installed.
        before: the ingredients in the stage's record; empty where the record is damaged.
        stage: the stage.
    """
    recorded = before.get("libraries") if isinstance(before, dict) else None
    known = recorded if isinstance(recorded, dict) else {}
    return {name: known[name] for name in stage.libraries if name in known} | installed


def require_training_libraries(stage: Stage) -> None:
    """See that a stage can run here, before its folder is begun.

    Raises:
        ModuleNotFoundError: it needs a library of the extra `train`, which is not installed.
    """
    for name in TRAINING_LIBRARIES:
        if name in stage.libraries and find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
