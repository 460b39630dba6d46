"""One server behind an upstream: where it is, how it is, how much it has to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import msgspec

from escala.balancing.pure.health import Health, State
from escala.balancing.target_url import TargetUrl
from escala.errors import BackendUnreachable, Rejected
from escala.kernel.config import options

if TYPE_CHECKING:
    from escala.balancing.upstream import Upstream

Weight = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class TargetOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of `targets` in `stack.yaml`: an address, or a mapping with a weight."""

    shorthand: ClassVar[str] = "url"

    url: TargetUrl
    """`host:port`, or a URL with a scheme and a host."""
    weight: Weight = 1
    """How many calls it gets for each one that a target of weight 1 gets."""


class Target:
    """A server that an `Upstream` picked for one call; leave it with `with` or `release`.

    - `url` (`http://127.0.0.1:9001`), `address` (`127.0.0.1:9001`), `host` and `port` say
      where it is, `weight` how much it can take compared with the others.
    - `in_flight` calls are with it now, `requests` were given to it so far, and `failures` of
      these failed. `state` and `healthy` say what its health check found.

    All calls to one server share one object, which is safe in threads and tasks. Raises
    `ConfigError` for what is no address or no weight from 1 to 1,000,000.
    """

    __slots__ = (
        *("url", "address", "host", "port", "weight", "in_flight", "requests", "failures"),
        *("upstream", "health", "slot"),
    )

    def __init__(self, url: str, *, weight: int = 1) -> None:
        given = options(TargetOptions, {"url": url, "weight": weight}, where="Target")
        self.url, self.weight = given.url, given.weight
        self.address, self.host, self.port = given.url.address, given.url.host, given.url.port
        self.in_flight = self.requests = self.failures = 0
        # The rest belongs to the upstream, which changes it under its lock.
        self.upstream: Upstream | None = None
        self.health: Health | None = None
        self.slot = -1  # the place among the targets that may be picked; none if negative

    def __repr__(self) -> str:
        weight = f", weight={self.weight}" if self.weight != 1 else ""
        return f"Target({str(self.url)!r}{weight})"

    @property
    def state(self) -> State:
        """What is known of it; a target that no one checks is taken to be healthy."""
        return State.HEALTHY if self.health is None else self.health.state

    @property
    def healthy(self) -> bool:
        """Whether its health check passes, or there is none."""
        return self.state is State.HEALTHY

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Give the target back; how the block ended counts for or against it.

        A rejection by our own policies and a cancellation say nothing of the target. That it
        cannot be reached (`ConnectionError`, `BackendUnreachable`) says a lot: see
        `Upstream.report`.
        """
        upstream = self.upstream
        if upstream is None:
            raise RuntimeError(f"{self!r} was not picked: `with upstream.pick() as target:`")
        neutral = error is not None and (
            isinstance(error, Rejected) or not isinstance(error, Exception)
        )
        upstream.release(self, ok=None if neutral else error is None)
        if error is None or isinstance(error, (ConnectionError, BackendUnreachable)):
            upstream.report(self, ok=error is None)
