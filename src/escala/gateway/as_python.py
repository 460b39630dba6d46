"""A `stack.yaml` as Python source, to read or to take into a program."""

from __future__ import annotations

import importlib
import inspect
import json
import keyword
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from escala.balancing import HealthCheck, Target, Upstream
from escala.kernel.stack import Stack
from escala.kernel.writer import differing

if TYPE_CHECKING:
    from escala.gateway.policy_entry import PolicyEntry
    from escala.gateway.stack_file import RouteConfig, StackFile, UpstreamConfig

_LONGEST_LINE = 88


def source(stack: StackFile) -> str:
    """An `Upstream` for each upstream and a `Stack` for each route.

    Running it makes the same objects as the gateway does from the file; only options that
    differ from their defaults are written.
    """
    kinds = _kinds(stack)
    taken = {kind.__name__ for kind in kinds}
    blocks = [
        _imports(kinds),
        *(_upstream(name, each, _variable(name, taken)) for name, each in stack.upstreams.items()),
        *(_route(each, _variable(each.path, taken)) for each in stack.routes),
    ]
    return "\n\n".join("\n".join(lines) for lines in blocks) + "\n"


def _kinds(stack: StackFile) -> set[type]:
    kinds: set[type] = {Stack, Upstream}
    kinds |= {entry.kind for route in stack.routes for entry in route.policies}
    for upstream in stack.upstreams.values():
        kinds |= {HealthCheck} if upstream.health is not None else set()
        kinds |= {Target} if any(target.weight != 1 for target in upstream.targets) else set()
    return kinds


def _imports(kinds: Iterable[type]) -> Iterator[str]:
    homes: dict[str, list[str]] = {}
    for kind in kinds:
        homes.setdefault(_home(kind), []).append(kind.__name__)
    for home, names in sorted(homes.items()):
        line = f"from {home} import {', '.join(sorted(names))}"
        if len(line) <= _LONGEST_LINE:
            yield line
        else:
            yield f"from {home} import ("
            yield from (f"    {name}," for name in sorted(names))
            yield ")"


def _upstream(name: str, upstream: UpstreamConfig, variable: str) -> Iterator[str]:
    yield f"{variable} = Upstream("
    yield f"    {_literal(name)},"
    yield "    ["
    for target in upstream.targets:
        url = _literal(target.url.text)
        yield (
            f"        {url},"
            if target.weight == 1
            else f"        Target({url}, weight={target.weight}),"
        )
    yield "    ],"
    given = differing(upstream)
    if "balance" in given:
        yield f"    balance={_literal(given['balance'])},"
    if upstream.health is not None:
        yield f"    health=HealthCheck({_arguments(differing(upstream.health))}),"
    if "panic" in given:
        yield f"    panic={_literal(given['panic'])},"
    yield ")"


def _route(route: RouteConfig, variable: str) -> Iterator[str]:
    where = f"{route.host}{route.path}" if route.host else route.path
    yield f"# {' '.join([*route.methods, where])} -> {route.upstream}"
    yield f"{variable} = Stack("
    yield from (f"    {_call(entry)}," for entry in route.policies)
    yield ")"


def _call(entry: PolicyEntry) -> str:
    given = differing(entry.options)
    short = entry.kind.shorthand
    first = ""
    if short in given and _takes_first(entry.kind, short):
        first = _literal(given.pop(short))
    rest = _arguments(given)
    return f"{entry.kind.__name__}({', '.join(filter(None, (first, rest)))})"


def _arguments(given: dict[str, object]) -> str:
    return ", ".join(f"{name}={_literal(value)}" for name, value in given.items())


def _literal(value: object) -> str:
    """Plain data as Python source, with text in double quotes."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        items = (f"{_literal(key)}: {_literal(each)}" for key, each in value.items())
        return f"{{{', '.join(items)}}}"
    return repr(value)


def _takes_first(kind: type, field: str) -> bool:
    """Whether the constructor takes this option without its name."""
    first = next(iter(inspect.signature(kind).parameters.values()), None)
    return first is not None and first.name == field and first.kind is first.POSITIONAL_OR_KEYWORD


def _home(kind: type) -> str:
    """The shortest public module that offers this class."""
    steps = kind.__module__.split(".")
    for length in range(1, len(steps)):
        module = ".".join(steps[:length])
        if getattr(importlib.import_module(module), kind.__name__, None) is kind:
            return module
    return kind.__module__


def _variable(written: str, taken: set[str]) -> str:
    """A name for what is called so in the file, which no other part of the source has."""
    stem = "_".join(re.findall(r"[a-z0-9]+", written.lower())) or "everything"
    if stem[0].isdigit() or keyword.iskeyword(stem):
        stem = f"the_{stem}"
    name, count = stem, 2
    while name in taken:
        name, count = f"{stem}_{count}", count + 1
    taken.add(name)
    return name
