"""Rewrite an exported encoder so that its sparse layers use the operator library, in fp32 or in int8.

Activations stay in the library's packed layout from the first sparse layer to the last; `Pack` and `Unpack` convert at
both ends. Where attention's mask does no more than leave out padding, `Pack` leaves it out of the layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from sdp_onnx.export.attention_patterns import AttentionBlock, find_attentions
from sdp_onnx.export.disentangled_attention import find_disentangled, position_rows
from sdp_onnx.export.gates import Gate, find_gates
from sdp_onnx.export.kernel_choice import Precision, gains, layer_kind
from sdp_onnx.export.kernel_patterns import Linear, find_embedding, find_linears
from sdp_onnx.export.key_mask import leaves_out_padding
from sdp_onnx.export.unpadded import ATTENTION_MASK, needs_no_padding, read_at_first_tokens
from sdp_onnx.model.graph_index import GraphIndex, attributes, has_subgraphs
from sdp_onnx.model.model_file import StoredTensor
from sdp_onnx.operators.int8_coverage import looked_up_in_int8
from sdp_onnx.operators.library import DOMAIN, OPSET
from sdp_onnx.operators.table import OPERATORS, Operator, linear_operator
from sdp_onnx.operators.weight_formats import LayerKind, LayerTensors, NewTensor, new_tensor, round_rows

# The input of transformers' encoders that has the pieces of the texts.
WORDS = "input_ids"


@dataclass
class KernelGraph:
    """The result of rewriting a graph.

    Attributes:
        tensors: new initializers.
        replaced: initializers that the graph no longer uses.
        contained: for each replaced parameter, the bytes that it takes in the new initializers.
    """

    tensors: list[NewTensor] = field(default_factory=list)
    replaced: set[str] = field(default_factory=set)
    contained: dict[str, int] = field(default_factory=dict)


def rewrite_graph(
    model: ModelProto, initializers: Mapping[str, StoredTensor], precision: Precision = "fp32"
) -> KernelGraph:
    """Change the nodes of `model` in place; the caller changes its initializers.

    A graph that is not sparse enough to gain, with fp32, or without any linear layer stays as it is, and the result is
    empty.

    Args:
        initializers: the model's initializers by name.
        precision: int8 rounds every linear layer of the encoder to int8, one scale for each output, multiplies it with
            inputs rounded to int8, one scale for each token, and rounds embedding tables to int8, one scale a row.

    Returns:
        the initializers to add and to drop.
    """
    if has_subgraphs(model.graph.node):
        return KernelGraph()
    writer = _Writer(model, initializers, precision)
    if not writer.run():
        return KernelGraph()
    model.opset_import.append(helper.make_opsetid(DOMAIN, OPSET))
    return writer.result


@dataclass(frozen=True)
class _Plan:
    """What the library computes: each part by the position of its last node.

    Attributes:
        kinds: of the linear layers, by their outputs.
        attentions, gates: with the linear layers that they read.
        linears: the others.
        replaced: the positions of all their nodes.
    """

    kinds: Mapping[str, LayerKind]
    attentions: Mapping[int, AttentionBlock]
    gates: Mapping[int, Gate]
    linears: Mapping[int, Linear]
    replaced: set[int]


class _Writer:
    """Visitor that writes each node unchanged, or the operator that replaces it and its neighbours."""

    def __init__(self, model: ModelProto, initializers: Mapping[str, StoredTensor], precision: Precision) -> None:
        self._model = model
        self._graph = model.graph
        self._precision = precision
        self._initializers = initializers
        self._index = GraphIndex(model.graph)
        # Whether a mask leaves out padding and nothing else.
        self._of_keys: dict[str, bool] = {}
        # The input that has the tokens of the texts, where they are packed without padding.
        self._kept: str | None = None
        self._nodes: list[NodeProto] = []
        # Value -> the name of its packed form, and value -> the name of its number of tokens, or of which there are.
        self._packed: dict[str, str] = {}
        self._tokens: dict[str, str] = {}
        # Value -> the name of the packed first tokens of its texts; the values of which nothing else is needed.
        self._first: dict[str, str] = {}
        self._only_first: set[str] = set()
        self._plain: set[str] = {value.name for value in model.graph.input} | set(initializers)
        # New initializers of weights by the prefix of their names: layers may share weights.
        self._made: dict[str, LayerTensors] = {}
        self._arrays: set[str] = set()
        # The keys and queries of places by the output of their attention.
        self._positions: dict[str, dict[str, NDArray[np.float32] | None]] = {}
        self.result = KernelGraph()

    def run(self) -> bool:
        plan = self._plan()
        if plan is None:
            return False
        for i, node in enumerate(self._index.nodes):
            if i in plan.attentions:
                block = plan.attentions[i]
                self._write_attention(block, [plan.kinds[linear.out] for linear in block.linears])
            elif i in plan.gates:
                gate = plan.gates[i]
                self._write_gate(gate, plan.kinds[gate.linears[0].out])
            elif i in plan.linears:
                self._write_linear([plan.linears[i]], plan.kinds[plan.linears[i].out])
            elif i not in plan.replaced and not self._write_packed(node):
                self._write_plain(node)
        for value in self._graph.output:
            self._unpack(value.name)
        self._finish()
        return True

    def _plan(self) -> _Plan | None:
        """Choose what the library computes; None where it gains nothing."""
        found = find_linears(self._index, self._initializers)
        weights = {out: self._initializers[linear.weight] for out, linear in found.items()}
        chosen = {out: layer_kind(weight, self._precision) for out, weight in weights.items()}
        counts = [(stored.nonzeros(), stored.elements) for stored in weights.values()]
        if set(chosen.values()) <= {"dense", None} or not gains(counts, self._precision):
            return None
        kinds = {out: kind for out, kind in chosen.items() if kind is not None}
        blocks = [block for block in self._attentions(found) if all(linear.out in kinds for linear in block.linears)]
        # What layers make of constants is computed here, and not by the file.
        constant = {
            linear.out
            for block in blocks
            if block.positions is not None
            for linear in (block.positions.keys, block.positions.queries)
        }
        packed = [found[out] for out in kinds if out not in constant]
        if needs_no_padding(self._model, self._index, self._initializers, blocks, packed):
            self._kept = ATTENTION_MASK
            kinds = {out: kind for out, kind in kinds.items() if out not in constant}
        else:
            # The operators add by places to texts without padding alone.
            blocks = [block for block in blocks if block.bias is None and block.positions is None]
        gates = [
            gate
            for gate in find_gates(self._index, self._initializers, found)
            if {linear.out for linear in gate.linears} <= kinds.keys()
            and len({kinds[linear.out] for linear in gate.linears}) == 1
        ]
        readers = [*(block.linears for block in blocks), *(gate.linears for gate in gates)]
        inside = {linear.out for layers in readers for linear in layers}
        linears = [found[out] for out in kinds if out not in inside]
        if self._kept is not None:
            self._only_first = read_at_first_tokens(self._index, self._initializers, blocks, linears)
        return _Plan(
            kinds,
            {block.nodes[-1]: block for block in blocks},
            {gate.nodes[-1]: gate for gate in gates},
            {linear.nodes[-1]: linear for linear in linears},
            {
                *(i for block in blocks for i in block.nodes),
                *(i for gate in gates for i in gate.nodes),
                *(i for out in kinds for i in found[out].nodes),
            },
        )

    def _attentions(self, linears: Mapping[str, Linear]) -> Iterator[AttentionBlock]:
        """Yield the attention that operators of the library compute."""
        yield from find_attentions(self._index, self._initializers, linears)
        for block in find_disentangled(self._index, self._initializers, linears):
            rows = self._position_rows(block)
            if all(own is not None for own in rows.values()):
                self._positions[block.out] = rows
                yield block

    def _position_rows(self, block: AttentionBlock) -> dict[str, NDArray[np.float32] | None]:
        """The keys and queries of places by the names of the operator's inputs; None where they are no constants."""
        assert block.positions is not None
        return {
            name: position_rows(
                linear,
                block.width // block.head_size,
                self._model,
                self._index,
                self._initializers,
                int8=self._precision == "int8",
            )
            for name, linear in (
                ("position_keys", block.positions.keys),
                ("position_queries", block.positions.queries),
            )
        }

    def _write_plain(self, node: NodeProto) -> None:
        if node.input and node.input[0] in self._only_first:
            self._write_first_tokens(node)
            return
        for name in node.input:
            self._unpack(name)
        if self._precision == "int8" and self._is_lookup(node):
            self._write_lookup(node)
        else:
            self._nodes.append(node)
        self._plain.update(node.output)

    def _write_packed(self, node: NodeProto) -> bool:
        """Write a sum or a norm of packed values as an operator of the library; returns whether it is one."""
        if node.domain not in ("", "ai.onnx") or len(node.output) != 1 or not node.input:
            return False
        if node.op_type == "Add":
            return self._write_sum(node)
        return node.op_type in ("LayerNormalization", "RMSNormalization") and self._write_norm(node)

    def _write_sum(self, node: NodeProto) -> bool:
        packed = [name for name in node.input if name in self._packed]
        first, second = (self._index.dimensions(name) for name in node.input)
        if not packed or first is None or first != second or len(first) != 3:
            return False
        if any(name in self._initializers for name in node.input):
            return False
        x, y = (self._pack(name) for name in node.input)
        self._add_packed(OPERATORS["PackedAdd"], {"x": x, "y": y}, node, packed[0])
        return True

    def _write_norm(self, node: NodeProto) -> bool:
        value, gamma, *beta = node.input
        settings, stored = attributes(node), self._initializers.get(gamma)
        if value not in self._packed or stored is None or settings.get("axis", -1) not in (-1, 2):
            return False
        if len(stored.shape) != 1 or any(name not in self._initializers for name in beta):
            return False
        inputs = {"x": self._packed[value], "gamma": gamma}
        if node.op_type == "LayerNormalization":
            zeros = f"zeros/{stored.shape[0]}"
            if not beta and zeros not in self._arrays:
                self._new_array(zeros, np.zeros(stored.shape, np.float32))
            inputs["beta"] = beta[0] if beta else zeros
        epsilon = float(settings.get("epsilon", 1e-5))
        self._add_packed(OPERATORS["PackedNorm"], inputs, node, value, epsilon=epsilon)
        return True

    def _add_packed(
        self, operator: Operator, inputs: Mapping[str, str], node: NodeProto, like: str, **settings: Any
    ) -> None:
        """Write an operator that makes a node's output, packed like another value."""
        out = node.output[0]
        self._packed[out], self._tokens[out] = f"{out}/packed", self._tokens[like]
        self._add(operator, inputs, self._packed[out], **settings)

    def _write_gate(self, gate: Gate, kind: LayerKind) -> None:
        """Write one product for both halves, and the gate."""
        joined = self._write_linear(gate.linears, kind)
        self._packed[gate.out] = f"{gate.out}/packed"
        self._tokens[gate.out] = self._tokens[gate.linears[0].x]
        self._add(OPERATORS["PackedGate"], {"x": joined}, self._packed[gate.out], activation=gate.activation)

    def _write_first_tokens(self, node: NodeProto) -> None:
        """Write x[:, 0] of a value that is packed as its first tokens: [batch, width]."""
        value, out = node.input[0], node.output[0]
        self._nodes.append(helper.make_node("Shape", [ATTENTION_MASK], [f"{out}/batch"], start=0, end=1))
        self._add(OPERATORS["Unpack"], {"x": self._first[value], "tokens": f"{out}/batch"}, f"{out}/texts")
        axes = self._new_array(f"{out}/axes", np.zeros(1, np.int64))
        self._nodes.append(helper.make_node("Squeeze", [f"{out}/texts", axes], [out]))
        self._plain.add(out)

    def _is_lookup(self, node: NodeProto) -> bool:
        """Whether a node looks up rows of a large fp32 table."""
        table = self._initializers.get(node.input[0]) if node.op_type == "Gather" and node.domain == "" else None
        return (
            table is not None
            and table.data_type == TensorProto.FLOAT
            and len(table.shape) == 2
            and looked_up_in_int8(table.shape[0])
            and attributes(node).get("axis", 0) == 0
        )

    def _write_lookup(self, node: NodeProto) -> None:
        """Write a lookup of int8 rows times their scales, in standard operators."""
        name, rows = node.input
        rounded = f"{name}/int8"
        if rounded not in self._arrays:
            values, scale = round_rows(self._initializers[name].array())
            self._new_array(rounded, values)
            self._new_array(f"{name}/scale", scale[:, None])
            self.result.contained[name] = values.nbytes + scale.nbytes
        out = node.output[0]
        self._nodes += [
            helper.make_node("Gather", [rounded, rows], [f"{out}/int8"], axis=0),
            helper.make_node("Gather", [f"{name}/scale", rows], [f"{out}/scale"], axis=0),
            helper.make_node("Cast", [f"{out}/int8"], [f"{out}/float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{out}/float", f"{out}/scale"], [out]),
        ]

    def _write_attention(self, block: AttentionBlock, kinds: Sequence[LayerKind]) -> None:
        if len(set(kinds)) == 1:
            joined = self._write_linear(block.linears, kinds[0])
            sources, starts = [joined] * 3, [0, block.width, 2 * block.width]
        else:
            sources = [self._write_linear([linear], kind) for linear, kind in zip(block.linears, kinds, strict=True)]
            starts = [0, 0, 0]
        tokens = self._tokens[block.linears[0].x]
        if block.angles is not None:
            sources = self._rotate(block, sources, tokens)
        first = block.out in self._only_first
        out = f"{block.out}/{'first' if first else 'packed'}"
        inputs = dict(zip("qkv", sources, strict=True)) | {"tokens": tokens}
        mask = block.mask if self._kept is None else None
        added = {name: value for name, value in (("mask", mask), ("bias", block.bias)) if value}
        operator = OPERATORS["PackedAttentionInt8" if self._in_int8(block) else "PackedAttention"]
        if block.positions is not None:
            added = {"key_places": block.positions.key_places, "query_places": block.positions.query_places}
            operator = OPERATORS["PackedDisentangledAttention"]
            for name, rows in self._positions[block.out].items():
                assert rows is not None
                inputs[name] = self._new_array(f"{block.out}/{name}", rows)
        inputs |= added
        self._add(
            operator,
            inputs,
            out,
            heads=block.width // block.head_size,
            head_size=block.head_size,
            q_first=starts[0],
            k_first=starts[1],
            v_first=starts[2],
            scale=float(block.scale),
            **({"first_tokens": 1} if first else {}),
        )
        self._plain.update(added.values())
        (self._first if first else self._packed)[block.out] = out
        self._tokens[block.out] = tokens

    def _in_int8(self, block: AttentionBlock) -> bool:
        """Whether attention is rounded in an int8 file.

        That of a window of neighbours is not, nor what transformers writes out: a network that learns with rounding
        computes these in float, and what is trained and verified in torch is what the file computes.
        """
        if self._precision != "int8" or block.written_out:
            return False
        if self._kept is not None or block.mask is None:
            return True
        if block.mask not in self._of_keys:
            found = leaves_out_padding(self._model, self._index, self._initializers, block.mask, ATTENTION_MASK)
            self._of_keys[block.mask] = found
        return self._of_keys[block.mask]

    def _rotate(self, block: AttentionBlock, sources: Sequence[str], tokens: str) -> list[str]:
        """Write rotary positions on queries and keys; where all are of one product, they lie one behind the other."""
        assert block.angles is not None
        for name in block.angles:
            self._unpack(name)
        heads = block.width // block.head_size
        together = len(set(sources)) == 1
        inputs = {"tokens": tokens, "cos": block.angles[0], "sin": block.angles[1]}
        settings = {"heads": 2 * heads if together else heads, "head_size": block.head_size, "first": 0}
        rotated = {}
        for source in dict.fromkeys(sources[:2]):
            rotated[source] = f"{source}/rotated"
            self._add(OPERATORS["PackedRotary"], {"x": source, **inputs}, rotated[source], **settings)
        query, key, value = sources
        return [rotated[query], rotated[key], rotated[query] if together else value]

    def _write_linear(self, linears: Sequence[Linear], kind: LayerKind) -> str:
        """Write one operator for linear layers with the same input; several have neither activation nor norm."""
        head = linears[0]
        first = len(linears) == 1 and head.out in self._only_first
        take = self._take_first if first else self._pack
        x = take(head.x)
        tokens = self._tokens[head.x]
        stored = [self._initializers[linear.weight] for linear in linears]
        widths = [weight.shape[1] for weight in stored]
        operator = linear_operator(kind)
        made = self._weights(stored, operator)
        holders = zip(operator.weight_inputs, (tensor.name for tensor in made.tensors), strict=True)
        inputs = {"x": x, **dict(holders), "bias": self._bias_input(linears, widths)}
        settings: dict[str, Any] = {"activation": head.activation, **made.settings}
        if head.norm is not None:
            residual = take(head.norm.residual)
            inputs |= {"residual": residual, "gamma": head.norm.gamma, "beta": head.norm.beta}
            settings["epsilon"] = float(head.norm.epsilon)
        out = f"{'+'.join(linear.out for linear in linears)}/{'first' if first else 'packed'}"
        self._add(
            operator,
            inputs,
            out,
            in_features=stored[0].shape[0],
            out_features=sum(widths),
            # Not for the kernel: the names of the parameters, and what the rows are, for tools that inspect the file.
            weights=[weight.name for weight in stored],
            widths=widths,
            **({"first_tokens": 1} if first else {}),
            **settings,
        )
        for linear in linears:
            self._tokens[linear.out] = tokens
        if len(linears) == 1:
            (self._first if first else self._packed)[head.out] = out
        return out

    def _weights(self, stored: Sequence[StoredTensor], operator: Operator) -> LayerTensors:
        """Return the initializers of weights that are multiplied together, created once for layers that share them."""
        name = "+".join(weight.name for weight in stored)
        if name not in self._made:
            assert operator.weight is not None
            names = [f"{name}/{holder}" for holder in operator.weight_inputs]
            made = self._made[name] = operator.weight.write(names, stored)
            self.result.tensors += made.tensors
            for own, size in made.contained.items():
                self.result.contained[own] = self.result.contained.get(own, 0) + size
        return self._made[name]

    def _bias_input(self, linears: Sequence[Linear], widths: Sequence[int]) -> str:
        if len(linears) == 1 and linears[0].bias is not None:
            return linears[0].bias
        # Layers that share weights may have different biases.
        name = "+".join(linear.bias or f"{linear.weight}/bias" for linear in linears) + "/together"
        if name in self._arrays:
            return name
        parts = []
        for linear, width in zip(linears, widths, strict=True):
            if linear.bias is None:
                parts.append(np.zeros(width, np.float32))
            else:
                parts.append(self._initializers[linear.bias].array())
                self.result.contained[linear.bias] = 4 * width
        return self._new_array(name, np.concatenate(parts))

    def _new_array(self, name: str, array: NDArray[Any]) -> str:
        self._arrays.add(name)
        self.result.tensors.append(new_tensor(name, array))
        return name

    def _pack(self, value: str) -> str:
        """Return the packed form of a value, created if necessary."""
        if value not in self._packed:
            self._packed[value] = f"{value}/packed"
            if self._kept is not None:
                self._tokens[value] = self._kept
                if not self._write_embedding(value):
                    self._add(OPERATORS["Pack"], {"x": value, "kept": self._kept}, self._packed[value])
            else:
                self._tokens[value] = f"{value}/tokens"
                self._nodes.append(helper.make_node("Shape", [value], [self._tokens[value]], start=-2, end=-1))
                self._add(OPERATORS["Pack"], {"x": value}, self._packed[value])
        return self._packed[value]

    def _write_embedding(self, value: str) -> bool:
        """Write one operator for the embeddings that make a value; returns whether they do.

        Its tables in int8 are those of `_write_lookup`, which wrote the lookups before; `_finish` drops these.
        """
        found = find_embedding(value, WORDS, self._index, self._initializers)
        int8 = self._precision == "int8"
        if found is None or self._kept is None:
            return False
        lookups = {"word": found.words, "position": found.positions, "type": found.types}
        rounded = {name for name, one in lookups.items() if int8 and one and looked_up_in_int8(one.rows)}
        if int8 and rounded != {name for name in ("word", "position") if lookups[name]}:
            return False
        inputs = {"kept": self._kept, "gamma": found.gamma, "beta": found.beta}
        for name, one in lookups.items():
            if one is not None:
                # The indices of a single row are not read: what computes them may go.
                inputs[f"{name}s"] = one.indices if one.rows > 1 else WORDS
                inputs[f"{name}_table"] = f"{one.table}/int8" if name in rounded else one.table
                if name in rounded:
                    inputs[f"{name}_scale"] = f"{one.table}/scale"
        operator = OPERATORS["PackedEmbeddingInt8" if int8 else "PackedEmbedding"]
        self._add(operator, inputs, self._packed[value], epsilon=float(found.epsilon))
        return True

    def _take_first(self, value: str) -> str:
        """Return the packed first tokens of a value's texts, created if necessary."""
        if value not in self._first:
            packed = self._pack(value)
            self._first[value] = f"{value}/first"
            self._add(OPERATORS["FirstTokens"], {"x": packed, "tokens": self._tokens[value]}, self._first[value])
        return self._first[value]

    def _unpack(self, value: str) -> None:
        """Ensure that a value exists in its plain form."""
        if value in self._packed and value not in self._plain:
            self._add(OPERATORS["Unpack"], {"x": self._packed[value], "tokens": self._tokens[value]}, value)
            self._plain.add(value)

    def _add(self, operator: Operator, inputs: Mapping[str, str], output: str, **settings: Any) -> None:
        ordered = operator.arrange(inputs)
        self._nodes.append(helper.make_node(operator.name, ordered, [output], name=output, domain=DOMAIN, **settings))

    def _finish(self) -> None:
        """Replace the nodes, and drop initializers without readers."""
        kept: list[NodeProto] = []
        wanted = set(self._index.outputs)
        for node in reversed(self._nodes):
            if any(name in wanted for name in node.output):
                kept.append(node)
                wanted.update(node.input)
        self._graph.ClearField("node")
        self._graph.node.extend(reversed(kept))
        self.result.replaced = {name for name in self._initializers if name not in wanted}
        values = [value for value in self._graph.value_info if value.name in wanted]
        self._graph.ClearField("value_info")
        self._graph.value_info.extend(values)
