"""What a handler gives back, and the one place where it becomes ASGI messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import msgspec

Send = Callable[[dict[str, Any]], Awaitable[None]]

# Caches may keep a page ten seconds, show an old one while they fetch the new one, and show an
# old one rather than an error: a catalogue changes seldom, and a stale page sells more than none.
CATALOGUE = "public, max-age=10, stale-while-revalidate=10, stale-if-error=60"
SEARCH = "public, max-age=5, stale-while-revalidate=5, stale-if-error=60"
NEVER = "no-store"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A status, a body and headers; the body is JSON. `shows`: the products whose price it has."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    shows: frozenset[int] = frozenset()

    async def send(self, send: Send, *, with_body: bool) -> None:
        """Send it; a HEAD request gets the same headers and no body."""
        headers = {"content-type": "application/json", "cache-control": NEVER, **self.headers}
        if self.status not in (204, 304):
            headers["content-length"] = str(len(self.body))
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        await send({"type": "http.response.body", "body": self.body if with_body else b""})


def json_answer(content: object, *, status: int = 200, **headers: str) -> Answer:
    """An answer of plain data; `cache_control="..."` becomes the header of that name."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status=status, body=msgspec.json.encode(content), headers=named)


def problem(status: int, reason: str, **headers: str) -> Answer:
    """An error that says what is wrong."""
    return json_answer({"error": reason}, status=status, **headers)


def page(content: object, cache: str, shows: Iterable[int]) -> Answer:
    """A page of the catalogue, with an ETag by which clients and caches know it again."""
    body = msgspec.json.encode(content)
    headers = {"cache-control": cache, "etag": f'"{blake2b(body, digest_size=8).hexdigest()}"'}
    return Answer(body=body, headers=headers, shows=frozenset(shows))


def unless_known(answer: Answer, known: str | None) -> Answer:
    """304 when the client (or the cache in front) already has this version: nothing to send."""
    etag = answer.headers.get("etag")
    tags = {tag.strip().removeprefix("W/") for tag in (known or "").split(",")}
    if etag is None or (etag not in tags and "*" not in tags):
        return answer
    return Answer(status=304, headers=answer.headers)
