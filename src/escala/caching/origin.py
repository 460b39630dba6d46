"""The third level: whom a cache asks for what neither of its own levels has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from escala.caching.loaded import Loaded
from escala.caching.value_store import Signal
from escala.errors import ConfigError
from escala.kernel.runtime import Runtime
from escala.kernel.wrong_value import sentence, shown

_KINDS: dict[str, Literal["tag", "namespace"]] = {"#": "tag", "/": "namespace"}


class Purge(NamedTuple):
    """What has changed: a key, all with a tag, all of a namespace, or all (`name` is then "").

    `soft`: what is there may still be given as stale.
    """

    kind: Literal["key", "tag", "namespace", "all"]
    name: str = ""
    soft: bool = False


@runtime_checkable
class Origin(Protocol):
    """An HTTP origin, a CDN, or whatever else has values by key: `Cache(l3=...)`.

    One object serves threads and tasks. What waits goes through `runtime`: in a thread it must
    not suspend. Both raise what they like, and `DeadlineExceeded` when the caller's time is up.
    """

    async def fetch(self, key: str, runtime: Runtime) -> Loaded[Any] | None:
        """The value of a key, with what the origin says of its lifetime; None if there is none."""
        ...

    async def purge(self, purges: Sequence[Purge], runtime: Runtime) -> None:
        """Never give these again; returns when that is so."""
        ...


def purge_of(signal: Signal) -> Purge:
    """What to tell an origin of an invalidation."""
    if signal.kind == "tag":
        return Purge(_KINDS[signal.name[:1]], signal.name[1:], signal.soft)
    return Purge(signal.kind, signal.name, signal.soft)


def origin_of(given: object) -> Origin:
    """A third level as it was given. Raises `ConfigError` if it is none."""
    if not isinstance(given, Origin):
        raise ConfigError(f"Cache: l3: {sentence('an Origin, with fetch and purge', shown(given))}")
    return given
