"""Times of the library's products by themselves: the product is the exporter's, and its graph runs."""

from __future__ import annotations

import numpy as np
import pytest

from sdp_onnx.bench.operator_times import Product, product_seconds
from sdp_onnx.operators.library import has_library

pytestmark = pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")


@pytest.mark.parametrize("block", [1, 4])
def test_a_weight_has_its_share_of_nonzeros_in_blocks(block: int) -> None:
    array = Product(64, 48, block, "fp32").weight(0.25).array()
    assert array.shape == (64, 48)
    assert np.count_nonzero(array) == 64 * 48 // 4
    filled = array.reshape(64 // block, block, 48).any(axis=1)
    assert np.count_nonzero(filled) == 64 * 48 // 4 // block


def test_the_product_is_the_one_that_the_exporter_chooses() -> None:
    assert [Product(64, 48, 1, "fp32").kind(density) for density in (1.0, 0.55, 0.3)] == ["dense", "dense", "sparse"]
    assert [Product(64, 48, 4, "int8").kind(density) for density in (1.0, 0.3)] == ["dense-int8", "sparse-int8"]
    # Of single zeros most blocks hold something else.
    assert Product(64, 48, 1, "int8").kind(0.3) == "dense-int8"
    assert Product(64, 42, 1, "fp32").kind(1.0) is None


@pytest.mark.parametrize(("precision", "block"), [("fp32", 1), ("int8", 4)])
@pytest.mark.parametrize("density", [1.0, 0.1])
def test_every_product_runs(precision: str, block: int, density: float) -> None:
    product = Product(64, 48, block, precision)  # type: ignore[arg-type]
    assert 0 < product_seconds(product, density, (2, 5), copies=3, threads=1) < 1


def test_zeros_save_time() -> None:
    product = Product(512, 512, 1, "fp32")
    dense, sparse = (product_seconds(product, density, (1, 64), copies=2, threads=1) for density in (1.0, 0.02))
    assert sparse < dense / 2


def test_a_shape_without_a_product_is_refused() -> None:
    with pytest.raises(ValueError, match="no product"):
        product_seconds(Product(64, 42, 1, "fp32"), 1.0, (1, 4), copies=1, threads=1)
