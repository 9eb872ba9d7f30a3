"""A new operator takes one C++ file and one row in each table: everything else finds it there."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sdp_onnx.model.inspect import inspect_model
from sdp_onnx.model.linear_layers import linear_layers
from sdp_onnx.model.model_file import StoredTensor
from sdp_onnx.operators.library import DOMAIN, OPSET
from sdp_onnx.operators.table import OPERATORS, Input, Operator
from sdp_onnx.operators.weight_formats import LayerTensors, WeightFormat, new_tensor
from support import operators
from support.native_build import NATIVE, build_script

DIAGONAL = np.array([2.0, 0.0, -1.0], np.float32)

SOURCE = """
#include "operators.h"

namespace sdp {

namespace {

class DiagonalLinear : public Operator {
 public:
  explicit DiagonalLinear(const OrtKernelInfo* info)
      : diagonal_(constant<float>(info, DiagonalLinearInputs::diagonal)) {
    require(diagonal_.shape.size() == 1 && diagonal_.size() > 0, "diagonal is not a vector");
  }
  void compute(OrtKernelContext* context) const override {
    const Tensor<float> x = input<float>(context, DiagonalLinearInputs::x);
    require(!x.shape.empty() && x.shape.back() == diagonal_.shape[0], "x has another width than the diagonal");
    float* y = output(context, x.shape);
    for (size_t i = 0; i < x.size(); ++i) y[i] = x.data[i] * diagonal_.data[i % diagonal_.size()];
  }

 private:
  Tensor<float> diagonal_;
};

}  // namespace

std::unique_ptr<Operator> make_DiagonalLinear(const OrtKernelInfo* info) {
  return std::make_unique<DiagonalLinear>(info);
}

}  // namespace sdp
"""
ROW = "OPERATOR(DiagonalLinear, REQUIRED(x, Float), WEIGHT(diagonal, Float))\n\n"


def write(names: Sequence[str], weights: Sequence[StoredTensor]) -> LayerTensors:
    (name,), (weight,) = names, weights
    return LayerTensors([new_tensor(name, np.diag(weight.array()))], {weight.name: 4 * weight.shape[0]})


def read(arrays: Sequence[NDArray[Any]], settings: Mapping[str, Any]) -> NDArray[Any]:
    return np.diag(arrays[0])


PYTHON_ROW = Operator(
    "DiagonalLinear", "dense", (Input("x"), Input("diagonal", role="weight")), WeightFormat("dense", write, read)
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = build_script().find_compiler()
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    native = tmp_path_factory.mktemp("new") / "native"
    shutil.copytree(NATIVE, native)
    source = native / "operators" / "diagonal_linear.cpp"
    source.write_text(SOURCE, encoding="utf-8")
    # Without the rows of the other operators, whose files and kernels would take most of the compiler's time.
    table = native / "include" / "operators.def"
    text = table.read_text(encoding="utf-8")
    table.write_text(ROW + text[text.index("#undef OPERATOR\n") :], encoding="utf-8")
    build = build_script(native)
    target = native.parent / build.library_name()
    sources = [str(native / "operators" / "library.cpp"), str(source)]
    subprocess.run([*compiler, *build.FLAGS, "-O0", "-Werror", "-shared", *sources, "-o", str(target)], check=True)
    return target


def test_onnxruntime_runs_it(library: Path) -> None:
    nodes = [operators.node("DiagonalLinear", ["x", "diagonal"], "y")]
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    result = operators.session(nodes, {"diagonal": DIAGONAL}, {"x": x}, library=library).run(None, {"x": x})
    np.testing.assert_array_equal(result[0], x * DIAGONAL)
    with pytest.raises(Exception, match=r"sdp\.DiagonalLinear: diagonal is not a vector"):
        operators.session(nodes, {"diagonal": DIAGONAL[None]}, {"x": x}, library=library)


def test_readers_know_its_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPERATORS, PYTHON_ROW.name, PYTHON_ROW)
    node = helper.make_node(
        PYTHON_ROW.name,
        PYTHON_ROW.arrange({"x": "x", "diagonal": "w/diagonal"}),
        ["y"],
        name="layer",
        domain=DOMAIN,
        in_features=3,
        out_features=3,
        weights=["w"],
        widths=[3],
    )
    graph = helper.make_graph(
        [node],
        "new",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3])],
        [numpy_helper.from_array(DIAGONAL, "w/diagonal")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, OPSET)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")

    (record,) = inspect_model(tmp_path / "m.onnx").tensors
    assert (record.name, record.shape, record.zeros, record.encoding, record.bytes) == ("w", (3, 3), 7, "kernel", 12)
    layer = linear_layers(tmp_path / "m.onnx")["layer"]
    assert (layer.kind, layer.in_library, layer.nonzeros) == ("dense", True, 2)
