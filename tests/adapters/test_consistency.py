"""The token of a database in requests and answers, in both kinds of applications."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpx
import pytest

from escala.adapters import AsgiConsistency, WsgiConsistency
from escala.databases.replicas.consistency import scope
from escala.databases.replicas.database import Database
from escala.databases.replicas.seen import Seen
from escala.errors import ConfigError, NoPrimary


class Known(Database):
    """A database that no one has to ask how far it is."""

    gone = False

    def token(self, seen: Seen) -> str:
        if self.gone:
            raise NoPrimary("gone")
        return f"{seen.lsn + 1}"

    async def atoken(self, seen: Seen) -> str:
        return self.token(seen)

    def join(self, seen: Seen, token: str | None) -> None:
        seen.at_least(int(token or 0), 1)


Ask = Callable[..., httpx.Response]


@pytest.fixture
def database() -> Iterator[Known]:
    database = Known("postgresql://app@h1/shop", secret="of sixteen bytes")
    yield database
    database.close()


@pytest.fixture(params=["asgi", "wsgi"])
def ask(request: pytest.FixtureRequest, database: Database) -> Ask:
    def seen() -> bytes:
        found = scope(id(database))
        return str(found and found.lsn).encode()

    async def asgi(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": seen()})

    def wsgi(_environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("a", "b")])
        return [seen()]

    def asked(method: str, url: str = "http://shop", **fields: str) -> httpx.Response:
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        if request.param == "wsgi":
            served = httpx.WSGITransport(WsgiConsistency(wsgi, database))
            with httpx.Client(transport=served) as client:
                return client.request(method, url, headers=headers)

        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(AsgiConsistency(asgi, database))
            async with httpx.AsyncClient(transport=transport) as client:
                return await client.request(method, url, headers=headers)

        return asyncio.run(once())

    return asked


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_what_only_reads_sets_nothing(ask: Ask, method: str) -> None:
    answer = ask(method)
    assert answer.headers["a"] == "b"
    assert not {"set-cookie", "escala-seen"} & answer.headers.keys()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_what_may_write_sets_the_token(ask: Ask, method: str) -> None:
    answer = ask(method, escala_seen="41")
    assert (answer.headers["a"], answer.headers["escala-seen"]) == ("b", "42")
    cookie = "escala_seen=42; Max-Age=300; Path=/; HttpOnly; SameSite=Lax"
    assert answer.headers["set-cookie"] == cookie


def test_an_answer_is_given_also_when_the_primary_is_gone(ask: Ask, database: Known) -> None:
    database.gone = True
    answer = ask("POST", escala_seen="41")
    assert (answer.status_code, answer.headers["a"]) == (200, "b")
    assert not {"set-cookie", "escala-seen"} & answer.headers.keys()


def test_a_cookie_of_an_encrypted_connection_stays_there(ask: Ask) -> None:
    assert ask("POST", "https://shop").headers["set-cookie"].endswith("; Secure")


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        pytest.param({}, "0", id="neither"),
        pytest.param({"cookie": "a=b; escala_seen=41"}, "41", id="cookie"),
        pytest.param({"escala_seen": "42"}, "42", id="field"),
        pytest.param({"escala_seen": "42", "cookie": "escala_seen=41"}, "42", id="both"),
        pytest.param({"cookie": "a;b=\x01"}, "0", id="no-cookie"),
    ],
)
def test_the_token_is_what_was_seen(ask: Ask, fields: dict[str, str], seen: str) -> None:
    assert ask("GET", **fields).text == seen


def test_a_database_without_a_secret_is_refused() -> None:
    database = Database("postgresql://app@h1/shop")
    made: list[Any] = [AsgiConsistency, WsgiConsistency]
    for middleware in made:
        with pytest.raises(ConfigError, match="secret: expected one"):
            middleware(None, database)


def test_other_events_pass(database: Database) -> None:
    passed: list[str] = []

    async def app(scope: Any, _receive: object, _send: object) -> None:
        passed.append(scope["type"])

    asyncio.run(AsgiConsistency(app, database)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert passed == ["lifespan"]
