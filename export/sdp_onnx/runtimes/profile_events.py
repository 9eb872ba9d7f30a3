"""Read onnxruntime's profile: the operators of each run and their times."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NODE_SUFFIX = "_kernel_time"


@dataclass(frozen=True)
class NodeTime:
    """One operator in one run.

    Attributes:
        name: the node's name in the file; onnxruntime's own name for fused nodes.
        op_type: the operator.
        microseconds: its time, of which about 3 are the profiler's; at least 1, the resolution of the clock.
        rows: elements of its first output divided by the last dimension: for a matrix product, the rows that it
            multiplied. 0 where the profile has no shape.
    """

    name: str
    op_type: str
    microseconds: int
    rows: int


@dataclass(frozen=True)
class ProfiledRun:
    """One run of a session: its total time in microseconds, and its operators in the order in which they ran."""

    microseconds: int
    nodes: tuple[NodeTime, ...]


def read_runs(path: Path) -> list[ProfiledRun]:
    """Return the runs in a profile, in order.

    Raises:
        OSError, ValueError: the file is missing or damaged.
    """
    runs, nodes = [], []
    for event in json.loads(path.read_text(encoding="utf-8")):
        if event["cat"] == "Node" and event["name"].endswith(_NODE_SUFFIX):
            nodes.append(_node(event))
        elif event["name"] == "model_run":
            # Written at the end of the run, after its operators.
            runs.append(ProfiledRun(event["dur"], tuple(nodes)))
            nodes = []
    return runs


def _node(event: dict[str, Any]) -> NodeTime:
    settings = event["args"]
    shapes = [shape for output in settings.get("output_type_shape", []) for shape in output.values()]
    rows = math.prod(shapes[0][:-1]) if shapes and shapes[0] else 0
    return NodeTime(event["name"].removesuffix(_NODE_SUFFIX), settings["op_name"], max(1, event["dur"]), rows)
