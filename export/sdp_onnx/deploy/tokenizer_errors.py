"""What a tokenizer raises: bare Exceptions and, where its Rust gives up, panics, which are no Exceptions at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sdp_onnx.errors import SdpError


@contextmanager
def told_as(error_of: Callable[[str], SdpError]) -> Iterator[None]:
    """Turn whatever comes out of a tokenizer into an error of sdp's own.

    Args:
        error_of: makes it from the first line of the reason.

    Raises:
        SdpError: what `error_of` made; a Ctrl-C or an exit passes as it is.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise error_of(reason) from error
