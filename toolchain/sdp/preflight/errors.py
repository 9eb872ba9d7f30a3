"""Errors of the preflight as one message: the stage, the cause, and that nothing was trained yet."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sdp.errors import SdpError, StageError, StoppedError
from sdp.pipeline.files import storage_error
from sdp_onnx.errors import ModelFileError


@contextmanager
def preflight_errors(stage: str, places: Mapping[str, str], details: Path) -> Iterator[None]:
    """Put the preflight and its stage in front of an error of the block.

    Args:
        stage: the current stage.
        places: temporary folders of the preflight -> the names that messages show instead.
        details: the file for the traceback of an error that is not one of sdp's own.

    Raises:
        SdpError: the error of the block, with its own type.
        StageError: the block raised another error.
    """
    where = f"preflight, {stage}"
    try:
        yield
    except StoppedError as error:
        what = "stopped in the preflight: nothing was trained yet"
        raise StoppedError(what, number=error.exit_code - 128) from None
    except Exception as error:
        if storage_error(error) is not None:
            raise
        if isinstance(error, SdpError):
            what, place, hint = (_renamed(text, places) for text in (error.what, error.where, error.hint))
            # Hints about files refer to a file of the user's, which can be made or copied again.
            hint = "" if isinstance(error, ModelFileError) else hint
            error.what, error.where, error.hint = what, f"{where}: {place}" if place else where, hint
            raise
        details.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        hint = f"The traceback is in {details}. To train all the same: --set runtime.preflight=false."
        raise StageError(_first_line(error), where=where, hint=hint) from error


def _renamed(text: str, places: Mapping[str, str]) -> str:
    for place, meant in places.items():
        text = text.replace(place, meant)
    return text


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
