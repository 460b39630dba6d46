"""A `stack.yaml` as Python source, to read or to take into a program."""

from __future__ import annotations

import importlib
import inspect
import json
import keyword
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from escala.balancing import (
    DnsTargets,
    FileTargets,
    HealthCheck,
    OutlierDetection,
    RoundRobin,
    Subset,
    Target,
    Upstream,
)
from escala.kernel.stack import Stack
from escala.kernel.writer import differing

if TYPE_CHECKING:
    import msgspec

    from escala.balancing.target import TargetOptions
    from escala.gateway.policy_entry import PolicyEntry
    from escala.gateway.stack_file import RouteConfig, StackFile
    from escala.gateway.upstream_config import UpstreamConfig

_LONGEST_LINE = 88
# The arguments of an `Upstream` in their order, and what they are made of if not of plain values.
_OPTIONS: dict[str, type | None] = {
    "health": HealthCheck,
    "outliers": OutlierDetection,
    "panic": None,
    "zone": None,
    "slow_start": None,
    "subset": Subset,
}


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
        kinds |= {kind for kind, options in _parts(upstream) if options is not None}
        kinds |= {Target} if any(map(_more_than_url, upstream.targets or ())) else set()
        kinds |= {upstream.balance.kind} if differing(upstream.balance.options) else set()
    return kinds


def _parts(upstream: UpstreamConfig) -> list[tuple[type, msgspec.Struct | None]]:
    """What an upstream is made with that is an object of its own, where it has it."""
    discovery = upstream.discovery
    return [
        (FileTargets, discovery and discovery.file),
        (DnsTargets, discovery and discovery.dns),
        (HealthCheck, upstream.health),
        (OutlierDetection, upstream.outliers),
        (Subset, upstream.subset),
    ]


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
    if upstream.targets:
        yield "    ["
        yield from (f"        {_target(target)}," for target in upstream.targets)
        yield "    ],"
    balance, given = upstream.balance, differing(upstream)
    made = {kind: _made(kind, options) for kind, options in _parts(upstream) if options}
    yield from (f"    {made[kind]}," for kind in (FileTargets, DnsTargets) if kind in made)
    if differing(balance.options):
        yield f"    balance={_made(balance.kind, balance.options)},"
    elif balance.kind is not RoundRobin:
        yield f"    balance={_literal(balance.name)},"
    given["panic"] = True if upstream.panic.given is True else upstream.panic.text
    for option, kind in _OPTIONS.items():
        if kind in made:
            yield f"    {option}={made[kind]},"
        elif kind is None and getattr(upstream, option):
            yield f"    {option}={_literal(given[option])},"
    yield ")"


def _target(target: TargetOptions) -> str:
    return _made(Target, target) if _more_than_url(target) else _literal(target.url.text)


def _more_than_url(target: TargetOptions) -> bool:
    return differing(target).keys() != {"url"}


def _route(route: RouteConfig, variable: str) -> Iterator[str]:
    where = f"{route.host}{route.path}" if route.host else route.path
    yield f"# {' '.join([*route.methods, where])} -> {route.upstream}"
    yield f"{variable} = Stack("
    yield from (f"    {_call(entry)}," for entry in route.policies)
    yield ")"


def _call(entry: PolicyEntry) -> str:
    return _made(entry.kind, entry.options, short=entry.kind.shorthand)


def _made(kind: type, options: msgspec.Struct, *, short: str | None = None) -> str:
    """The call that makes this from its options, with the one that needs no name first."""
    given = differing(options)
    first = ""
    short = short or next(iter(inspect.signature(kind).parameters), None)
    if short in given and _takes_first(kind, short):
        first = _literal(given.pop(short))
    return f"{kind.__name__}({', '.join(filter(None, (first, _arguments(given))))})"


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
