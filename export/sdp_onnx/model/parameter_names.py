"""Name exported initializers after the torch parameters that they came from.

The exporter folds the transposition of a linear layer's weight and calls the result `val_83`. Its content is
still the parameter, or the parameter transposed, byte for byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

LoadArray = Callable[[], NDArray[Any]]


def match_parameters(initializers: Mapping[str, LoadArray], parameters: Mapping[str, LoadArray]) -> dict[str, str]:
    """Find the parameter that each initializer holds, as it is or transposed.

    An initializer with the name of a parameter keeps it. If several parameters have the same content, such as tied or
    untrained weights, the first unused one is chosen. Arrays are loaded one at a time.

    Returns:
        new name by old name, for the initializers that change.
    """
    unnamed = [name for name in initializers if name not in parameters]
    names_by_content: dict[bytes, list[str]] = {}
    for name, load in parameters.items():
        if name not in initializers:
            array = load()
            names_by_content.setdefault(_digest(array), []).append(name)
            if array.ndim == 2:
                names_by_content.setdefault(_digest(array.T), []).append(name)
    renamed: dict[str, str] = {}
    for old in unnamed:
        candidates = names_by_content.get(_digest(initializers[old]()), [])
        new = next((name for name in candidates if name not in renamed.values()), None)
        if new is not None:
            renamed[old] = new
    return renamed


def equal_parameters(parameters: Mapping[str, LoadArray]) -> dict[str, tuple[str, ...]]:
    """Return for each parameter the names of parameters with the same content, its own name first.

    The exporter stores small tensors with equal content once, such as two completely pruned matrices.
    """
    names_by_content: dict[bytes, list[str]] = {}
    for name, load in parameters.items():
        names_by_content.setdefault(_digest(load()), []).append(name)
    groups = {name: names for names in names_by_content.values() for name in names}
    return {name: (name, *(other for other in groups[name] if other != name)) for name in parameters}


def _digest(array: NDArray[Any]) -> bytes:
    """Hash type, shape and content."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.digest()
