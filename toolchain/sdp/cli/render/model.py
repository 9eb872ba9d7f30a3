"""Print the summary of an ONNX file."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from sdp.pipeline.progress import result_console
from sdp_onnx.model.inspect import ModelSummary


def print_model(path: Path, summary: ModelSummary, remark: str = "") -> None:
    """Print operators, inputs, outputs and tensors on stdout, largest tensors first."""
    console = result_console()
    opset = ", ".join(f"{domain} {version}" for domain, version in summary.opset.items())
    console.print(f"{path}: {summary.file_bytes / 1e6:,.1f} MB, opset {opset}, {_readers(summary)}", markup=False)
    if remark:
        console.print(remark, markup=False)
    for title, values in (("input", summary.inputs), ("output", summary.outputs)):
        for value in values:
            console.print(f"{title} {value.name} {value.dtype} {list(value.shape)}", markup=False)
    operators = ", ".join(f"{name} {count}" for name, count in summary.operators.items())
    console.print(f"operators: {operators}", markup=False)
    table = Table(title=f"{len(summary.tensors)} tensors", title_justify="left")
    table.add_column("tensor", overflow="fold")
    for header in ("shape", "type", "encoding", "sparsity", "kB"):
        table.add_column(header, justify="right")
    for tensor in sorted(summary.tensors, key=lambda record: -record.bytes):
        shape = "x".join(str(size) for size in tensor.shape) or "scalar"
        table.add_row(
            tensor.name, shape, tensor.dtype, tensor.encoding, f"{tensor.sparsity:.1%}", f"{tensor.bytes / 1e3:,.1f}"
        )
    console.print(table)


def _readers(summary: ModelSummary) -> str:
    return f"onnxruntime {summary.onnxruntime} or newer" if summary.onnxruntime else "no known onnxruntime reads it"
