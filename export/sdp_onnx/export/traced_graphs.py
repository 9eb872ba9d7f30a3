"""Graphs that torch has traced in this process: a network of the same structure is not traced a second time.

A run exports one structure two or three times (the preflight's, the pruned network's, the dense one's to compare with),
a tuning dozens of times, and each trace takes seconds. What is kept is the graph before its optimization, without
weights: whatever depends on their values, such as storing equal tensors once, comes after it.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from types import NoneType

import onnx_ir
import torch

_KEPT = 4

# Values of the graph that are no weights, such as positions: more than these bytes would hold memory.
_CONSTANT_BYTES = 1 << 20

_KNOWN = frozenset(vars(torch.nn.Module())) - {"training"}
_HOOKS = tuple(name for name in sorted(_KNOWN) if name.endswith("_hooks"))

_AS_THEY_ARE = (NoneType, bool, int, float, str, torch.dtype, torch.device, type)

# Where the weights came from, which the graph does not depend on.
_PLACES = frozenset({"name_or_path", "_name_or_path", "_commit_hash"})

_graphs: OrderedDict[str, onnx_ir.Model] = OrderedDict()


class _UnknownError(Exception):
    """A part of the network whose influence on the graph is not known."""


def structure(model: torch.nn.Module, *inputs: object) -> str | None:
    """Hash all that a trace depends on: modules with their plain attributes, shapes and types, and `inputs`.

    Returns:
        the hash, the same in two networks that differ in weights alone; None where some attribute of the network is of
        a kind whose influence is not known, or where it has hooks.
    """
    digest = hashlib.sha256(repr((torch.__version__, torch.get_default_dtype(), inputs)).encode())
    try:
        for name, module in model.named_modules(remove_duplicate=False):
            digest.update(repr((name, _module(module))).encode())
    except _UnknownError:
        return None
    first: dict[int, str] = {}
    for name, tensor in _tensors(model).items():
        # A tensor that several layers share is one in the graph.
        digest.update(repr((name, first.setdefault(id(tensor), name))).encode())
    return digest.hexdigest()


def is_kept(key: str | None) -> bool:
    """Whether there is a graph of this structure."""
    return key in _graphs


def with_weights(key: str | None, model: torch.nn.Module) -> onnx_ir.Model | None:
    """Return a copy of the kept graph of a structure, with the weights of `model`, not copied; None without one."""
    if key is None or key not in _graphs:
        return None
    _graphs.move_to_end(key)
    graph = _graphs[key].clone()
    tensors = _tensors(model)
    for name, value in graph.graph.initializers.items():
        if name in tensors:
            value.const_value = onnx_ir.tensor(tensors[name].detach().cpu().numpy(), name=name)
    return graph


def keep(key: str | None, traced: onnx_ir.Model, model: torch.nn.Module) -> None:
    """Keep a graph for networks of the same structure, without the weights of `model`."""
    if key is None:
        return
    tensors = _tensors(model)
    graph = traced.clone()
    _clear_notes(graph)
    constants = 0
    for name, value in graph.graph.initializers.items():
        if name in tensors:
            value.const_value = None
        elif value.const_value is not None:
            constants += value.const_value.nbytes
    if constants > _CONSTANT_BYTES:
        return
    _graphs[key] = graph
    while len(_graphs) > _KEPT:
        _graphs.popitem(last=False)


def _clear_notes(model: onnx_ir.Model) -> None:
    """Remove where nodes and values came from, in place: it refers to all that the tracer made."""
    graph = model.graph
    nodes = list(graph.all_nodes())
    values = [*graph.inputs, *graph.initializers.values(), *(value for node in nodes for value in node.outputs)]
    noted: list[onnx_ir.Model | onnx_ir.Graph | onnx_ir.Node | onnx_ir.Value] = [model, graph, *nodes, *values]
    for one in noted:
        one.meta.clear()
        one.metadata_props.clear()


def _tensors(model: torch.nn.Module, *, recurse: bool = True) -> dict[str, torch.Tensor]:
    """Parameters and buffers by all of their names."""
    return {
        **dict(model.named_parameters(recurse=recurse, remove_duplicate=False)),
        **dict(model.named_buffers(recurse=recurse, remove_duplicate=False)),
    }


def _module(module: torch.nn.Module) -> object:
    """What the graph may depend on in a module without its children."""
    if any(getattr(module, name) for name in _HOOKS):
        raise _UnknownError
    attributes = {name: value for name, value in vars(module).items() if name not in _KNOWN}
    shapes = {name: (value.shape, value.dtype) for name, value in _tensors(module, recurse=False).items()}
    return type(module), [name for name, _ in module.named_children()], shapes, _plain(attributes)


def _plain(value: object) -> object:
    """A form of a value whose text is the same for equal values, in every process."""
    if isinstance(value, _AS_THEY_ARE):
        return value
    if hasattr(value, "to_json_string"):
        # A config of transformers.
        value = vars(value)
    elif isinstance(value, functools.partial):
        value = (value.func, value.args, value.keywords)
    if isinstance(value, Mapping):
        return [(key, _plain(item)) for key, item in value.items() if key not in _PLACES]
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    if inspect.isbuiltin(value) or (inspect.isfunction(value) and value.__closure__ is None):
        return value.__module__, value.__qualname__
    raise _UnknownError
