"""What of a model is computed in int8: rules that the exporter follows, and training that prepares for it."""

from __future__ import annotations

# A table with fewer rows does not justify two more operators.
_SMALLEST_TABLE = 256

# Attention in int8 takes longer than it saves with fewer keys, and its sums do not fit 32 bits with more; in
# export/native/operators/attention.cpp they are kFewestInt8Keys and kMostInt8Keys.
FEWEST_KEYS = 112
MOST_KEYS = 2**16

# The attention kernels take the features of a head in groups of eight.
_HEAD_STEP = 8

# Sums of an int8 product stay within 32 bits up to this many inputs.
MOST_INPUTS = 2**16

# Rows of a weight that a sparse product computes together, and inputs that an int8 product does.
_STEP = 4


def multiplied_in_int8(in_features: int, out_features: int) -> bool:
    """Whether a linear layer on [batch, tokens, features] is computed in int8."""
    return in_features % _STEP == out_features % _STEP == 0 and in_features <= MOST_INPUTS


def looked_up_in_int8(rows: int) -> bool:
    """Whether the rows of a table are stored in int8."""
    return rows >= _SMALLEST_TABLE


def attends_in_int8(head_size: int) -> bool:
    """Whether attention with heads of a size is computed in int8, for sequences of FEWEST_KEYS to MOST_KEYS keys."""
    return head_size % _HEAD_STEP == 0
