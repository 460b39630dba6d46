"""What travels with a call without being passed: its deadline and the request it serves."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar, Token

deadline_variable: ContextVar[float] = ContextVar("escala_deadline", default=math.inf)


class Request:
    """What policies may know of the call they surround; every field is optional.

    `key` groups calls (rate limits, caches, hashing), `idempotent` says whether repeating the
    call is harmless (`None`: unknown), a greater `priority` is shed later, `tenant` names who
    pays. Policies leave remarks in `notes` (who was asked, how often, cache decision), which
    is what `--explain` prints.
    """

    key: str | None = None
    idempotent: bool | None = None
    priority = 0
    tenant: str | None = None

    def __init__(
        self,
        *,
        key: str | None = None,
        idempotent: bool | None = None,
        priority: int = 0,
        tenant: str | None = None,
    ) -> None:
        self.key, self.idempotent, self.priority, self.tenant = key, idempotent, priority, tenant
        self.notes: dict[str, str] = {}

    def get(self, name: str) -> str | None:
        """The value policies group calls by, such as "key" or "tenant"; HTTP knows more names."""
        if name == "key":
            return self.key
        if name == "tenant":
            return self.tenant
        return None

    @property
    def repeatable(self) -> bool:
        """Whether a second try can still send the same request (a streamed body cannot)."""
        return True


current: ContextVar[Request | None] = ContextVar("escala_request", default=None)


def current_request() -> Request | None:
    """The request that this thread or task is serving, if someone said so."""
    return current.get()


@contextmanager
def serving(request: Request) -> Generator[Request, None, None]:
    """Tell the policies inside the block which request they work for."""
    token = current.set(request)
    try:
        yield request
    finally:
        current.reset(token)


def deadline() -> float:
    """When the current call has to be over, in the runtime's monotonic seconds; inf if never."""
    return deadline_variable.get()


def remaining(now: float) -> float:
    """Seconds left until `deadline()`; leaves (sockets, sleeps, stores) wait no longer."""
    return deadline_variable.get() - now


def shorten(until: float) -> Token[float] | None:
    """From here on, in this thread or task, no later than `until`; undone by `restore`."""
    return deadline_variable.set(until) if until < deadline_variable.get() else None


def restore(before: Token[float] | None) -> None:
    """Put back the deadline that `shorten` found."""
    if before is None:
        return
    try:
        deadline_variable.reset(before)
    except ValueError:
        # Set in another context (a fixture, a generator that someone else closes), which took
        # its deadline with it: there is nothing to put back in this one.
        return
