from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdp_onnx.model.linear_layers import LoadArray, equal_parameters, match_parameters


def loaders(arrays: dict[str, NDArray[Any]]) -> dict[str, LoadArray]:
    return {name: lambda array=array: array for name, array in arrays.items()}


def test_content_shows_names_transposed_or_not() -> None:
    rng = np.random.default_rng(0)
    query, key, bias = rng.normal(size=(4, 4)), rng.normal(size=(6, 4)), rng.normal(size=4)
    parameters = loaders({"query.weight": query, "key.weight": key, "bias": bias})
    initializers = loaders({"val_1": query.T, "val_2": key, "val_3": bias.copy(), "val_4": np.arange(4)})
    assert match_parameters(initializers, parameters) == {
        "val_1": "query.weight",
        "val_2": "key.weight",
        "val_3": "bias",
    }


def test_a_name_that_is_there_is_kept_and_given_once() -> None:
    same = np.ones((3, 3))
    parameters = loaders({"first": same, "second": same})
    assert match_parameters(loaders({"first": same, "val_1": same}), parameters) == {"val_1": "second"}
    assert match_parameters(loaders({"a": same, "b": same, "c": same}), parameters) == {"a": "first", "b": "second"}


def test_equal_bytes_of_another_type_or_shape_are_no_match() -> None:
    parameters = loaders({"weight": np.zeros((2, 6), dtype=np.float32)})
    initializers = loaders({"a": np.zeros((3, 4), dtype=np.float32), "b": np.zeros((2, 6), dtype=np.int32)})
    assert match_parameters(initializers, parameters) == {}


def test_parameters_of_one_content_stand_for_each_other() -> None:
    arrays = {"a": np.zeros((2, 3)), "b": np.zeros((2, 3)), "c": np.zeros((3, 2)), "d": np.ones((2, 3))}
    assert equal_parameters(loaders(arrays)) == {"a": ("a", "b"), "b": ("b", "a"), "c": ("c",), "d": ("d",)}
