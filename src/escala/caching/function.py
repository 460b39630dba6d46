"""What a cache has to know of a function whose results it keeps: its colour, and their type."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, get_type_hints

from escala.caching.loaded import kind_within


def name_of(fn: object) -> str:
    """How to speak of it."""
    return getattr(fn, "__qualname__", None) or repr(fn)


def is_async(fn: Callable[..., Any]) -> bool:
    """The colour of a function. Raises `TypeError` for what has no single result to keep."""
    if isinstance(fn, (staticmethod, classmethod)):
        raise TypeError(f"put the cache below @{type(fn).__name__}, on the function itself")
    if inspect.isclass(fn) or not callable(fn):
        raise TypeError(
            f"a cache keeps the results of functions and methods; {name_of(fn)} is "
            f"{type(fn).__name__}"
        )
    runs: Any = _unwrapped(fn)
    if not inspect.isroutine(runs):
        runs = runs.__call__  # an object that can be called has the colour of that method
    if inspect.isgeneratorfunction(runs) or inspect.isasyncgenfunction(runs):
        raise TypeError(
            f"{name_of(fn)} is a generator, which could be read only once: return a list, or "
            "decorate the function that it calls for each item"
        )
    return inspect.iscoroutinefunction(runs)


def result_type(fn: Callable[..., Any]) -> Any:  # noqa: ANN401
    """The annotation of what a function returns; None if it has none that can be read."""
    runs = inspect.unwrap(_unwrapped(fn))
    if not inspect.isroutine(runs):
        runs = type(runs).__call__
    try:
        # Of this annotation alone: the others may name what only a type checker imports.
        returns = SimpleNamespace(__annotations__={"return": runs.__annotations__["return"]})
        names = getattr(runs, "__globals__", {})
        kind = kind_within(get_type_hints(returns, globalns=names, include_extras=True)["return"])
    except Exception:  # noqa: BLE001  whatever an annotation's names raise
        return None
    return None if kind in (Any, type(None), object) else kind


def _unwrapped(fn: Any) -> Any:  # noqa: ANN401
    while isinstance(fn, functools.partial):
        fn = fn.func
    return fn
