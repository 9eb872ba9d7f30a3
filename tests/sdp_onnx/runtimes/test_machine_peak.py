"""The peak is a measurement: only its order can be tested."""

from __future__ import annotations

import pytest

from sdp_onnx.errors import OperatorLibraryError
from sdp_onnx.operators.library import has_library
from sdp_onnx.runtimes.machine_peak import measure_peak

pytestmark = pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")


@pytest.mark.parametrize("threads", [1, 2])
def test_every_cpu_has_plain_instructions(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDP_KERNELS", "scalar")
    peak = measure_peak(threads)
    assert (peak.threads, peak.instruction_set) == (threads, "scalar")
    # From a small board to more than any core does.
    assert 0.05 < peak.fp32_gflops < 10_000
    assert 0.05 < peak.int8_gops < 10_000


def test_unknown_kernels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDP_KERNELS", "abacus")
    with pytest.raises(OperatorLibraryError, match="abacus"):
        measure_peak(1)
