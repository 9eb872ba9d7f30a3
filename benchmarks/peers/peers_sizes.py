"""Bytes of a model file, with and without its table of words, which nobody prunes and which is cut here."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from sdp_onnx.model.encodings import itemsize_of
from sdp_onnx.model.model_file import load_structure, stored_tensors


def file_sizes(path: Path, vocabulary: int) -> dict[str, int]:
    """Bytes of the model's file or files, and of the encoder: all but tensors with a row for each word."""
    if path.suffix == ".xml":
        total = path.stat().st_size + path.with_suffix(".bin").stat().st_size
        table = sum(
            int(data.attrib["size"])
            for data in ET.parse(path).iter("data")
            if data.get("shape", "").split(",")[0] == str(vocabulary) and "size" in data.attrib
        )
    else:
        total = path.stat().st_size
        table = sum(
            stored.elements * itemsize_of(stored.data_type)
            for stored in stored_tensors(load_structure(path), path)
            if stored.shape[:1] == (vocabulary,)
        )
    return {"file_bytes": total, "encoder_bytes": total - table}
