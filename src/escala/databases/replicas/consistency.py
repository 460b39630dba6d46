"""A floor that holds for every session inside a block, and goes on to others as text."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Self

from escala.databases.replicas.seen import Seen

if TYPE_CHECKING:
    from escala.databases.replicas.database import Database

_scopes: ContextVar[Mapping[int, Seen] | None] = ContextVar("escala_consistency", default=None)


def scope(database: int) -> Seen | None:
    """What holds here for the sessions of this database."""
    scopes = _scopes.get()
    return None if scopes is None else scopes.get(database)


class Consistency:
    """What `Database.consistency` gives: nothing inside reads the past of what was seen before.

    Sessions inside read at least what the token's holder had seen, and what the sessions before
    them in the block have written or read. Blocks may be nested: the inner one knows what the
    outer one has seen, and the other way round.
    """

    def __init__(self, database: Database, token: str | None) -> None:
        self._database, self._token = database, token
        self._seen = Seen()
        self._before: Token[Mapping[int, Seen] | None] | None = None

    def token(self) -> str:
        """What was seen so far as signed text, for a cookie, a header or a message.

        Asks the primary for its position when something was written or read there since the
        monitor has looked at it: one short query. Raises `ConfigError` when the database was
        given no `secret`, and `NoPrimary` when the primary does not answer.
        """
        return self._database.token(self._seen)

    async def atoken(self) -> str:
        """As `token`, in async code."""
        return await self._database.atoken(self._seen)

    def __enter__(self) -> Self:
        """From here on, for this thread or task and the tasks it starts."""
        key = id(self._database)
        outer = scope(key)
        if outer is not None:
            self._seen = outer
        self._database.join(self._seen, self._token)
        self._before = _scopes.set({**(_scopes.get() or {}), key: self._seen})
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """No longer; the sessions that were used inside keep what they know."""
        if self._before is not None:
            _scopes.reset(self._before)
            self._before = None
