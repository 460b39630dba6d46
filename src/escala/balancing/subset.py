"""A part of a large fleet for each client, so that not everyone is connected to everyone."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from escala.balancing.pure.subset import subset
from escala.kernel.config import options

Size = Annotated[int, msgspec.Meta(ge=1)]
Client = Annotated[int, msgspec.Meta(ge=0)] | Annotated[str, msgspec.Meta(min_length=1)]


class SubsetOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `subset` may say in `stack.yaml`."""

    size: Size
    """How many of the targets this process uses; all, if there are fewer."""
    client: Client
    """Which client it is: its number among its like, from 0, or a name of its own."""


class Subset:
    """`size` of the targets for each client: `Subset(20, client=3)`.

    A thousand clients of a thousand servers are a million connections, and as many health checks.
    With a subset of 20 each they are 20,000, and the load is as even. `client` is best the number
    of this process among all clients (a pod's ordinal): then each target has as many clients as
    any other, but for a few. A name of its own, such as the host's, does where there is no
    number: then targets have that many on average. All clients have to see the same targets.

    With zones and priorities, choose `size` so that a subset has some of each. Raises
    `ConfigError`.
    """

    Options: ClassVar[type[SubsetOptions]] = SubsetOptions

    def __init__(self, size: int, *, client: int | str) -> None:
        self.options = options(SubsetOptions, {"size": size, "client": client}, where="Subset")
        given = self.options.client
        # A variable of the environment is text, also where it is the ordinal of a pod.
        self._client = int(given) if isinstance(given, str) and given.isdecimal() else given

    def __repr__(self) -> str:
        return f"Subset({self.options.size}, client={self.options.client!r})"

    def of(self, urls: list[str]) -> list[str]:
        """Those that this client uses, in their order."""
        ordered = sorted(urls)
        kept = {ordered[at] for at in subset(ordered, self.options.size, self._client)}
        return [url for url in urls if url in kept]
