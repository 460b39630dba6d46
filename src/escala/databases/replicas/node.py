"""One server of a database, with the engines that reach it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, create_engine

from escala.databases.replicas.database_url import NodeUrl
from escala.kernel.at_fork import begin_anew, free

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

Prepare = Callable[["Node", Engine, bool], None]


class Node:
    """Engines are made when they are first used: for writes and for reads, in each colour.

    Those for reads open their connections with `default_transaction_read_only=on`, so that a
    server refuses what should never have come to it; that costs no round trip. `prepare` is
    called with each new engine (the sync one under an async engine) and whether it is for writes.
    """

    def __init__(self, url: NodeUrl, options: Mapping[str, Any], prepare: Prepare) -> None:
        self.name, self.url = url.name, url
        self._options, self._prepare = dict(options), prepare
        self._connect_args = self._options.pop("connect_args", {})
        self._sync: dict[bool, Engine] = {}
        self._async: dict[bool, AsyncEngine] = {}
        self._lock = threading.RLock()
        begin_anew(self, Node._forked)

    def _forked(self) -> None:
        """A child has the same sockets: they are its parent's."""
        free(self._lock)
        for engine in self._all():
            engine.dispose(close=False)

    def bind(self, *, writes: bool, asynchronous: bool) -> Engine:
        """What a session is bound to."""
        if asynchronous:
            return self.async_engine(writes=writes).sync_engine
        return self._sync.get(writes) or self.engine(writes=writes)

    def engine(self, *, writes: bool = True) -> Engine:
        """The engine of the sync colour."""
        with self._lock:
            made = self._sync.get(writes)
            if made is None:
                url, arguments = self.url.sync(read_only=not writes)
                made = create_engine(url, **self._said(arguments))
                self._prepare(self, made, writes)
                self._sync[writes] = made
            return made

    def async_engine(self, *, writes: bool = True) -> AsyncEngine:
        """The engine of the async colour."""
        made = self._async.get(writes)
        if made is not None:
            return made
        from sqlalchemy.ext.asyncio import create_async_engine

        with self._lock:
            made = self._async.get(writes)
            if made is None:
                url, arguments = self.url.asynchronous(read_only=not writes)
                made = create_async_engine(url, **self._said(arguments))
                self._prepare(self, made.sync_engine, writes)
                self._async[writes] = made
            return made

    def close(self) -> None:
        """Close the connections of the sync colour that no one uses, and let go of the others."""
        with self._lock:
            for engine in self._sync.values():
                engine.dispose()
            for engine_ in self._async.values():
                engine_.sync_engine.dispose(close=False)
            self._sync, self._async = {}, {}

    async def aclose(self) -> None:
        """Close the connections of both colours that no one uses."""
        with self._lock:
            engines = list(self._async.values())
            self._async = {}
        for engine in engines:
            await engine.dispose()
        self.close()

    def _said(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        settings: dict[str, object] = {
            name: {**value, **arguments[name]}
            for name, value in self._connect_args.items()
            if isinstance(value, dict) and name in arguments
        }
        if "options" in arguments and (own := self._connect_args.get("options")):
            settings["options"] = f"{own} {arguments['options']}"
        return {**self._options, "connect_args": {**self._connect_args, **arguments, **settings}}

    def _all(self) -> list[Engine]:
        return [*self._sync.values(), *(each.sync_engine for each in self._async.values())]
