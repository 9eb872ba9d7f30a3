"""Whatever a tokenizer raises becomes an error of sdp; a stop does not."""

from __future__ import annotations

import pytest

from sdp_onnx.deploy.tokenization import translate_errors
from sdp_onnx.errors import ModelFileError


class Panic(BaseException):
    pass


@pytest.mark.parametrize("error", [Exception("a reason\nand more"), ValueError("a reason"), Panic("a reason")])
def test_the_first_line_is_the_reason(error: BaseException) -> None:
    with (
        pytest.raises(ModelFileError, match=r"it says: a reason$"),
        translate_errors(lambda r: ModelFileError(f"it says: {r}")),
    ):
        raise error


def test_an_error_without_words_is_named_by_its_class() -> None:
    with pytest.raises(ModelFileError, match="Panic"), translate_errors(ModelFileError):
        raise Panic


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_stop_stays_one(stop: type[BaseException]) -> None:
    with pytest.raises(stop), translate_errors(ModelFileError):
        raise stop
