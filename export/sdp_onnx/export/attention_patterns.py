"""Find attention in an exported encoder, with the linear layers of its queries, keys and values.

It is Attention between Reshape and Transpose as torch exports it for opset 23, or the products and the Softmax that it
stands for; with a mask, a bias of relative positions, or rotary positions. Other nodes stay unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sdp_onnx.export.kernel_patterns import Linear
from sdp_onnx.model.graph_index import GraphIndex, attributes
from sdp_onnx.model.model_file import StoredTensor

_HEAD_AXES = [0, 2, 1, 3]
_TRANSPOSED_HEAD_AXES = [0, 2, 3, 1]
UNSEEN = -1e30
"""What is added to the score of a key that is not seen: at least so little."""
# The largest head that the operator of rotary positions takes.
_LARGEST_ROTATED = 512
# What scores pass on their way to the softmax.
_ON_SCORES = ("Add", "Div", "Mul", "MatMul")


@dataclass(frozen=True)
class Positions:
    """Keys and queries of places, which a linear layer each makes of constants (DeBERTa).

    Attributes:
        keys, queries: the layers; their weights are those of the tokens' keys and queries.
        key_places: row of the keys for each query and key, [1, tokens, tokens].
        query_places: row of the queries for each key and query, [1, tokens, tokens].
    """

    keys: Linear
    queries: Linear
    key_places: str
    query_places: str


@dataclass(frozen=True)
class AttentionBlock:
    """The heads of one layer, with the linear layers of queries, keys and values.

    Attributes:
        nodes: the positions of the nodes that it replaces, without the linear layers.
        mask: bool value, broadcast to [batch, heads, tokens, tokens]; None where every query sees every key.
        bias: value [1, heads or 1, tokens, tokens], added to the scaled scores; None without one.
        written_out: whether it was products and a Softmax in place of one Attention.
        angles: cosines and sines [1 or batch, tokens, head_size / 2] by which queries and keys are rotated; None where
            they are not.
        linears: of queries, keys and values, or one of all three, whose outputs lie one behind the other.
        width: of queries, and of keys and values alike.
        out: its output, [batch, tokens, width].
        positions: of places; None where they have no keys and queries.
    """

    nodes: tuple[int, ...]
    linears: tuple[Linear, ...]
    width: int
    mask: str | None
    head_size: int
    scale: float
    out: str
    bias: str | None = None
    written_out: bool = False
    angles: tuple[str, str] | None = None
    positions: Positions | None = None


def find_attentions(
    index: GraphIndex, initializers: Mapping[str, StoredTensor], linears: Mapping[str, Linear]
) -> list[AttentionBlock]:
    """Find the attention that an operator of the library computes.

    Args:
        index: of the graph.
        initializers: by name.
        linears: the linear layers by their output values.
    """
    found = (_attention(i, index, initializers, linears) for i in range(len(index.nodes)))
    return [block for block in found if block is not None]


def _attention(
    i: int, index: GraphIndex, initializers: Mapping[str, StoredTensor], linears: Mapping[str, Linear]
) -> AttentionBlock | None:
    scores = _attention_operator(i, index) or _written_out(i, index, initializers)
    if scores is None:
        return None
    rotations = [_rotation(value, scores.reader, index) for value in (scores.query, scores.key)]
    read = [*((rotated.value, rotated.reader) for rotated in rotations), (scores.value, i)]
    made = _projection(read, scores.transposed, index, initializers, linears)
    if made is None or not _same_angles(rotations, index):
        return None
    turned = {rotated.reader for rotated in rotations if rotated.angles}
    joined = _joined_heads(index.nodes[i].output[0], made.shape, index, initializers)
    added = _added(scores.added, made.linears[0].x, made.width // made.size, index, initializers)
    too_large = turned and made.size > _LARGEST_ROTATED
    if joined is None or added is None or joined.width not in (-1, made.width) or too_large:
        return None
    return AttentionBlock(
        tuple(sorted({i, *scores.nodes, *turned, *made.nodes, *joined.nodes})),
        made.linears,
        made.width,
        added.mask,
        made.size,
        made.size**-0.5 if scores.scale is None else scores.scale,
        joined.out,
        added.bias,
        scores.transposed,
        rotations[0].angles,
    )


@dataclass(frozen=True)
class _Projection:
    """Queries, keys and values, made by a linear layer each or by one for all, whose outputs lie one behind the other.

    Attributes:
        nodes: between the linear layers and attention.
        linears: three or one.
        width: of queries, and of keys and values alike.
        size: of a head.
        shape: into which the heads were divided.
    """

    nodes: tuple[int, ...]
    linears: tuple[Linear, ...]
    width: int
    size: int
    shape: str


def _projection(
    read: list[tuple[str, int]],
    transposed: bool,
    index: GraphIndex,
    initializers: Mapping[str, StoredTensor],
    linears: Mapping[str, Linear],
) -> _Projection | None:
    """Find what makes queries, keys and values, each given with its reader; the keys may be transposed."""
    axes = [_HEAD_AXES, _TRANSPOSED_HEAD_AXES if transposed else _HEAD_AXES, _HEAD_AXES]
    heads = [
        _heads(value, reader, own, index, initializers, linears)
        for (value, reader), own in zip(read, axes, strict=True)
    ]
    found = [own for own in heads if own is not None]
    if len(found) == 3:
        layers = tuple(own.linear for own in found)
        shapes = {initializers[linear.weight].shape for linear in layers}
        if len({linear.x for linear in layers}) != 1 or len({own.size for own in found}) != 1 or len(shapes) != 1:
            return None
        nodes = tuple(node for own in found for node in own.nodes)
        width = initializers[layers[0].weight].shape[1]
        made = _Projection(nodes, layers, width, found[0].size, found[0].shape)
    else:
        joint = None if transposed else _joint_projection(read, index, initializers, linears)
        if joint is None:
            return None
        made = joint
    plain = all(linear.norm is None and linear.activation == "none" for linear in made.linears)
    # The library's kernels process the features of a head in groups of eight.
    return made if plain and made.size % 8 == 0 and made.width % made.size == 0 else None


def _joint_projection(
    read: list[tuple[str, int]],
    index: GraphIndex,
    initializers: Mapping[str, StoredTensor],
    linears: Mapping[str, Linear],
) -> _Projection | None:
    """Match Linear -> Reshape [batch, tokens, 3, heads, head_size] -> Slice, Squeeze and Transpose for each."""
    parts = [_part(value, reader, place, index, initializers) for place, (value, reader) in enumerate(read)]
    found = [part for part in parts if part is not None]
    views = {index.nodes[part[0]].input[0] for part in found}
    if len(found) != 3 or len(views) != 1:
        return None
    view = views.pop()
    reshaped = index.producer(view, "Reshape")
    alone = sorted(index.readers(view)) == sorted(part[0] for part in found) and view not in index.outputs
    if reshaped is None or not alone:
        return None
    linear, shape = linears.get(index.nodes[reshaped].input[0]), index.nodes[reshaped].input[1]
    sizes, size = index.producer(shape, "Concat"), _last_dimension(shape, 5, index, initializers)
    if linear is None or index.only_reader(linear.out, "Reshape") != reshaped or sizes is None or not size or size < 0:
        return None
    width, rest = divmod(initializers[linear.weight].shape[1], 3)
    if _numbers(index.nodes[sizes].input[2], initializers) != [3] or rest:
        return None
    return _Projection((reshaped, *(node for part in found for node in part)), (linear,), width, size, shape)


def _part(
    value: str, reader: int, place: int, index: GraphIndex, initializers: Mapping[str, StoredTensor]
) -> tuple[int, int, int] | None:
    """Match Slice, Squeeze and Transpose that take part `place` along the third of five axes."""
    transposed = _reads_alone(value, reader, index, "Transpose")
    if transposed is None or attributes(index.nodes[transposed]).get("perm") != _HEAD_AXES:
        return None
    squeezed = _reads_alone(index.nodes[transposed].input[0], transposed, index, "Squeeze")
    sliced = None if squeezed is None else _reads_alone(index.nodes[squeezed].input[0], squeezed, index, "Slice")
    if squeezed is None or sliced is None:
        return None
    first, end, *axes = (
        _numbers(name, initializers) for name in (*index.nodes[sliced].input[1:], index.nodes[squeezed].input[1])
    )
    taken = (first, end) == ([place], [place + 1]) and axes in ([[-3], [-3]], [[2], [2]])
    return (sliced, squeezed, transposed) if taken else None


def _numbers(name: str, initializers: Mapping[str, StoredTensor]) -> list[int] | None:
    """The elements of a small initializer of integers."""
    stored = initializers.get(name)
    return None if stored is None or stored.elements > 8 else [int(one) for one in stored.array().reshape(-1)]


@dataclass(frozen=True)
class _Scores:
    """softmax(q k^T scale + what is added) v.

    Attributes:
        nodes: that compute it, without the product with v.
        query, key, value: [batch, heads, tokens, head_size], of the keys also the transpose, `transposed`.
        reader: the node that reads queries and keys.
        scale: None for that of the head's size.
        added: masks, bool or added, and biases.
    """

    nodes: tuple[int, ...]
    query: str
    key: str
    value: str
    reader: int
    transposed: bool
    scale: float | None
    added: tuple[str, ...]


def _attention_operator(i: int, index: GraphIndex) -> _Scores | None:
    """Match Attention without a cache and without further outputs."""
    node = index.nodes[i]
    if not index.is_op(i, "Attention") or len(node.output) != 1 or not 3 <= len(node.input) <= 4:
        return None
    settings = attributes(node)
    if any(settings.get(name, 0) for name in ("is_causal", "softcap", "softmax_precision")):
        return None
    query, key, value, *added = node.input
    # Queries and keys are read by the node itself.
    return _Scores((), query, key, value, i, False, settings.get("scale") or None, tuple(filter(None, added)))


def _written_out(i: int, index: GraphIndex, initializers: Mapping[str, StoredTensor]) -> _Scores | None:
    """Match MatMul -> Div or Mul -> Add ... -> Softmax -> MatMul with the values."""
    if not index.is_op(i, "MatMul"):
        return None
    softmax = _reads_alone(index.nodes[i].input[0], i, index, "Softmax")
    if softmax is None or attributes(index.nodes[softmax]).get("axis", -1) not in (-1, 3):
        return None
    nodes, added = [softmax], []
    at, reader = index.nodes[softmax].input[0], softmax
    while (node := _reads_alone(at, reader, index, "Add")) is not None:
        # The other input is a mask or a bias, which no product of scores makes.
        at = next((name for name in index.nodes[node].input if index.producer(name, *_ON_SCORES) is not None), "")
        added.append(index.other_input(node, at))
        nodes.append(node)
        reader = node
    scale = 1.0
    scaled = _reads_alone(at, reader, index, "Div", "Mul")
    if scaled is not None:
        at, factor = index.nodes[scaled].input
        number = initializers.get(factor)
        if number is None or number.elements != 1 or not float(number.array().reshape(())):
            return None
        scale = float(number.array().reshape(()))
        scale = 1 / scale if index.is_op(scaled, "Div") else scale
        nodes.append(scaled)
        reader = scaled
    product = _reads_alone(at, reader, index, "MatMul")
    if product is None:
        return None
    query, key = index.nodes[product].input
    return _Scores((*nodes, product), query, key, index.nodes[i].input[1], product, True, scale, tuple(added))


@dataclass(frozen=True)
class _Rotation:
    """Queries or keys before rotary positions, what reads them, and the angles; without any, `angles` is None."""

    value: str
    reader: int
    angles: tuple[str, str] | None = None


def _rotation(value: str, reader: int, index: GraphIndex) -> _Rotation:
    """Match RotaryEmbedding on whole heads, their halves apart, without position ids."""
    rotary = _reads_alone(value, reader, index, "RotaryEmbedding")
    if rotary is None or len(index.nodes[rotary].input) != 3:
        return _Rotation(value, reader)
    settings = attributes(index.nodes[rotary])
    if settings.get("interleaved", 0) or settings.get("rotary_embedding_dim", 0):
        return _Rotation(value, reader)
    inner, *angles = index.nodes[rotary].input
    cosines, sines = (_before_repetition(name, index) for name in angles)
    return _Rotation(inner, rotary, (cosines, sines))


def _before_repetition(value: str, index: GraphIndex) -> str:
    """The angles that the exporter repeats for every text of a batch."""
    repeated = index.producer(value, "Expand")
    return value if repeated is None else index.nodes[repeated].input[0]


def _same_angles(rotations: list[_Rotation], index: GraphIndex) -> bool:
    """Whether queries and keys are rotated alike, or both not; each has nodes of its own for the same cosines."""
    query, key = (rotated.angles for rotated in rotations)
    if query is None or key is None:
        return query is key
    return all(_same_value(*pair, index) for pair in zip(query, key, strict=True))


def _same_value(first: str, second: str, index: GraphIndex) -> bool:
    makers = [index.producer(name, "Cos", "Sin") for name in (first, second)]
    nodes = [index.nodes[i] for i in makers if i is not None]
    return first == second or (
        len(nodes) == 2 and nodes[0].op_type == nodes[1].op_type and list(nodes[0].input) == list(nodes[1].input)
    )


@dataclass(frozen=True)
class _Added:
    mask: str | None = None
    bias: str | None = None


def _added(
    values: tuple[str, ...], x: str, heads: int, index: GraphIndex, initializers: Mapping[str, StoredTensor]
) -> _Added | None:
    """Find which value is a mask and which a bias; None where there are others, or several.

    Args:
        values: what is added to the scores, or a bool mask.
        x: [batch, tokens, features], of which queries and keys are made.
        heads: their number.
    """
    found = _Added()
    for value in values:
        mask = _seen(value, index, initializers)
        bias = _bias(value, x, heads, index) if mask is None else None
        if mask is not None and found.mask is None:
            found = replace(found, mask=mask)
        elif bias is not None and found.bias is None:
            found = replace(found, bias=bias)
        else:
            return None
    return found


def _seen(value: str, index: GraphIndex, initializers: Mapping[str, StoredTensor]) -> str | None:
    """The bool value that a mask of rank 4 is, or of which it is Where(seen, 0, least)."""
    if index.is_bool(value):
        return value if index.rank(value) == 4 else None
    where = index.producer(value, "Where")
    if where is None:
        return None
    seen, zero, least = index.nodes[where].input
    numbers = [initializers.get(name) for name in (zero, least)]
    if any(number is None or number.elements != 1 for number in numbers) or index.rank(seen) != 4:
        return None
    shown, hidden = (float(number.array().reshape(())) for number in numbers if number is not None)
    return seen if shown == 0 and hidden <= UNSEEN else None


def _bias(value: str, x: str, heads: int, index: GraphIndex) -> str | None:
    """A bias that is the same for all texts, as it is before it is repeated for them."""
    repeated = index.producer(value, "Expand")
    bias = value if repeated is None else index.nodes[repeated].input[0]
    tokens = (index.dimensions(x) or ("", ""))[1]
    shapes = [(1, own, tokens, tokens) for own in (1, heads)]
    return bias if tokens != "" and index.dimensions(bias) in shapes else None


@dataclass(frozen=True)
class _Heads:
    nodes: tuple[int, int]
    linear: Linear
    size: int
    shape: str  # [batch, tokens, heads, head_size]


def _heads(
    value: str,
    reader: int,
    axes: list[int],
    index: GraphIndex,
    initializers: Mapping[str, StoredTensor],
    linears: Mapping[str, Linear],
) -> _Heads | None:
    """Match Linear -> Reshape [batch, tokens, heads, head_size] -> Transpose -> `reader`, without other readers."""
    transposed = _reads_alone(value, reader, index, "Transpose")
    if transposed is None or attributes(index.nodes[transposed]).get("perm") != axes:
        return None
    reshaped = _reads_alone(index.nodes[transposed].input[0], transposed, index, "Reshape")
    linear = linears.get(index.nodes[reshaped].input[0]) if reshaped is not None else None
    if reshaped is None or linear is None or index.only_reader(linear.out, "Reshape") != reshaped:
        return None
    shape = index.nodes[reshaped].input[1]
    size = _last_dimension(shape, 4, index, initializers)
    return _Heads((transposed, reshaped), linear, size, shape) if size is not None and size > 0 else None


@dataclass(frozen=True)
class _Joined:
    nodes: tuple[int, ...]
    out: str
    width: int


def _joined_heads(
    value: str, split: str, index: GraphIndex, initializers: Mapping[str, StoredTensor]
) -> _Joined | None:
    """Match Attention -> Transpose -> Reshape [batch, tokens, width].

    Where there is one head, torch's exporter reshapes what attention gives to the shape that it has already.

    Args:
        split: the shape of the queries, [batch, tokens, heads, head_size].
    """
    same = index.only_reader(value, "Reshape")
    if same is not None and _is_transposed(index.nodes[same].input[1], split, index):
        found = _joined_heads(index.nodes[same].output[0], split, index, initializers)
        return replace(found, nodes=(same, *found.nodes)) if found is not None else None
    back = index.only_reader(value, "Transpose")
    if back is None or attributes(index.nodes[back]).get("perm") != _HEAD_AXES:
        return None
    joined = index.only_reader(index.nodes[back].output[0], "Reshape")
    width = _last_dimension(index.nodes[joined].input[1], 3, index, initializers) if joined is not None else None
    return _Joined((back, joined), index.nodes[joined].output[0], width) if joined is not None and width else None


def _is_transposed(shape: str, split: str, index: GraphIndex) -> bool:
    """Whether a shape [batch, heads, tokens, head_size] is joined of the same sizes as [batch, tokens, heads, ...]."""
    own, other = (index.producer(name, "Concat") for name in (shape, split))
    if own is None or other is None:
        return False
    sizes = list(index.nodes[other].input)
    return len(sizes) == 4 and list(index.nodes[own].input) == [sizes[axis] for axis in _HEAD_AXES]


def _reads_alone(value: str, reader: int, index: GraphIndex, *op_types: str) -> int | None:
    """Return the node of one of these types that produces `value` for `reader` alone."""
    found = index.producer(value, *op_types)
    return found if found is not None and index.only_reader(value, index.nodes[reader].op_type) == reader else None


def _last_dimension(shape: str, rank: int, index: GraphIndex, initializers: Mapping[str, StoredTensor]) -> int | None:
    """Return the last size of a shape with `rank` dimensions: a constant, or constants and computed dimensions."""
    if shape in initializers:
        values = initializers[shape].array().reshape(-1)
        return int(values[-1]) if values.size == rank else None
    joined = index.producer(shape, "Concat")
    if joined is None or len(index.nodes[joined].input) != rank:
        return None
    last = initializers.get(index.nodes[joined].input[-1])
    return int(last.array().reshape(-1)[0]) if last is not None and last.elements == 1 else None
