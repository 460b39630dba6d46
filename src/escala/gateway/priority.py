"""How much a request matters: what shedding and queues by priority go by."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from escala.http.message import HttpRequest

HEADER = "header:"


class PriorityConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The priority of each request of a route, by a property of it; 0 if its value is not named."""

    key: Annotated[str, Meta(min_length=1)]
    """What it goes by: "method", "host", "path", "client_ip" or "header:<name>"."""
    values: Annotated[
        dict[str, Annotated[int, Meta(ge=-1_000_000, le=1_000_000)]],
        Meta(min_length=1, max_length=1000),
    ]
    """The priority for each value; a greater number matters more."""

    def __hash__(self) -> int:
        return hash((self.key, tuple(sorted(self.values.items()))))

    def of(self, request: HttpRequest, *, trusted: bool) -> int:
        """The request's priority; a header counts if a trusted proxy sent it."""
        if self.key.startswith(HEADER) and not trusted:
            return 0
        return self.values.get(request.get(self.key) or "", 0)
