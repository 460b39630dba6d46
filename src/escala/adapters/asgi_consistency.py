"""Read your own writes from one request to the next, in an ASGI application."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from escala.adapters.asgi import App, Message, Receive, Scope, Send
from escala.adapters.seen_fields import HEADER, SAFE, cookie_in, set_cookie
from escala.errors import Unavailable

if TYPE_CHECKING:
    from escala.databases.replicas.database import Database


class AsgiConsistency:
    """Whoever has written sees it in the requests that follow: `AsgiConsistency(app, db)`.

    Each request is a block of `db.consistency`. After one whose method may write (all but GET,
    HEAD and OPTIONS) the answer sets the signed cookie `escala_seen`, and the same as the field
    `Escala-Seen`, which a service passes on to the next. The database needs a `secret`. Where the
    primary is gone by then, the answer goes out without: it is no error of the request.
    """

    def __init__(self, app: App, database: Database) -> None:
        database.consistency("")  # refused without a secret
        self.app, self._database = app, database

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        fields = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        token = fields.get(HEADER.lower().encode()) or cookie_in(fields.get(b"cookie", ""))
        safe, secure = scope["method"] in SAFE, scope.get("scheme") == "https"
        with self._database.consistency(token) as seen:

            async def tell(message: Message) -> None:
                if message["type"] == "http.response.start" and not safe:
                    with suppress(Unavailable):
                        told = await seen.atoken()
                        more = [
                            (HEADER.lower().encode(), told.encode()),
                            (b"set-cookie", set_cookie(told, secure=secure).encode()),
                        ]
                        message = {**message, "headers": [*message.get("headers", ()), *more]}
                await send(message)

            await self.app(scope, receive, tell)
