"""What no single field of `stack.yaml` can know: names that must exist, things that must differ.

The rules see drafts too, in which some fields are `BROKEN`; each looks only at what could be
read, so that one run reports everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeAlias

from escala.balancing.target_url import TargetUrl
from escala.errors import ConfigError
from escala.gateway.address import Address
from escala.gateway.policy_entry import PolicyEntry
from escala.gateway.priority import HEADER
from escala.http.message import KEYS
from escala.kernel.policy import Scope
from escala.kernel.problem import BROKEN, Path, dotted
from escala.kernel.wrong_value import not_among

_KEYLESS = {"round_robin", "weighted_round_robin", "least_connections", "p2c", "peak_ewma"}
_HEADER_KEY = re.compile("header:[!#$%&'*+.^_`|~0-9A-Za-z-]+")

Finding: TypeAlias = tuple[Path, str]
Maybe: TypeAlias = Any  # a struct of the stack file, a `Draft` of one, or `BROKEN`


def faults(stack: Maybe) -> Iterator[Finding]:
    """Everything that makes this stack unusable, as paths and messages."""
    yield from _addresses(stack)
    yield from _sources(stack)
    yield from _targets(stack)
    yield from _weights(stack)
    yield from _upstream_names(stack)
    yield from _duplicate_routes(stack)
    yield from _keys(stack)
    yield from _policies(stack)


def oddities(stack: Maybe) -> Iterator[Finding]:
    """What works, but is hardly meant."""
    used = {route.upstream for route in stack.routes}
    for name, upstream in stack.upstreams.items():
        path = ("upstreams", name)
        if name not in used:
            yield path, "no route uses this upstream"
        zones = {target.zone for target in upstream.targets or ()}
        if upstream.zone and zones and upstream.zone not in zones:
            yield (*path, "zone"), f"none of the targets is in the zone {upstream.zone!r}"
        hashing = upstream.balance.name == "consistent_hash"
        if hashing and upstream.hash_on is None:
            yield (*path, "balance"), "without hash_on no request has a key to be placed by"
        if upstream.hash_on is not None and upstream.balance.name in _KEYLESS:
            yield (*path, "hash_on"), f"the balancer {upstream.balance.name!r} looks at no key"


def _addresses(stack: Maybe) -> Iterator[Finding]:
    both = isinstance(stack.admin, Address) and isinstance(stack.listen, Address)
    if both and stack.admin.clashes(stack.listen):
        yield ("admin",), f"expected another address than listen, found '{stack.admin}'"


def _sources(stack: Maybe) -> Iterator[Finding]:
    """Targets are listed or looked for."""
    upstreams = stack.upstreams if isinstance(stack.upstreams, dict) else {}
    for name, upstream in upstreams.items():
        if upstream is BROKEN or BROKEN in (upstream.targets, upstream.discovery):
            continue
        if upstream.targets is None and upstream.discovery is None:
            yield ("upstreams", name), "expected the field 'targets' or 'discovery', found neither"
        elif upstream.targets is not None and upstream.discovery is not None:
            yield ("upstreams", name, "discovery"), "expected no 'discovery' beside 'targets'"


def _targets(stack: Maybe) -> Iterator[Finding]:
    own = {name: getattr(stack, name) for name in ("listen", "admin")}
    own = {name: address for name, address in own.items() if isinstance(address, Address)}
    upstreams = stack.upstreams if isinstance(stack.upstreams, dict) else {}
    for name, upstream in upstreams.items():
        targets = () if upstream is BROKEN or upstream.targets is BROKEN else upstream.targets or ()
        first: dict[str, Path] = {}
        for at, target in enumerate(targets):
            if target is BROKEN or not isinstance(target.url, TargetUrl):
                continue
            path = ("upstreams", name, "targets", at)
            if target.url.secure:
                found = f"found '{target.url}'"
                yield path, f"expected http, since the gateway speaks no TLS to targets, {found}"
            for field, address in own.items():
                if address.answers(target.url.host, target.url.port):
                    yield path, f"expected a service behind the gateway, found its own {field}"
            if target.url in first:
                again = f"found '{target.url}' again (first in {dotted(first[target.url])})"
                yield path, f"expected each target once, {again}"
            first.setdefault(target.url, path)


def _weights(stack: Maybe) -> Iterator[Finding]:
    """What a balancer has against the weights of its targets."""
    upstreams = stack.upstreams if isinstance(stack.upstreams, dict) else {}
    for name, upstream in upstreams.items():
        if upstream is BROKEN or BROKEN in (upstream.targets, upstream.balance):
            continue
        weights = [getattr(target, "weight", BROKEN) for target in upstream.targets or ()]
        if BROKEN in weights or upstream.subset is not None:
            continue
        try:
            upstream.balance.build().check(weights)
        except ConfigError as error:
            for problem in error.problems:
                yield ("upstreams", name, "balance"), problem.partition(": ")[2]


def _upstream_names(stack: Maybe) -> Iterator[Finding]:
    if not isinstance(stack.upstreams, dict):
        return
    for at, route in _routes(stack):
        if isinstance(route.upstream, str) and route.upstream not in stack.upstreams:
            path = ("routes", at, "upstream")
            yield path, not_among("upstreams", stack.upstreams, route.upstream)


def _duplicate_routes(stack: Maybe) -> Iterator[Finding]:
    seen: dict[tuple[str, str | None], list[tuple[int, set[str]]]] = {}
    for at, route in _routes(stack):
        if BROKEN in {route.path, route.host} or not isinstance(route.methods, tuple):
            continue
        methods = set(route.methods)
        same = seen.setdefault((route.path, route.host), [])
        for earlier, others in same:
            if methods & others or methods == others:
                which = ", ".join(sorted(methods & others)) or "all methods"
                message = (
                    f"expected one route for {route.path} and {which}, found routes[{earlier}]"
                )
                yield ("routes", at), f"{message} as well"
                break
        same.append((at, methods))


def _keys(stack: Maybe) -> Iterator[Finding]:
    """A key that requests do not have would quietly count all clients as one."""
    keys = [(path, getattr(entry.options, "key", None)) for path, entry in _entries(stack)]
    priorities = [
        (("routes", at, "priority"), getattr(route.priority, "key", None))
        for at, route in _routes(stack)
    ]
    for path, key in [*keys, *priorities]:
        if isinstance(key, str) and key not in KEYS and not _HEADER_KEY.fullmatch(key):
            yield (*path, "key"), not_among("keys", (*KEYS, "header:<name>"), key)
    for path, key in priorities:
        if isinstance(key, str) and key.startswith(HEADER) and stack.trusted_proxies == ():
            expected = "expected trusted_proxies that send it, since any client can"
            yield (*path, "key"), f"{expected}; found {key!r} and none"


def _policies(stack: Maybe) -> Iterator[Finding]:
    """What a policy itself has against its options; nothing is opened by making it."""
    for path, entry in _entries(stack):
        try:
            entry.build(Scope())
        except ConfigError as error:
            for problem in error.problems:
                yield _placed(path, entry, problem)


def _placed(path: Path, entry: PolicyEntry, problem: str) -> Finding:
    """As in "TokenBucket: strict: expected ...": of which policy, and often of which field."""
    for owner in (entry.name, entry.kind.__name__):
        problem = problem.removeprefix(f"{owner}: ")
    field, colon, rest = problem.partition(": ")
    if colon and field in type(entry.options).__struct_fields__:
        return (*path, field), rest
    return path, problem


def _entries(stack: Maybe) -> Iterator[tuple[Path, PolicyEntry]]:
    """Every policy whose options could be read."""
    for at, route in _routes(stack):
        policies = route.policies if isinstance(route.policies, (tuple, list)) else ()
        for place, entry in enumerate(policies):
            if entry is not BROKEN:
                yield ("routes", at, "policies", place, entry.name), entry


def _routes(stack: Maybe) -> Iterator[tuple[int, Maybe]]:
    """Every route that could be read at least in part."""
    routes = () if stack.routes is BROKEN else stack.routes
    return ((at, route) for at, route in enumerate(routes) if route is not BROKEN)
