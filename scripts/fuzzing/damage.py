"""What files and arguments are attacked with: hostile values, edited JSON, damaged bytes."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from typing import Any

HOSTILE = [
    None, True, -1, 0, 0.5, 1e+308, float("nan"), 10**30, 2**31, "", "x", "[/red]", "[bold]", "\x1b[31m",
    "a\nb\rc", "\u202e", "\x00", "\ud800", "x" * 5000, "../../../etc/passwd", "/dev/zero", [], [[]], {},
    {"type": "Gram"}, [None], {"type": []},
]
NUMBERS = [
    "99999999999999999999", "-1", "0", "1e400", "nan", "inf", "x", "", "1,2", "none", "true", "0.5", "[/]",
]
NAMES = [
    "a [/2024] b.png", "new\nline.png", "esc\x1b[31m.png", "<!--<script>.png", "  .png", "-dash.png",
    "ü\u202e.png", "%s{0}.png", "'\"`$(x).png",
]
SETTINGS = [
    "size", "steps", "seed", "every", "strength", "max-memory", "devices", "terms.style.weight", "solver",
    "solver.history", "stages.0.size", "rows", "precision", "terms.style.layers", "start.noise",
    "style_scale", "pooling", "weights", "style-weight", "nonsense", "save-every",
]


def edited(rng: random.Random, data: Any) -> Any:
    """JSON with something deleted, exchanged, added or buried somewhere."""
    data = copy.deepcopy(data)
    places: list[tuple[Any, Any]] = []
    queue = [data]
    while queue:
        node = queue.pop()
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                queue.append(node[key])
    for _ in range(rng.randint(1, 2)):
        node, key = rng.choice(places)
        action = rng.randrange(5)
        with contextlib.suppress(KeyError, IndexError):
            if action == 0:
                del node[key]
            elif action == 1 and isinstance(node, dict):
                node[rng.choice(["new", "[/x]", "\x1b[2J", "", "type"])] = rng.choice(HOSTILE)
            else:
                node[key] = rng.choice(HOSTILE)
    return data


def as_json(rng: random.Random, data: Any) -> str:
    """Edited JSON as text, now and then as deep as JSON can be, or cut off."""
    kind = rng.randrange(12)
    if kind == 0:
        return "[" * 100_000 + "]" * 100_000
    if kind == 1:
        return '{"format":' * 5000 + "1" + "}" * 5000
    text = json.dumps(edited(rng, data))
    return text[: rng.randrange(len(text))] if kind == 2 else text


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Bytes cut off, changed, doubled or emptied."""
    kind, at = rng.randrange(6), rng.randrange(max(1, len(data)))
    if kind == 0:
        return data[:at]
    if kind == 1:
        return b""
    if kind == 2:
        return data[:at] + rng.randbytes(8) + data[at + 8 :]
    if kind == 3:
        return data[:at] + data
    if kind == 4:
        return rng.randbytes(200)
    changed = bytearray(data)
    for _ in range(rng.randint(1, 20)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)
