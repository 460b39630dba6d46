"""What an upstream tells to whoever listens; `name` is the upstream's."""

from __future__ import annotations

from escala.kernel.events import Event


class TargetChanged(Event, frozen=True, kw_only=True):
    """A target of the upstream `name` was found to be healthy, or not to be, and why."""

    target: str
    healthy: bool
    reason: str


class TargetEjected(Event, frozen=True, kw_only=True):
    """A target of the upstream `name` is left out for so many seconds, or (0) no longer; why."""

    target: str
    seconds: float
    reason: str


class PanicChanged(Event, frozen=True, kw_only=True):
    """The upstream `name` began to pick unhealthy targets too, since too few are well, or ended."""

    panicking: bool
    healthy: int
    targets: int


class TargetsChanged(Event, frozen=True, kw_only=True):
    """Targets of the upstream `name` came, or went; those that went finish what they have."""

    came: tuple[str, ...]
    went: tuple[str, ...]


class DiscoveryFailed(Event, frozen=True, kw_only=True):
    """No targets could be read for the upstream `name`, which keeps those it has; and why."""

    reason: str
