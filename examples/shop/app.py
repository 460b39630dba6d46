"""The shop as a plain ASGI application: find the handler, run it beside the loop, answer."""

from __future__ import annotations

import asyncio
import contextvars
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from escala import Bulkhead, Stack, Timeout
from escala.errors import DeadlineExceeded, Rejected
from shop import catalogue, orders
from shop.answer import Answer, Send, json_answer, problem
from shop.database import Busy, Database
from shop.faults import Saboteur

Receive = Callable[[], Awaitable[dict[str, Any]]]
_NUMBERED = re.compile(r"/api/(product|category|stock)/(\d{1,9})")
_MOST_BODY = 4096
THREADS = 2


class Shop:
    """Blocking SQLite work runs in two threads; the bulkhead bounds who may wait for them."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="shop")
        self._guard = Stack(Timeout(3.0), Bulkhead(slots=THREADS, queue=60))
        self._saboteur = Saboteur()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request (or the server's start and stop)."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            self.close()
        elif scope["type"] == "http":
            answer = await self._answer(scope, receive)
            await answer.send(send, with_body=scope["method"] != "HEAD")

    def close(self) -> None:
        """Let the threads finish and close the database."""
        self._threads.shutdown()
        self._database.close()

    async def _answer(self, scope: dict[str, Any], receive: Receive) -> Answer:
        path, method = scope["path"], scope["method"]
        if path == "/faults" and self._saboteur.armed and method == "POST":
            return self._saboteur.set(await _body(receive) or b"")
        if (fault := await self._saboteur.strike()) is not None:
            return fault
        if path == "/health":
            # Answered here and now: a busy shop is not a dead one, and a health check that
            # queues behind customers would take busy instances away one after the other.
            return json_answer({"ok": True})
        try:
            return await self._handle(scope, receive)
        except Rejected as full:
            return problem(503, str(full), retry_after="1")
        except (DeadlineExceeded, Busy) as late:
            return problem(503, str(late), retry_after="1")

    async def _handle(self, scope: dict[str, Any], receive: Receive) -> Answer:
        path, method = scope["path"], scope["method"]
        headers = dict(scope["headers"])
        if path == "/api/orders":
            if method != "POST":
                return problem(405, "orders are placed with POST", allow="POST")
            if (body := await _body(receive)) is None:
                return problem(413, f"an order has at most {_MOST_BODY} bytes")
            key = headers.get(b"idempotency-key", b"").decode("latin-1")
            return await self._beside_the_loop(orders.place, key, body)
        if method not in ("GET", "HEAD"):
            allow = "GET, HEAD"
            return Answer(status=204 if method == "OPTIONS" else 405, headers={"allow": allow})
        known = headers.get(b"if-none-match", b"").decode("latin-1") or None
        return await self._page(path, scope["query_string"], known)

    async def _page(self, path: str, query: bytes, known: str | None) -> Answer:
        numbered = _NUMBERED.fullmatch(path)
        if path == "/api/search":
            words = parse_qs(query.decode("latin-1")).get("q", [""])[0]
            return await self._beside_the_loop(catalogue.search, words)
        if numbered is None:
            return problem(404, "there is no such page")
        number = int(numbered[2])
        if numbered[1] == "stock":
            return await self._beside_the_loop(catalogue.stock, number)
        page = catalogue.product if numbered[1] == "product" else catalogue.category
        return await self._beside_the_loop(page, number, known)

    async def _beside_the_loop(self, handler: Callable[..., Answer], *rest: object) -> Answer:
        async def run() -> Answer:
            # The copied context carries the deadline into the thread, where the retry obeys it.
            context = contextvars.copy_context()
            work = self._threads.submit(context.run, handler, self._database, *rest)
            return await asyncio.wrap_future(work)

        return await self._guard.acall(run)


async def _body(receive: Receive) -> bytes | None:
    """The whole body, or None when it is too long for an order."""
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > _MOST_BODY:
            return None
    return body


async def _live(receive: Receive, send: Send) -> None:
    for stage in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{stage}.complete"})
