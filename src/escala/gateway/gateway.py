"""The gateway as one worker runs it: routes, upstreams, and what they have done so far."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from escala.gateway.explain import explained
from escala.gateway.pure.client_address import TrustedProxies
from escala.gateway.pure.router import Entry, Miss, Router
from escala.gateway.route import Route
from escala.gateway.targets import Targets, failed
from escala.http.message import HttpRequest, Response, plain
from escala.http.pure.syntax import canonical
from escala.kernel.policy import Scope
from escala.resilience.retry_after_field import retry_after

if TYPE_CHECKING:
    from escala.gateway.stack_file import RouteConfig, StackFile
    from escala.gateway.upstream_config import UpstreamConfig


def _hint(outcome: object) -> float | None:
    """The seconds a target asks to be left alone for, in either form of `Retry-After`."""
    return retry_after(outcome.header(b"retry-after")) if isinstance(outcome, Response) else None


class Gateway:
    """A built stack: `open` it, let it `handle` requests, `close` it.

    A reload builds a new one from the old: routes and upstreams whose configuration is the same
    are taken over with their state (what is cached, counted, open or unhealthy).
    """

    def __init__(
        self, stack: StackFile, *, workers: int = 1, previous: Gateway | None = None
    ) -> None:
        self.stack = stack
        self._workers = workers
        trusted = TrustedProxies(stack.trusted_proxies)
        same = previous is not None and previous.stack.trusted_proxies == stack.trusted_proxies
        self.upstreams: dict[str, Targets] = {}
        for name, upstream in stack.upstreams.items():
            kept = previous.upstreams.get(name) if previous is not None else None
            if kept is None or previous is None or previous.stack.upstreams[name] != upstream:
                kept = _targets(name, upstream)
            self.upstreams[name] = kept
        self._routes: dict[RouteConfig, Route] = {}
        for config in stack.routes:
            targets = self.upstreams[config.upstream]
            old = previous._routes.get(config) if previous is not None and same else None  # noqa: SLF001
            if old is None or old.targets is not targets:
                old = self._route(config, targets, trusted)
            self._routes[config] = old
        self.router = Router(
            Entry(
                config.host,
                config.path,
                frozenset(config.methods) if config.methods else None,
                route,
            )
            for config, route in self._routes.items()
        )
        self._explain = stack.explain

    def _route(self, config: RouteConfig, targets: Targets, trusted: TrustedProxies) -> Route:
        label = config.path if config.host is None else f"{config.host}{config.path}"
        same = [each for each in self.stack.routes if (each.path, each.host) == _place(config)]
        if len(same) > 1 and config.methods:
            label = f"{label} {','.join(config.methods)}"  # metrics must tell them apart
        scope = Scope(
            name=label,
            judge=failed,
            hint=_hint,
            discard=Response.discard,
            share=self._workers,
        )
        return Route(label, config.stack(scope), targets, trusted, config.priority)

    def handle(self, request: HttpRequest) -> Awaitable[Response]:
        """Answer a request; never raises for what a client or a target did."""
        route = self.router.find(request.method, request.host, canonical(request.path))
        if self._explain or isinstance(route, Miss):
            return self._told(request, route)
        return route.handle(request)

    async def _told(self, request: HttpRequest, route: Route | Miss) -> Response:
        if isinstance(route, Miss):
            response, found = _no_route(route), None
        else:
            response, found = await route.handle(request), route
        return explained(request, response, found) if self._explain else response

    def open(self) -> None:
        """Start the health checks of upstreams that are new."""
        for targets in self.upstreams.values():
            targets.open()

    async def found(self, patience: float) -> None:
        """Wait until every discovery has looked once, at most so many seconds."""
        looks = [targets.upstream.first_look() for targets in self.upstreams.values()]
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await asyncio.gather(*looks)

    async def close(self, successor: Gateway | None = None) -> None:
        """Stop what the successor did not take over, and let go of the policies' stores."""
        going = set(self._routes.values())
        going -= set() if successor is None else set(successor._routes.values())  # noqa: SLF001
        for route in going:
            route.close()
        kept = () if successor is None else tuple(successor.upstreams.values())
        for targets in self.upstreams.values():
            if targets not in kept:
                await targets.close()

    def sweep(self, now: float) -> None:
        """Reap idle connections to targets."""
        for targets in self.upstreams.values():
            targets.sweep(now)

    def retried(self, policy: str) -> None:
        """Count a second try, by the name of the policy that made it."""
        for route in self._routes.values():
            if policy in route.names:
                route.metrics.retries += 1

    def snapshot(self) -> dict[str, Any]:
        """Everything counted, as plain values."""
        return {
            "routes": [
                {"path": route.label, "policies": _policies(route), **route.metrics.snapshot()}
                for route in self._routes.values()
            ],
            "upstreams": {
                name: {
                    "panicking": int(targets.upstream.panicking),
                    "panics": targets.upstream.panics,
                    "targets": targets.upstream.snapshot(),
                }
                for name, targets in self.upstreams.items()
            },
        }


def _policies(route: Route) -> dict[str, Any]:
    """What each policy tells, by its kind; a second one of a kind is `kind_2`, and so on."""
    told: dict[str, Any] = {}
    seen: Counter[str] = Counter()
    for policy in route.stack.flat():
        seen[policy.kind] += 1
        nth = seen[policy.kind]
        if (snapshot := getattr(policy, "snapshot", None)) is not None:
            told[policy.kind if nth == 1 else f"{policy.kind}_{nth}"] = snapshot()
    return told


def _targets(name: str, config: UpstreamConfig) -> Targets:
    return Targets(
        config.build(name),
        limit=config.connections.max_connections,
        idle=config.connections.idle_timeout,
        connect=config.connect_timeout,
        hash_on=config.hash_on,
    )


def _place(config: RouteConfig) -> tuple[str, str | None]:
    return config.path, config.host


def _no_route(miss: Miss) -> Response:
    if miss.allow:
        allow = ", ".join(miss.allow)
        return plain(405, f"this path has {allow} only", (b"allow", allow.encode()))
    return plain(404, "no route for this host and path")
