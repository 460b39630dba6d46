"""Asks each target whether it is well, before a caller finds out that it is not."""

from __future__ import annotations

import asyncio
import functools
import inspect
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias

import msgspec

from escala.balancing.http_probe import HttpProbe
from escala.balancing.pure.health import Health
from escala.balancing.request_path import RequestPath
from escala.balancing.status_range import StatusRange
from escala.balancing.tcp_probe import tcp_probe
from escala.errors import ConfigError
from escala.kernel.config import options
from escala.kernel.scalar import Scalar
from escala.kernel.units import PositiveDuration

if TYPE_CHECKING:
    from escala.balancing.target import Target
    from escala.kernel.runtime import Runtime

Probe: TypeAlias = "Callable[[Target], Awaitable[bool] | bool]"
Kind: TypeAlias = Literal["http", "tcp", "grpc"]
Service = Annotated[
    str,
    msgspec.Meta(pattern=r"^[!-~]{0,127}$(?!\n)", extra={"expected": "the name of a gRPC service"}),
]

JITTER = 0.2  # a share of the interval, each way


class HealthOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `health` may say in `stack.yaml`."""

    shorthand: ClassVar[str] = "path"

    path: RequestPath = RequestPath("/health")
    """What to ask each target for."""
    interval: PositiveDuration = PositiveDuration("2s")
    """Time from the end of a check to the next, 20 % more or less."""
    timeout: PositiveDuration = PositiveDuration("500ms")
    """How long one check may take."""
    fall: Annotated[int, msgspec.Meta(ge=1)] = 2
    """Failed checks, or failed connections, in a row after which a target gets no more calls."""
    rise: Annotated[int, msgspec.Meta(ge=1)] = 2
    """Passed checks in a row after which it gets calls again."""
    expect: StatusRange = StatusRange("200..399")
    """Status codes that pass."""
    kind: Kind = "http"
    """What to ask with: a GET, a TCP connection that is made, or gRPC's own health protocol."""
    service: Service = ""
    """The gRPC service to ask for; the server as a whole if left out."""

    def __post_init__(self) -> None:
        """Refuse options that the kind of check has no use for."""
        used = {"http": {"path", "expect"}, "tcp": set(), "grpc": {"service"}}[self.kind]
        for name in {"path", "expect", "service"} - used:
            if getattr(self, name) != _DEFAULTS[name]:
                raise ValueError(f"expected no '{name}' for checks of the kind '{self.kind}'")


_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(HealthOptions)}


class HealthCheck:
    """Active checks for the targets of an `Upstream`: `HealthCheck(path="/health", fall=3)`.

    - `GET path` on a connection of its own, answered within `timeout` by a status in `expect`,
      is a pass; anything else is a failure. `kind="tcp"` only connects; `kind="grpc"` asks
      `grpc.health.v1.Health/Check` for `service` (extra `grpc`).
    - `probe` replaces all that by any function, best a coroutine function, that takes a
      `Target` and returns whether it is well; what it raises is a failure.
    - The first check of each target is made at once, so that a start is quick. From the end of
      a check to the next `interval` seconds pass, 20 % more or less, so that checks of many
      targets by many workers do not march in step. Checks of one target never overlap.
    - `fall` failures in a row take a target out, `rise` passes bring it back: see
      `pure.health.Health`. So a dead target is out after at most
      `fall * (1.2 * interval + timeout)`, however it died.

    A probe that blocks its event loop cannot be timed out. Raises `ConfigError`.
    """

    Options: ClassVar[type[HealthOptions]] = HealthOptions

    def __init__(
        self,
        *,
        path: str = "/health",
        interval: float | str = 2.0,
        timeout: float | str = 0.5,
        fall: int = 2,
        rise: int = 2,
        expect: int | str | StatusRange = "200..399",
        kind: Kind = "http",
        service: str = "",
        probe: Probe | None = None,
    ) -> None:
        given: dict[str, object] = {"path": path, "interval": interval, "timeout": timeout}
        given |= {"fall": fall, "rise": rise, "expect": expect, "kind": kind, "service": service}
        self.options = options(HealthOptions, given, where="HealthCheck")
        if probe is not None and not callable(probe):
            raise ConfigError(f"HealthCheck: probe: expected a function, found {probe!r}")
        self.probe: Probe = probe or _probe(self.options)

    def __repr__(self) -> str:
        told = ", ".join(
            f"{field.name}={(value.text if isinstance(value, Scalar) else value)!r}"
            for field in msgspec.structs.fields(self.options)
            if (value := getattr(self.options, field.name)) != field.default
        )
        return f"HealthCheck({told})"

    def judge(self) -> Health:
        """A fresh judge of one target."""
        return Health(fall=self.options.fall, rise=self.options.rise)

    async def check(self, target: Target, runtime: Runtime) -> bool:
        """Probe once, within the time limit; never raises anything but its own cancellation."""
        until = runtime.now() + self.options.timeout
        try:
            return await runtime.race(functools.partial(self._ask, target), until)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return False  # the probe waited for something that someone else cancelled
        except Exception:  # noqa: BLE001  whatever goes wrong with a probe, it did not pass
            return False

    async def _ask(self, target: Target) -> bool:
        said = self.probe(target)
        return bool(await said if inspect.isawaitable(said) else said)

    async def watch(
        self,
        target: Target,
        observe: Callable[[bool], None],
        runtime: Runtime,
        rng: random.Random,
    ) -> None:
        """Check `target` again and again, and tell `observe`, until cancelled."""
        interval = self.options.interval
        while True:
            observe(await self.check(target, runtime))
            await runtime.sleep(interval * rng.uniform(1 - JITTER, 1 + JITTER))


def _probe(options: HealthOptions) -> Probe:
    if options.kind == "tcp":
        return tcp_probe
    if options.kind == "grpc":
        from escala.balancing.grpc_probe import GrpcProbe  # few need it

        return GrpcProbe(service=options.service)
    return HttpProbe(path=options.path, expect=options.expect)
