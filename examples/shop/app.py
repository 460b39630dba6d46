"""The shop as a plain ASGI application: find the handler, run it beside the loop, answer."""

from __future__ import annotations

import asyncio
import contextvars
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs

from escala import Bulkhead, Stack, Timeout
from escala.errors import DeadlineExceeded, Rejected, StoreUnavailable
from shop import catalogue, orders, prices
from shop.answer import Answer, Send, json_answer, problem, unless_known
from shop.database import Busy, Database
from shop.faults import Saboteur
from shop.pages import Pages
from shop.views import Views, count_at_once

T = TypeVar("T")

Receive = Callable[[], Awaitable[dict[str, Any]]]
_NUMBERED = re.compile(r"/api/(product|category|stock)/(\d{1,9})")
_MOST_BODY = 4096
_OK = 200
THREADS = 2


class Shop:
    """Blocking SQLite work runs in two threads; the bulkhead bounds who may wait for them."""

    def __init__(self, path: Path, instance: str = "shop", *, plain: bool = False) -> None:
        self._database = Database(path)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="shop")
        self._guard = Stack(Timeout(3.0), Bulkhead(slots=THREADS, queue=60))
        self._saboteur = Saboteur()
        self._pages = Pages(self._load, None if plain else Path(f"{path}-cache"))
        journal = Path(f"{path}-views-{instance}")
        self._views = None if plain else Views(self._database, instance, journal)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request (or the server's start and stop)."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            answer = await self._answer(scope, receive)
            await answer.send(send, with_body=scope["method"] != "HEAD")

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        if self._views is not None:
            await self._views.open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        # Before the answer: once it has that, the server ends the process.
        await asyncio.to_thread(self.close)
        await send({"type": "lifespan.shutdown.complete"})

    def close(self) -> None:
        """Let the threads finish, save the views, and close the database."""
        self._threads.shutdown()
        if self._views is not None:
            self._views.close()
        self._pages.close()
        self._database.close()

    async def _answer(self, scope: dict[str, Any], receive: Receive) -> Answer:
        path, method = scope["path"], scope["method"]
        if path == "/faults" and self._saboteur.armed and method == "POST":
            return self._saboteur.set(await _body(receive) or b"")
        if path == "/stats":
            return json_answer({"asked": self._pages.asked, "read": self._pages.read})
        if (fault := await self._saboteur.strike()) is not None:
            return fault
        if path == "/health":
            # Answered here and now: a busy shop is not a dead one, and a health check that
            # queues behind customers would take busy instances away one after the other.
            return json_answer({"ok": True})
        try:
            return await self._handle(scope, receive)
        except (Rejected, DeadlineExceeded, Busy, StoreUnavailable) as full:
            return problem(503, str(full), retry_after="1")

    async def _handle(self, scope: dict[str, Any], receive: Receive) -> Answer:
        path, method = scope["path"], scope["method"]
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        numbered = _NUMBERED.fullmatch(path)
        if path == "/api/orders":
            return await self._order(method, headers.get(b"idempotency-key"), receive)
        if method == "PUT" and numbered is not None and numbered[1] == "product":
            return await self._change_price(int(numbered[2]), await _body(receive) or b"")
        if method not in ("GET", "HEAD"):
            allow = "GET, HEAD"
            return Answer(status=204 if method == "OPTIONS" else 405, headers={"allow": allow})
        if numbered is not None and numbered[1] == "stock":
            return await self._stock(int(numbered[2]), viewed=method == "GET")
        page = await self._page(path, scope["query_string"].decode("latin-1"))
        return unless_known(page, headers.get(b"if-none-match"))

    async def _order(self, method: str, key: str | None, receive: Receive) -> Answer:
        if method != "POST":
            return problem(405, "orders are placed with POST", allow="POST")
        if (body := await _body(receive)) is None:
            return problem(413, f"an order has at most {_MOST_BODY} bytes")
        return await self._beside_the_loop(orders.place, key, body)

    async def _page(self, path: str, query: str) -> Answer:
        if path == "/api/search":
            return await self._pages.get("search", parse_qs(query).get("q", [""])[0])
        if (numbered := _NUMBERED.fullmatch(path)) is None:
            return problem(404, "there is no such page")
        return await self._pages.get(numbered[1], str(int(numbered[2])))

    async def _load(self, kind: str, what: str) -> Answer:
        if kind == "search":
            return await self._beside_the_loop(catalogue.search, what)
        page = catalogue.product if kind == "product" else catalogue.category
        return await self._beside_the_loop(page, int(what))

    async def _change_price(self, number: int, body: bytes) -> Answer:
        answer = await self._beside_the_loop(prices.change, number, body)
        # Also when nothing changed: whoever made the change may have died before this line.
        if not await self._pages.forget(number):
            return problem(503, "the cache could not be told of the new price", retry_after="1")
        return answer

    async def _stock(self, number: int, *, viewed: bool) -> Answer:
        """A page asks for the stock whenever it is shown, so this is where views are counted."""
        answer = await self._beside_the_loop(catalogue.stock, number)
        if viewed and answer.status == _OK:
            if self._views is not None:
                await self._views.count(number)
            else:
                await self._beside_the_loop(count_at_once, number)
        return answer

    async def _beside_the_loop(self, handler: Callable[..., T], *rest: object) -> T:
        async def run() -> T:
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
