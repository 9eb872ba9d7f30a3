"""Damage: values, texts and bytes that nobody expects, drawn from a seeded generator."""

from __future__ import annotations

import json
import math
from random import Random
from typing import Any

# Around the limits of integers, floats and what a parser takes.
NUMBERS: tuple[Any, ...] = (
    *(0, -0.0, -1, 1, 2, 0.5, 1e-320, 1e308, -1e308, math.nan, math.inf, -math.inf),
    *(2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), -(2**63) - 1, 10**30, 10**400),
)
# Unicode that surprises: nothing, controls, line separators, other directions, joiners, combining marks, both
# normalization forms, characters beyond the basic plane, non-characters, private use, long runs.
TEXTS = (
    *(
        "",
        " ",
        "\0",
        "a\0b",
        "\x1b[2J\x1b[H",
        "\r",
        "\n",
        "\r\n",
        "\t",
        "\x0b",
        "\x0c",
        "\x1c",
        "\x85",
        "\u2028",
        "\u2029",
    ),
    *(
        "\u202eabc\u202c",
        "\u2066a\u2069",
        "שלום عليكم",
        "👩‍👩‍👧‍👦",
        "🇩🇪" * 3,
        "e\u0301",
        "é",
        "ﬃ",
        "İıſß",
        "Å",
        "A\u030a",
    ),
    *("a" + "\u0301" * 500, "\U0001d4d0", "\U0010ffff", "\ufffe\uffff", "\ufeff", "\ue000", "\u200b" * 20, "ก็็็็็็"),
    *(
        "NaN",
        "null",
        "None",
        "true",
        "-1",
        "1e999",
        "0x10",
        "１２",
        "²",
        "=1+1",
        '"',
        '""',
        "'",
        "\\",
        "\\u0000",
        "{}",
        "[]",
    ),
    *(
        "../../../etc/passwd",
        "/dev/zero",
        "~",
        "~nobody-here/x",
        "C:\\x",
        "file:///etc/passwd",
        "%s%n",
        "{language}",
        "$(id)",
    ),
    *("x" * 300, "word " * 3000, "z" * 100_000, "好" * 5000),
)
SURROGATES = ("\ud800", "a\udc80b", "\udfff\ud800")


def value(random: Random, depth: int = 2) -> Any:
    """A value of any JSON type."""
    kind = random.randrange(8)
    if kind == 0 or depth == 0:
        return random.choice([None, True, False])
    if kind in (1, 2):
        return random.choice(NUMBERS)
    if kind in (3, 4):
        return text(random)
    if kind == 5:
        return [value(random, depth - 1) for _ in range(random.randrange(4))]
    if kind == 6:
        return {text(random)[:50]: value(random, depth - 1) for _ in range(random.randrange(3))}
    return nested(random.choice([5, 100, 900]), random.random() < 0.5)


def text(random: Random) -> str:
    """One text, or several joined."""
    if random.random() < 0.1:
        return random.choice(SURROGATES)
    return "".join(random.choice(TEXTS) for _ in range(random.choice([1, 1, 1, 2, 3])))


def nested(depth: int, lists: bool) -> Any:
    """A value within as many lists or objects."""
    inner: Any = 0
    for _ in range(depth):
        inner = [inner] if lists else {"a": inner}
    return inner


def damaged_bytes(random: Random, content: bytes) -> bytes:
    """The content with bytes changed, cut, doubled, moved or put before it."""
    data = bytearray(content)
    kind = random.randrange(10)
    place = random.randrange(len(data) + 1)
    if kind <= 2 and data:
        for _ in range(random.choice([1, 1, 2, 8, 64])):
            data[random.randrange(len(data))] ^= random.randrange(1, 256)
    elif kind == 3:
        del data[place:]
    elif kind == 4:
        del data[place : place + random.randrange(1, 64)]
    elif kind == 5:
        data[place:place] = random.randbytes(random.choice([1, 4, 100]))
    elif kind == 6:
        data[place:place] = random.choice(
            [b"\0", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\x00" * 5000, b"\n" * 1000]
        )
    elif kind == 7:
        end = random.randrange(place, len(data) + 1)
        data[place:place] = data[place:end] * random.choice([1, 2, 20])
    elif kind == 8:
        data = bytearray(random.choice([b"", b"\xff\xfe", b"\xef\xbb\xbf", b"PAR1", b"\x1f\x8b", b"PK\x03\x04"])) + data
    else:
        data = bytearray(random.choice([b"", b"\0", b"\xef\xbb\xbf", random.randbytes(300)]))
    return bytes(data)


def damaged_json(random: Random, content: bytes) -> bytes:
    """A JSON text with values, keys or types changed; sometimes damaged as text."""
    kind = random.randrange(10)
    if kind == 0:
        return damaged_bytes(random, content)
    if kind == 1:
        return random.choice(
            [b"[" * 100_000, b'{"a":' * 50_000, b"1" * 5000, b"null", b"[]", b"{}", b"3", b'"x"', b"", b"NaN"]
        )
    try:
        tree = json.loads(content)
        for _ in range(random.choice([1, 1, 1, 2, 4])):
            tree = damaged_tree(random, tree)
        encoded_text = json.dumps(tree, ensure_ascii=random.random() < 0.5)
    except (ValueError, RecursionError):
        # Damaged before, or beyond what Python itself can write.
        return damaged_bytes(random, content)
    encoded = encoded_text.encode("utf-8", "surrogatepass")
    return b"\xef\xbb\xbf" + encoded if kind == 2 and random.random() < 0.2 else encoded


def damaged_tree(random: Random, tree: Any) -> Any:
    """The tree with one thing changed somewhere."""
    if isinstance(tree, dict) and tree and random.random() < 0.85:
        return _damaged_object(random, tree)
    if isinstance(tree, list) and tree and random.random() < 0.85:
        return _damaged_list(random, tree)
    if isinstance(tree, int) and not isinstance(tree, bool) and random.random() < 0.4:
        return tree + random.choice([-1, 1, 10, 1000])
    if isinstance(tree, float) and random.random() < 0.3:
        return -tree
    return value(random)


def _damaged_object(random: Random, tree: dict[str, Any]) -> dict[str, Any]:
    """A key lost, renamed or added, or most often something changed in the value of one."""
    key = random.choice(list(tree))
    kind = random.randrange(12)
    if kind == 0:
        return {name: inner for name, inner in tree.items() if name != key}
    if kind == 1:
        return {(text(random)[:80] if name == key else name): inner for name, inner in tree.items()}
    if kind == 2:
        return {**tree, text(random)[:80]: value(random)}
    return {**tree, key: damaged_tree(random, tree[key])}


def _damaged_list(random: Random, tree: list[Any]) -> list[Any]:
    """An item lost or repeated, all in another order, or most often something changed in one."""
    place = random.randrange(len(tree))
    kind = random.randrange(12)
    if kind == 0:
        return tree[:place] + tree[place + 1 :]
    if kind == 1:
        return tree[:place] + [tree[place]] * random.choice([2, 3, 50]) + tree[place + 1 :]
    if kind == 2:
        return random.sample(tree, len(tree))
    return [*tree[:place], damaged_tree(random, tree[place]), *tree[place + 1 :]]
