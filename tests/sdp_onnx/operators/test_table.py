"""The table of operators in Python against the one in C++, and what reads it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from onnx import helper

from sdp_onnx.operators.library import DOMAIN
from sdp_onnx.operators.table import OPERATORS, linear_operator, operator_of
from sdp_onnx.operators.weight_formats import LayerKind
from support.native_build import NATIVE

Rows = dict[str, list[tuple[str, str, str]]]


def native_rows(text: str) -> Rows:
    """The rows of operators.def: role, name and numpy's type of each input."""
    code = re.sub(r"//.*", "", text)
    rows: Rows = {}
    for name, inputs in re.findall(r"^OPERATOR\((\w+),((?:\s*\w+\(\w+, \w+\),?)+)\)", code, re.MULTILINE):
        found = re.findall(r"(\w+)\((\w+), (\w+)\)", inputs)
        rows[name] = [
            (role.lower(), value, {"Float": "float32"}.get(kind, kind.lower())) for role, value, kind in found
        ]
    return rows


def test_both_tables_have_the_same_rows() -> None:
    native = native_rows((NATIVE / "include" / "operators.def").read_text(encoding="utf-8"))
    # To onnxruntime an input apart is an optional one.
    roles = {"apart": "optional"}
    python = {
        name: [(roles.get(value.role, value.role), value.name, value.dtype) for value in row.inputs]
        for name, row in OPERATORS.items()
    }
    assert native == python


def test_every_operator_is_compared_with_the_naive_computation() -> None:
    files = [Path(__file__).with_name(name) for name in ("test_kernels.py", "test_without_padding.py")]
    source = "".join(path.read_text(encoding="utf-8") for path in files)
    assert [name for name in OPERATORS if f'"{name}"' not in source] == []


@pytest.mark.parametrize("kind", get_args(LayerKind))
def test_each_kind_of_product_has_an_operator_whose_time_counts_as_it(kind: LayerKind) -> None:
    row = linear_operator(kind)
    assert row.weight is not None
    assert (row.part, row.weight.kind) == (kind, kind)


def test_only_linear_layers_have_weight_inputs() -> None:
    assert all(bool(row.weight_inputs) == (row.weight is not None) for row in OPERATORS.values())


def test_inputs_are_put_in_order() -> None:
    row = OPERATORS["DenseLinear"]
    assert row.arrange({"bias": "b", "x": "a", "grouped": "w"}) == ["a", "w", "b"]
    node = helper.make_node(row.name, ["a", "w", "b"], ["y"], domain=DOMAIN)
    assert row.weight_initializers(node) == ["w"]


def test_an_input_apart_needs_no_other_optional_one() -> None:
    given = {"q": "a", "k": "b", "v": "c", "tokens": "t"}
    arrange = OPERATORS["PackedAttention"].arrange
    assert arrange(given | {"bias": "d"}) == ["a", "b", "c", "t", "", "d"]
    assert arrange(given | {"mask": "m"}) == ["a", "b", "c", "t", "m"]
    assert arrange(given) == ["a", "b", "c", "t"]


@pytest.mark.parametrize("missing", ["x", "bias", "residual"])
def test_a_missing_input_is_an_error(missing: str) -> None:
    values = {"x": "a", "grouped": "w", "bias": "b", "residual": "r", "gamma": "g"}
    with pytest.raises(ValueError, match="DenseLinear takes x, grouped, bias, residual, gamma, beta, not "):
        OPERATORS["DenseLinear"].arrange({name: value for name, value in values.items() if name != missing})


def test_an_unknown_input_is_an_error() -> None:
    with pytest.raises(ValueError, match="Pack takes x, kept, not x, y"):
        OPERATORS["Pack"].arrange({"x": "a", "y": "b"})


def test_an_operator_of_another_domain_has_no_row() -> None:
    assert operator_of(helper.make_node("Pack", ["x"], ["y"], domain=DOMAIN)) is OPERATORS["Pack"]
    assert operator_of(helper.make_node("Pack", ["x"], ["y"], domain="other")) is None
    assert operator_of(helper.make_node("Unknown", ["x"], ["y"], domain=DOMAIN)) is None
