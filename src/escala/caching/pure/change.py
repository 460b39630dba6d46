"""Whether a value came back from a codec as it went in: the same types, and the same in them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import fields as fields_of
from dataclasses import is_dataclass
from datetime import datetime, time
from functools import lru_cache
from typing import Any, NamedTuple

_PLAIN = frozenset({bool, int, float, str, bytes, type(None)})


class Change(NamedTuple):
    """Where two values differ first, such as ".lines[3].price", and how."""

    where: str
    how: str


def change(value: Any, back: Any) -> Change | None:  # noqa: ANN401  the user's
    """The first difference that a program could notice; `None` if there is none.

    More than `==`: a `StrEnum` equals its text and a `Counter` equals its dict, and yet neither
    may take the other's place. An int may come back as the float of the same number, which is
    what its annotation asked for. NaN is NaN. Attributes that are no fields do not count.
    """
    kind: Any = type(value)
    if kind is not type(back):
        if kind is int and type(back) is float and value == back:
            return None
        return Change("", f"{kind.__qualname__} comes back as {type(back).__qualname__}")
    if (compare := _COMPARE.get(kind)) is not None:
        return compare(value, back)
    if isinstance(value, tuple):  # a named one
        return _of_lists(value, back)
    return _of_objects(value, back)


_OTHER = Change("", "it comes back as another value")


def _of_lists(value: Any, back: Any) -> Change | None:  # noqa: ANN401
    if len(value) != len(back):
        return _OTHER
    for at, (item, other) in enumerate(zip(value, back, strict=True)):
        if type(item) is type(other) and type(item) in _PLAIN and item == other:
            continue  # most are, and a call costs more than the question
        if (found := change(item, other)) is not None:
            return Change(f"[{at}]{found.where}", found.how)
    return None


def _of_dicts(value: dict[Any, Any], back: dict[Any, Any]) -> Change | None:
    if len(value) != len(back):
        return _OTHER
    for (key, item), (other, found) in zip(value.items(), back.items(), strict=True):
        if (changed := change(key, other)) is not None:
            return Change(f" key {key!r:.40}{changed.where}", changed.how)
        if (changed := change(item, found)) is not None:
            return Change(f"[{key!r:.40}]{changed.where}", changed.how)
    return None


def _of_sets(value: Any, back: Any) -> Change | None:  # noqa: ANN401
    if value != back:
        return _OTHER
    others = {other: other for other in back}
    for item in value:
        if (found := change(item, others[item])) is not None:
            return Change(f" item {item!r:.40}{found.where}", found.how)
    return None


def _of_objects(value: Any, back: Any) -> Change | None:  # noqa: ANN401
    kind: Any = type(value)
    fields = _fields(kind)
    if not fields:
        return _of_values(value, back)
    for name in fields:
        item, other = getattr(value, name), getattr(back, name)
        if type(item) is type(other) and type(item) in _PLAIN and item == other:
            continue  # likewise
        if (found := change(item, other)) is not None:
            return Change(f".{name}{found.where}", found.how)
    return None


def _of_values(value: Any, back: Any) -> Change | None:  # noqa: ANN401
    if value != back:
        nan = value != value and back != back  # noqa: PLR0124  so is only NaN
        return None if nan else _OTHER
    if isinstance(value, (datetime, time)) and value.utcoffset() != back.utcoffset():
        return Change("", "it comes back in another time zone: give it in UTC")
    return None


_COMPARE: dict[Any, Callable[[Any, Any], Change | None]] = {
    dict: _of_dicts,
    list: _of_lists,
    tuple: _of_lists,
    set: _of_sets,
    frozenset: _of_sets,
}


@lru_cache(maxsize=1024)
def _fields(kind: Hashable) -> tuple[str, ...]:
    """The names of what an object has; none for what is one value, such as a date."""
    if isinstance(kind, type) and is_dataclass(kind):
        return tuple([field.name for field in fields_of(kind)])
    if (attributes := getattr(kind, "__attrs_attrs__", None)) is not None:
        return tuple([attribute.name for attribute in attributes])
    return tuple(getattr(kind, "__struct_fields__", ()))
