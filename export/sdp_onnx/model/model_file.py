"""Read an untrusted ONNX file: structure first, then one tensor at a time, in any encoding."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import Descriptor, FieldDescriptor  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import ModelProto, SparseTensorProto, TensorProto, numpy_helper
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_tensor, uses_external_data

from sdp_onnx.errors import ModelFileError
from sdp_onnx.model.encodings import Encoding, coo_bytes, dense_bytes, dtype_name, from_coo, is_plain, itemsize_of
from sdp_onnx.model.files import check_regular


@dataclass(frozen=True)
class TensorRecord:
    """The content and encoding of an initializer.

    Attributes:
        name: the initializer's name, for a weight the name of the torch parameter.
        shape: its shape; a linear layer's weight is stored transposed, [in, out].
        dtype: numpy's name of its element type.
        elements: number of elements when decoded.
        zeros: number of zeros among them.
        encoding: dense, coo, or kernel (inside an operator of the library).
        bytes: size of its content in the file, without names and shapes.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    elements: int
    zeros: int
    encoding: Encoding
    bytes: int

    @property
    def sparsity(self) -> float:
        """Share of zeros, 0 for an empty tensor."""
        return self.zeros / self.elements if self.elements else 0.0


@dataclass(frozen=True)
class StoredTensor:
    """An initializer in an open file; its content is read on demand."""

    proto: TensorProto | SparseTensorProto
    folder: str

    @property
    def values(self) -> TensorProto:
        """The tensor with the initializer's name: the dense tensor, or the nonzero values of a COO tensor."""
        return self.proto.values if isinstance(self.proto, SparseTensorProto) else self.proto

    @property
    def name(self) -> str:
        """The name that nodes use."""
        return str(self.values.name)

    @property
    def data_type(self) -> int:
        """ONNX element type."""
        return int(self.values.data_type)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the decoded tensor."""
        return tuple(self.proto.dims)

    @property
    def elements(self) -> int:
        """Number of elements of the decoded tensor."""
        return math.prod(self.shape)

    @property
    def encoding(self) -> Encoding:
        """The encoding in the file."""
        return "coo" if isinstance(self.proto, SparseTensorProto) else "dense"

    def array(self) -> NDArray[Any]:
        """Decode the tensor in its shape.

        Raises:
            ModelFileError: its content is missing, too short, outside the model's folder or inconsistent.
        """
        try:
            if isinstance(self.proto, SparseTensorProto):
                return from_coo(self.proto, self.folder)
            return np.asarray(numpy_helper.to_array(self.proto, self.folder))
        except ModelFileError:
            raise
        except Exception as error:  # a damaged tensor can cause any exception in numpy and onnx, MemoryError included
            raise _damaged(self.name, error) from error

    def inline_message(self) -> TensorProto:
        """Return a copy of a dense tensor's message with its content.

        Raises:
            ModelFileError: as `array`.
        """
        copy = TensorProto()
        copy.CopyFrom(self.values)
        if uses_external_data(copy):
            try:
                load_external_data_for_tensor(copy, self.folder)
            except Exception as error:  # as in `array`
                raise _damaged(self.name, error) from error
        return copy

    def nonzeros(self) -> int:
        """Count nonzero elements; a COO tensor is not decoded, because its shape is untrusted.

        Raises:
            ModelFileError: as `array`.
        """
        if self.data_type == TensorProto.STRING:
            return self.elements
        stored = StoredTensor(self.values, self.folder) if self.encoding == "coo" else self
        return int(np.count_nonzero(stored.array()))

    def record(self) -> TensorRecord:
        """Count the zeros, and return the record.

        Raises:
            ModelFileError: as `array`.
        """
        zeros = self.elements - self.nonzeros()
        if zeros < 0:
            raise _damaged(self.name, ValueError("more values than its shape has room for"))
        return TensorRecord(
            self.name, self.shape, dtype_name(self.data_type), self.elements, zeros, self.encoding, self._bytes()
        )

    def _bytes(self) -> int:
        if not is_plain(self.data_type):
            return int(self.values.ByteSize())
        if isinstance(self.proto, SparseTensorProto):
            return coo_bytes(math.prod(self.values.dims), itemsize_of(self.data_type))
        return dense_bytes(self.elements, itemsize_of(self.data_type))


def load_structure(path: Path) -> ModelProto:
    """Parse a model file without its external data.

    Raises:
        ModelFileError: the file is missing, cannot be read, or is not an ONNX model.
    """
    try:
        check_regular(path)
        model = onnx.load(path, load_external_data=False)
    except FileNotFoundError:
        raise ModelFileError(
            "there is no such file", where=str(path), hint="Export a model first, or correct the path."
        ) from None
    except OSError as error:
        raise ModelFileError(f"the file cannot be read ({error.strerror})", where=str(path)) from error
    except DecodeError as error:
        raise _not_a_model(path) from error
    # An empty file is a valid protobuf message, and some text files are too.
    if not model.HasField("graph") or not model.opset_import:
        raise _not_a_model(path)
    if not _is_utf8(model):
        raise ModelFileError("damaged: a name in it is not UTF-8", where=str(path), hint="Export or copy it again.")
    return model


def _is_utf8(message: Message) -> bool:
    """Whether all texts of a message are UTF-8: protobuf returns others as bytes."""
    for name, nested in _text_fields(message.DESCRIPTOR):
        value = getattr(message, name)
        if isinstance(value, Message):
            # A singular field always exists.
            if message.HasField(name) and not _is_utf8(value):
                return False
        elif nested:
            if not all(map(_is_utf8, value)):
                return False
        elif not isinstance(value, str) and not all(isinstance(text, str) for text in value):
            return False
    return True


@cache
def _text_fields(descriptor: Descriptor) -> tuple[tuple[str, bool], ...]:
    """Return the fields that are texts or messages, and whether they are messages; others are not checked."""
    nested = FieldDescriptor.TYPE_MESSAGE
    return tuple(
        (field.name, field.type == nested)
        for field in descriptor.fields
        if field.type in (nested, FieldDescriptor.TYPE_STRING)
    )


def stored_tensors(model: ModelProto, path: Path) -> Iterator[StoredTensor]:
    """Yield the initializers of the main graph of `model`, read from `path`: dense ones first, then COO ones."""
    for proto in (*model.graph.initializer, *model.graph.sparse_initializer):
        yield StoredTensor(proto, str(path.parent))


def check_file(path: Path) -> None:
    """Run the ONNX checker on a file and its external data.

    Raises:
        ModelFileError: the file is missing, damaged or invalid.
    """
    load_structure(path)
    try:
        onnx.checker.check_model(str(path))
    except Exception as error:  # the checker's C++ exceptions have no common base class
        raise ModelFileError(
            f"the ONNX checker rejects the file: {error}", where=str(path), hint="Export it again."
        ) from error


def file_bytes(path: Path) -> int:
    """Return the size of a model on disk: the file and the external files of its initializers.

    Raises:
        ModelFileError: the file or one of its external files is missing or damaged.
    """
    tensors = [stored.values for stored in stored_tensors(load_structure(path), path)]
    try:
        files = {_external_file(path.parent, tensor) for tensor in tensors if uses_external_data(tensor)}
        return path.stat().st_size + sum(file.stat().st_size for file in files)
    except OSError as error:
        raise ModelFileError(
            "the external data of the model is missing",
            where=str(error.filename),
            hint="Copy the .data file along with the .onnx file.",
        ) from error


def _external_file(folder: Path, tensor: TensorProto) -> Path:
    """Return the file with a tensor's content, which must lie in the model's folder."""
    try:
        location = ExternalDataInfo(tensor).location
        inside = bool(location) and os.path.realpath(folder / location).startswith(os.path.realpath(folder) + os.sep)
    except ValueError as error:
        raise _damaged(tensor.name, error) from error
    if not inside:
        raise _damaged(tensor.name, ValueError(f"its file {location!r} is not in the model's folder"))
    return folder / location


def _not_a_model(path: Path) -> ModelFileError:
    return ModelFileError(
        "this is not an ONNX model, or it is damaged", where=str(path), hint="Export it again, or copy it again."
    )


def _damaged(name: str, error: Exception) -> ModelFileError:
    return ModelFileError(
        f"the content of the tensor cannot be read ({error})",
        where=name,
        hint="The file or its .data file is damaged or incomplete: export it again, or copy both again.",
    )
