"""Which route a request takes: by host, then by the longest path, then by method.

A route's path matches itself and what lies beneath it: `/api` matches `/api` and `/api/x` but
not `/apix`; `/api/` only what lies beneath. The work is one lookup for each distinct length of
path that is configured, whatever the request looks like.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

R = TypeVar("R")

_SLASH = ord("/")


class Entry(NamedTuple, Generic[R]):
    """A route as the router sees it; `host` None: any host, `methods` None: any method."""

    host: str | None
    path: str
    methods: frozenset[str] | None
    route: R


class Miss(NamedTuple):
    """No route: `allow` names the methods that this path does have, if it is there at all."""

    allow: tuple[str, ...]


class Router(Generic[R]):
    """An immutable table; a changed configuration makes a new one."""

    def __init__(self, entries: Iterable[Entry[R]]) -> None:
        self._hosts: dict[bytes | None, _Paths[R]] = {}
        for entry in entries:
            host = None if entry.host is None else entry.host.lower().encode()
            self._hosts.setdefault(host, _Paths()).add(entry)
        self._any = self._hosts.get(None)
        self._only_any = set(self._hosts) <= {None}

    def find(self, method: str, host: bytes, path: bytes) -> R | Miss:
        """The most specific route for a request."""
        allow: list[str] = []
        if not self._only_any:
            name = host.lower()
            paths = self._hosts.get(name) or self._hosts.get(_without_port(name))
            if paths is not None:
                found = paths.find(method, path, allow)
                if found is not None:
                    return found
        if self._any is not None:
            found = self._any.find(method, path, allow)
            if found is not None:
                return found
        return Miss(tuple(sorted(set(allow))))


class _Paths(Generic[R]):
    def __init__(self) -> None:
        self._table: dict[bytes, list[Entry[R]]] = {}
        self._lengths: tuple[int, ...] = ()

    def add(self, entry: Entry[R]) -> None:
        at = self._table.setdefault(entry.path.encode(), [])
        at.append(entry)
        at.sort(key=lambda other: other.methods is None)  # a route with methods comes first
        self._lengths = tuple(sorted({len(path) for path in self._table}, reverse=True))

    def find(self, method: str, path: bytes, allow: list[str]) -> R | None:
        size = len(path)
        for length in self._lengths:
            if length > size:
                continue
            entries = self._table.get(path[:length])
            if entries is None or not (
                length == size or _SLASH in (path[length - 1], path[length])
            ):
                continue
            for entry in entries:
                if entry.methods is None or method in entry.methods:
                    return entry.route
                allow.extend(entry.methods)
        return None


def _without_port(host: bytes) -> bytes:
    name, colon, port = host.rpartition(b":")
    return name if colon and port.isdigit() else host
