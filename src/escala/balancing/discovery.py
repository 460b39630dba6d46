"""Where the targets of an upstream come from, when they are not a fixed list."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from escala.balancing.target import Target, TargetOptions
from escala.errors import ConfigError


class Found(NamedTuple):
    """Targets, and for how many seconds they need not be looked for again."""

    targets: Sequence[Target | TargetOptions | str]
    seconds: float


class Discovery(ABC):
    """Finds targets: give one to an `Upstream` in place of a list, and another one to the next.

    While the upstream is open it looks again and again, on the upstream's own event loop. A look
    that fails, or that finds nothing, changes nothing: old targets are more often right than none.
    """

    again: float = 5.0
    """Seconds to wait after a look that failed."""
    owner: str | None = None
    """The upstream that it looks for."""

    def claim(self, upstream: str) -> None:
        """Look for this upstream; `ConfigError` if it does for another.

        What it has told one would be no news for the other.
        """
        if self.owner is not None:
            raise ConfigError(
                f"upstream {upstream}: {self!r} belongs to upstream {self.owner} already; make "
                "one for each"
            )
        self.owner = upstream

    @abstractmethod
    async def look(self) -> Found | None:
        """What is there now; None where nothing can have changed since the last time.

        Anything it raises is told as `DiscoveryFailed`. It must not block its event loop.
        """
