"""The figures of several workers as those of one gateway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_ALIKE = ("weight", "priority")  # what every worker was told, and does not add up
_IDENTITY = ("path", "address")  # what tells the entries of a list apart


def merged(parts: Sequence[Any]) -> Any:  # noqa: ANN401  plain data, as it comes from JSON
    """Numbers add up, truths must hold everywhere, named entries meet, texts are the first's."""
    first = parts[0]
    if isinstance(first, bool):
        return all(parts)
    if isinstance(first, int | float):
        return sum(parts)
    if isinstance(first, dict):
        keys = dict.fromkeys(key for part in parts for key in part)
        return {
            key: first[key] if key in _ALIKE else merged([p[key] for p in parts if key in p])
            for key in keys
        }
    if isinstance(first, list):
        return _lists(parts)
    return first


def _lists(parts: Sequence[list[Any]]) -> list[Any]:
    entries = [entry for part in parts for entry in part]
    name = next(
        (name for name in _IDENTITY if entries and all(name in _dict(e) for e in entries)), None
    )
    if name is not None:
        groups: dict[Any, list[Any]] = {}
        for entry in entries:
            groups.setdefault(entry[name], []).append(entry)
        return [merged(group) for group in groups.values()]
    if len({len(part) for part in parts}) == 1:
        return [merged(column) for column in zip(*parts, strict=True)]
    return entries


def _dict(entry: object) -> dict[Any, Any]:
    return entry if isinstance(entry, dict) else {}
