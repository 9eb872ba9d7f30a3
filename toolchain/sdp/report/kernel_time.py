"""Sentences on the exported file's time by part, from the profile in latency.json."""

from __future__ import annotations

from typing import Any

PART_NAMES = {
    "sparse": "sparse products",
    "dense": "dense products",
    "sparse-int8": "sparse int8 products",
    "dense-int8": "dense int8 products",
    "attention": "attention",
    "rest": "the rest",
}

# Smaller parts are left out: the products of a classifier's head.
_SMALLEST_SHARE = 0.01


def longest_cases(profile: dict[str, Any]) -> list[dict[str, Any]]:
    """Return for each number of threads the case with the most tokens, where products have the largest share."""
    longest: dict[int, dict[str, Any]] = {}
    for case in profile["cases"]:
        known = longest.setdefault(case["threads"], case)
        if case["tokens"] > known["tokens"]:
            longest[case["threads"]] = case
    return list(longest.values())


def time_line(profile: dict[str, Any], case: dict[str, Any]) -> str:
    """Format a case: the share of each part of the time, and the speed of its products against the peak."""
    parts = [
        f"{PART_NAMES[part['part']]} {part['share']:.0%}{_speed(profile, case, part)}"
        for part in case["parts"]
        if part["share"] >= _SMALLEST_SHARE
    ]
    return f"time, {case['case']}, {case['threads']} threads: {', '.join(parts)}"


def peak_of(profile: dict[str, Any], threads: int, kind: str) -> float | None:
    """Return the machine's peak for a type of product, in billions of operations per second; None if not measured."""
    unit = "int8_gops" if kind.endswith("int8") else "fp32_gflops"
    return next((float(peak[unit]) for peak in profile["peaks"] if peak["threads"] == threads), None)


def _speed(profile: dict[str, Any], case: dict[str, Any], part: dict[str, Any]) -> str:
    if part["gflops"] is None:
        return ""
    peak = peak_of(profile, case["threads"], part["part"])
    most = "" if peak is None else f" of at most {peak:.0f}"
    kernels = dict.fromkeys(layer["kernel"] for layer in case["layers"] if layer["kind"] == part["part"])
    return f" ({part['gflops']:.0f}{most} GFLOP/s, {' and '.join(kernels)})"
