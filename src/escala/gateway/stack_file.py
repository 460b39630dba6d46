"""`stack.yaml` as structs: what `escala serve` needs to know, checked and complete."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Annotated, Any, cast

from msgspec import Meta, Struct

from escala.gateway.address import Address
from escala.gateway.as_python import source
from escala.gateway.network import Network
from escala.gateway.policy_entry import PolicyEntry
from escala.gateway.priority import PriorityConfig
from escala.gateway.route_match import Host, Method, UrlPath
from escala.gateway.stack_rules import faults, oddities
from escala.gateway.upstream_config import Count, UpstreamConfig
from escala.http.limits import Limits
from escala.kernel.environment import overlay
from escala.kernel.policy import Scope
from escala.kernel.problem import BROKEN, Caller, Problem, Source, refuse
from escala.kernel.reader import Reader
from escala.kernel.schema import schema
from escala.kernel.stack import Stack
from escala.kernel.units import PositiveDuration, PositiveSize, Size
from escala.kernel.writer import plain
from escala.kernel.yaml_source import load_yaml

Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$(?!\n)",
        extra={"expected": "a name of letters, digits, '-', '_' and '.'"},
    ),
]
"""A name that metrics, logs and environment variables can carry."""


class RouteConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which requests go where, and through which policies."""

    path: UrlPath
    """The start of the path; the longest matching one wins."""
    upstream: Name
    """The name of the upstream that answers."""
    methods: tuple[Method, ...] = ()
    """Only these methods; when empty, all that no other route of this path names."""
    host: Host | None = None
    """Only this host; any when left out."""
    priority: PriorityConfig | None = None
    """How much each request matters to `shed` and to queues by priority; all alike if left out."""
    policies: Annotated[tuple[PolicyEntry, ...], Meta(max_length=100)] = ()
    """What surrounds each request, outermost first."""

    def stack(self, scope: Scope) -> Stack:
        """Build the policies, outermost first."""
        return Stack(*(entry.build(scope) for entry in self.policies))


class LimitsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one client may ask of the gateway before it is turned away."""

    request_line: PositiveSize = PositiveSize("16KiB")
    """Length of the first line of a request."""
    header_size: PositiveSize = PositiveSize("64KiB")
    """Size of all header lines of a request."""
    header_count: Count = 100
    """Number of header lines of a request."""
    header_timeout: PositiveDuration = PositiveDuration("10s")
    """Time for a whole header to arrive."""
    body_size: Size = Size("1GiB")
    """Size of a request body."""
    body_timeout: PositiveDuration = PositiveDuration("10s")
    """In each such time a body must bring 240 bytes a second, unless the gateway is what waits."""
    write_timeout: PositiveDuration = PositiveDuration("30s")
    """How long a client may take nothing of an answer."""
    read_timeout: PositiveDuration = PositiveDuration("60s")
    """How long a target may pause inside an answer that streams."""
    keepalive: PositiveDuration = PositiveDuration("75s")
    """How long a connection without a request is kept."""
    replay: Size = Size("64KiB")
    """How much of a request body is remembered, so that a retry can send it again."""
    connections: Count = 10_000
    """Connections of clients, of one worker."""

    def engine(self) -> Limits:
        """The same for the HTTP engine."""
        return Limits(
            request_line=self.request_line,
            header_size=self.header_size,
            header_count=self.header_count,
            header_time=self.header_timeout,
            body_size=self.body_size,
            body_window=self.body_timeout,
            write_stall=self.write_timeout,
            read_stall=self.read_timeout,
            keepalive=self.keepalive,
            replay=self.replay,
            connections=self.connections,
        )


class StackFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file: where to listen, the services behind, and the routes to them."""

    listen: Address
    """Where requests are taken."""
    admin: Address | None = None
    """Where /metrics, /status, /healthz and /readyz are served; nowhere when left out."""
    workers: Annotated[int, Meta(ge=1, le=1024)] = 1
    """Processes that share the listening address."""
    upstreams: Annotated[dict[Name, UpstreamConfig], Meta(min_length=1, max_length=1000)]
    """The services, by name."""
    routes: Annotated[tuple[RouteConfig, ...], Meta(min_length=1, max_length=1000)]
    """Which requests go where."""
    limits: LimitsConfig = LimitsConfig()
    """What one client may ask for."""
    drain_timeout: PositiveDuration = PositiveDuration("30s")
    """How long requests may go on after the gateway was told to stop."""
    trusted_proxies: tuple[Network, ...] = ()
    """Proxies whose X-Forwarded-For is believed."""
    explain: bool = False
    """Whether every response says in headers how it came about."""

    def to_json(self) -> str:
        """The whole stack, defaults included, as JSON that `load_stack` reads as the same."""
        return json.dumps(plain(self), indent=2) + "\n"

    def to_python(self) -> str:
        """The upstreams and the policies of every route as Python source."""
        return source(self)


def load_stack(
    path: str | os.PathLike[str],
    environ: Mapping[str, str] | None = None,
    *,
    warn: Callable[[Problem], None] | None = None,
) -> StackFile:
    """Read and check a `stack.yaml`, with the environment laid over it.

    Nothing is done but reading the file. Raises one `ConfigError` with everything that is
    wrong; `warn` is told what is merely odd.
    """
    environ = os.environ if environ is None else environ
    document = load_yaml(path, environ)
    overlay(document, environ)
    return _checked(document.value, document, document.problems, warn)


def stack_of(
    values: Mapping[str, object],
    *,
    where: str = "stack",
    warn: Callable[[Problem], None] | None = None,
) -> StackFile:
    """The same from plain Python data: `stack_of({"listen": "127.0.0.1:8080", ...})`."""
    return _checked(values, Caller(where), [], warn)


def stack_schema() -> dict[str, Any]:
    """The JSON Schema of `stack.yaml`, with every policy that is installed."""
    return schema(StackFile, title="stack.yaml of Escala")


def _checked(
    values: object,
    origin: Source,
    problems: list[Problem],
    warn: Callable[[Problem], None] | None,
) -> StackFile:
    reader = Reader(origin)
    stack = reader.read(StackFile, values)
    if stack is not BROKEN:
        for path, message in faults(stack):
            reader.report(path, message)
    refuse([*problems, *reader.problems])
    if warn is not None:
        for path, message in oddities(stack):
            warn(Problem(mark=origin.mark(path, key=True), path=path, message=message))
    return cast("StackFile", stack)
