"""One server behind an upstream: where it is, how it is, how much it has to do."""

from __future__ import annotations

from contextvars import ContextVar
from math import inf
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import msgspec

from escala.balancing.pure.health import Health, State
from escala.balancing.target_url import TargetUrl
from escala.errors import BackendUnreachable, Rejected
from escala.kernel.config import options
from escala.kernel.runtime import colours

if TYPE_CHECKING:
    from escala.balancing.upstream import Upstream

Weight = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Priority = Annotated[int, msgspec.Meta(ge=0, le=65_535)]


class TargetOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of `targets` in `stack.yaml`: an address, or a mapping with a weight."""

    shorthand: ClassVar[str] = "url"

    url: TargetUrl
    """`host:port`, or a URL with a scheme and a host."""
    weight: Weight = 1
    """How many calls it gets for each one that a target of weight 1 gets."""
    zone: str = ""
    """Where it stands, for upstreams that say where they stand themselves."""
    priority: Priority = 0
    """The lowest number is used first, higher ones take what is too much for the lower."""


# Who is in a `with` block of which target, since when: innermost last. A target is shared by all
# calls to it, so the time of one call has to be kept by its caller.
_blocks: ContextVar[tuple[tuple[Target, float], ...]] = ContextVar("_blocks", default=())


class Target:
    """A server that an `Upstream` picked for one call; leave it with `with` or `release`.

    - `url` (`http://127.0.0.1:9001`), `address` (`127.0.0.1:9001`), `host` and `port` say
      where it is, `weight` how much it can take compared with the others, `zone` where it
      stands, and `priority` (0 is the first) before and after which others it is used.
    - `in_flight` calls are with it now, `requests` were given to it so far, and `failures` of
      these failed. `state` and `healthy` say what its health check found, `ejected` whether
      outlier detection leaves it out, as it did `ejections` times.

    All calls to one server share one object, which is safe in threads and tasks. Raises
    `ConfigError` for what is no address, no weight from 1 to 1,000,000 or no priority from 0 to
    65,535.
    """

    __slots__ = (
        *("url", "address", "host", "port", "weight", "zone", "priority"),
        *("in_flight", "requests", "failures", "ejected", "ejections"),
        *("upstream", "health", "slot", "since", "seconds", "inherited", "gone"),
    )

    def __init__(self, url: str, *, weight: int = 1, zone: str = "", priority: int = 0) -> None:
        asked = {"url": url, "weight": weight, "zone": zone, "priority": priority}
        given = options(TargetOptions, asked, where="Target")
        self.url, self.weight = given.url, given.weight
        self.zone, self.priority = given.zone, given.priority
        self.address, self.host, self.port = given.url.address, given.url.host, given.url.port
        self.in_flight = self.requests = self.failures = self.ejections = 0
        self.ejected = False
        # The rest belongs to the upstream, which changes it under its lock.
        self.upstream: Upstream | None = None
        self.health: Health | None = None
        self.slot = -1  # the place among the targets that may be picked; none if negative
        self.since = -inf  # when it came, or came back
        self.seconds: float | None = None  # how long its calls take, for the next `Choice`
        self.gone = False  # no target of the upstream any more
        self.inherited = 0  # calls that were in flight when this process was forked

    def __repr__(self) -> str:
        told = f", weight={self.weight}" if self.weight != 1 else ""
        told += f", zone={self.zone!r}" if self.zone else ""
        told += f", priority={self.priority}" if self.priority else ""
        return f"Target({str(self.url)!r}{told})"

    @property
    def state(self) -> State:
        """What is known of it; a target that no one checks is taken to be healthy."""
        return State.HEALTHY if self.health is None else self.health.state

    @property
    def healthy(self) -> bool:
        """Whether its health check passes, or there is none."""
        return self.state is State.HEALTHY

    def __enter__(self) -> Self:
        _blocks.set((*_blocks.get(), (self, colours.thread.now())))
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Give the target back; how the block ended counts for or against it.

        A rejection by our own policies and a cancellation say nothing of the target. That it
        cannot be reached (`ConnectionError`, `BackendUnreachable`) says a lot: see
        `Upstream.report`.
        """
        took, blocks = None, _blocks.get()
        if blocks and blocks[-1][0] is self:  # else the block was entered in another context
            took = colours.thread.now() - blocks[-1][1]
            _blocks.set(blocks[:-1])
        upstream = self.upstream
        if upstream is None:
            raise RuntimeError(f"{self!r} was not picked: `with upstream.pick() as target:`")
        neutral = error is not None and (
            isinstance(error, Rejected) or not isinstance(error, Exception)
        )
        upstream.release(self, ok=None if neutral else error is None, took=took)
        if error is None or isinstance(error, (ConnectionError, BackendUnreachable)):
            upstream.report(self, ok=error is None)
