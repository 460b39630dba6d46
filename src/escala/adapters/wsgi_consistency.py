"""Read your own writes from one request to the next, in a WSGI application."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from escala.adapters.seen_fields import HEADER, SAFE, cookie_in, set_cookie
from escala.adapters.wsgi import App, Environ, StartResponse
from escala.errors import Unavailable

if TYPE_CHECKING:
    from escala.databases.replicas.database import Database


class WsgiConsistency:
    """As `AsgiConsistency`: `WsgiConsistency(app, db)`.

    What an application does while its answer is read piece by piece is outside of the block.
    """

    def __init__(self, app: App, database: Database) -> None:
        database.consistency("")  # refused without a secret
        self.app, self._database = app, database

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        field = "HTTP_" + HEADER.upper().replace("-", "_")
        token = environ.get(field) or cookie_in(environ.get("HTTP_COOKIE", ""))
        safe = environ["REQUEST_METHOD"] in SAFE
        secure = environ.get("wsgi.url_scheme") == "https"
        with self._database.consistency(token) as seen:

            def tell(status: str, fields: list[tuple[str, str]], *rest: Any) -> Callable[..., Any]:  # noqa: ANN401
                if not safe:
                    with suppress(Unavailable):
                        told = seen.token()
                        more = [(HEADER, told), ("Set-Cookie", set_cookie(told, secure=secure))]
                        fields = [*fields, *more]
                return start_response(status, fields, *rest)

            return self.app(environ, tell)
