"""Write an ONNX file tensor by tensor: memory holds one tensor instead of the serialized model.

`onnx.save` needs the model as a message and again as bytes. Here the model has no initializers; each initializer is an
`Entry`, whose length is known before its content is loaded. This is sufficient to write the length prefixes of the
protobuf format and then stream the content. The result equals protobuf's own output except for the order of fields,
which has no meaning in protobuf.

A file above the threshold keeps its dense tensors beside it, in one file `<name>.data`, page-aligned so that
onnxruntime can map them. COO tensors always stay inside: onnxruntime would read them from outside, but the ONNX checker
cannot ("Cannot parse data from external tensors").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, SparseTensorProto, TensorProto

from sdp_onnx.errors import ModelFileError
from sdp_onnx.model.encodings import INDEX_BYTES, itemsize_of
from sdp_onnx.model.files import atomic_write

# protobuf rejects messages of 2 GiB; a megabyte is reserved for later additions of the caller.
PROTOBUF_LIMIT = 2**31 - 2**20

# Smaller tensors stay inside: onnxruntime reads shapes and scalars while it optimizes the graph.
_SMALLEST_EXTERNAL = 1024
_PAGE = 4096

Load = Callable[[], Sequence[NDArray[Any]]]


@dataclass(frozen=True)
class Entry:
    """One initializer, ready to be written: pieces of protobuf, each followed by the array with the same index.

    Attributes:
        field: its field number in GraphProto.
        pieces: protobuf bytes before each array.
        payload_bytes: length of each array in bytes.
        load: produces the arrays; called once, when they are written.
        stub: the tensor without its content, where the content may move to the external file.
    """

    field: int
    pieces: tuple[bytes, ...]
    payload_bytes: tuple[int, ...]
    load: Load
    stub: TensorProto | None = None

    @property
    def size(self) -> int:
        """Bytes of the message, without its tag and length."""
        return sum(map(len, self.pieces)) + sum(self.payload_bytes)

    @property
    def written_size(self) -> int:
        """Bytes of the entry in the file."""
        return len(_prefix(self.field, self.size)) + self.size

    @property
    def movable(self) -> bool:
        """Whether the content may be stored outside."""
        return self.stub is not None and sum(self.payload_bytes) >= _SMALLEST_EXTERNAL


def dense_entry(name: str, data_type: int, shape: Sequence[int], payload_bytes: int, load: Load) -> Entry:
    """Return a dense initializer; `load` returns one little-endian array of `payload_bytes` bytes."""
    stub = TensorProto(name=name, data_type=data_type, dims=shape)
    header = _open_tensor(stub, payload_bytes)
    return Entry(GraphProto.INITIALIZER_FIELD_NUMBER, (header,), (payload_bytes,), load, stub)


def message_entry(tensor: TensorProto) -> Entry:
    """Return an initializer that is written unchanged, for element types without special treatment."""
    return Entry(GraphProto.INITIALIZER_FIELD_NUMBER, (tensor.SerializeToString(),), (), tuple)


def coo_entry(name: str, data_type: int, shape: Sequence[int], nonzeros: int, load: Load) -> Entry:
    """Return a sparse initializer; `load` returns its values [nonzeros] and int64 positions [nonzeros]."""
    payloads = (nonzeros * itemsize_of(data_type), nonzeros * INDEX_BYTES)
    values = TensorProto(name=name, data_type=data_type, dims=[nonzeros])
    indices = TensorProto(data_type=TensorProto.INT64, dims=[nonzeros])
    pieces = [
        _prefix(field, len(header) + payload) + header
        for field, header, payload in (
            (SparseTensorProto.VALUES_FIELD_NUMBER, _open_tensor(values, payloads[0]), payloads[0]),
            (SparseTensorProto.INDICES_FIELD_NUMBER, _open_tensor(indices, payloads[1]), payloads[1]),
        )
    ]
    pieces[0] = SparseTensorProto(dims=shape).SerializeToString() + pieces[0]
    return Entry(GraphProto.SPARSE_INITIALIZER_FIELD_NUMBER, tuple(pieces), payloads, load)


def inside_bytes(skeleton: ModelProto, entries: Sequence[Entry], *, location: str | None) -> int:
    """Return the bytes of the .onnx file, with every movable tensor in the external file `location`, if given."""
    inside = entries if location is None else _place(entries, location)[0]
    return int(skeleton.ByteSize()) + sum(entry.written_size for entry in inside)


def external_data_path(target: Path) -> Path:
    """Return the path of a model file's external data."""
    return target.with_name(target.name + ".data")


def write_model(
    skeleton: ModelProto, entries: Sequence[Entry], target: Path, *, external_data_threshold: int = PROTOBUF_LIMIT
) -> None:
    """Write a model and its initializers to `target`, whose folder exists.

    The files appear under their names only when complete. `<target>.data` is written when the file would exceed
    `external_data_threshold` bytes, and one left there by an earlier model is removed otherwise.

    Raises:
        ModelFileError: the content that must stay inside the file exceeds protobuf's limit.
    """
    data = external_data_path(target)
    outside: list[Entry] = []
    if inside_bytes(skeleton, entries, location=None) > external_data_threshold:
        entries, outside = _place(entries, data.name)
    with ExitStack() as stack:
        # Both files are complete before either is renamed; the data first, because the model refers to it.
        unfinished = stack.enter_context(atomic_write(target))
        if outside:
            with stack.enter_context(atomic_write(data)).open("wb") as file:
                _write_data(file, outside)
        with unfinished.open("wb") as file:
            _write_graph(file, skeleton, entries)
    if not outside:
        data.unlink(missing_ok=True)


def _place(entries: Sequence[Entry], location: str) -> tuple[list[Entry], list[Entry]]:
    """Split entries into those of the .onnx file (with references) and those of the external file, in order."""
    inside: list[Entry] = []
    outside: list[Entry] = []
    offset = 0
    for entry in entries:
        if entry.stub is None or not entry.movable:
            inside.append(entry)
            continue
        stub = TensorProto()
        stub.CopyFrom(entry.stub)
        stub.data_location = TensorProto.EXTERNAL
        length = sum(entry.payload_bytes)
        for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
            stub.external_data.add(key=key, value=value)
        inside.append(message_entry(stub))
        outside.append(replace(entry, pieces=(b"",)))
        offset = _aligned(offset + length)
    return inside, outside


def _write_data(file: IO[bytes], entries: Sequence[Entry]) -> None:
    for entry in entries:
        file.write(b"\0" * (_aligned(file.tell()) - file.tell()))
        _write_entry(file, entry)


def _write_graph(file: IO[bytes], skeleton: ModelProto, entries: Sequence[Entry]) -> None:
    graph = skeleton.graph.SerializeToString()
    outer = ModelProto()
    outer.CopyFrom(skeleton)
    outer.ClearField("graph")
    graph_bytes = len(graph) + sum(entry.written_size for entry in entries)
    if graph_bytes + outer.ByteSize() >= 2**31:
        raise ModelFileError(
            f"the ONNX file would take {graph_bytes / 2**30:.1f} GiB, and protobuf's limit is 2 GiB",
            hint="Store fewer tensors as COO: only dense tensors can be kept outside the file.",
        )
    file.write(outer.SerializeToString())
    file.write(_prefix(ModelProto.GRAPH_FIELD_NUMBER, graph_bytes))
    file.write(graph)
    for entry in entries:
        file.write(_prefix(entry.field, entry.size))
        _write_entry(file, entry)


def _write_entry(file: IO[bytes], entry: Entry) -> None:
    if not entry.payload_bytes:
        file.write(entry.pieces[0])
        return
    for piece, expected, array in zip(entry.pieces, entry.payload_bytes, entry.load(), strict=True):
        if array.nbytes != expected:
            raise RuntimeError(f"a tensor announced as {expected} bytes has {array.nbytes}")
        file.write(piece)
        file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _open_tensor(stub: TensorProto, payload_bytes: int) -> bytes:
    return bytes(stub.SerializeToString()) + _prefix(TensorProto.RAW_DATA_FIELD_NUMBER, payload_bytes)


def _prefix(field: int, length: int) -> bytes:
    """Return the tag and length of a length-delimited protobuf field."""
    return _varint(field << 3 | 2) + _varint(length)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _aligned(offset: int) -> int:
    return -(-offset // _PAGE) * _PAGE
