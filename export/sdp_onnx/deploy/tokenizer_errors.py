"""Errors of tokenizers: bare Exceptions and Rust panics, which do not derive from Exception."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sdp_onnx.errors import SdpError


@contextmanager
def translate_errors(error_of: Callable[[str], SdpError]) -> Iterator[None]:
    """Convert any exception of a tokenizer to an error of sdp.

    Args:
        error_of: creates the error from the first line of the reason.

    Raises:
        SdpError: the result of `error_of`; KeyboardInterrupt and SystemExit are not converted.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise error_of(reason) from error
