"""Tests of kernels run on every instruction set of this machine."""

from __future__ import annotations

import pytest

from sdp_onnx.errors import OperatorLibraryError
from sdp_onnx.operators.library import instruction_set
from support.operators import INSTRUCTION_SETS


@pytest.fixture(params=INSTRUCTION_SETS)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SDP_KERNELS", request.param)
    try:
        assert instruction_set() == request.param
    except OperatorLibraryError:
        pytest.skip(f"this CPU has no {request.param}")
    return str(request.param)
