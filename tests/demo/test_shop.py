from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from shop.app import Shop
from shop.database import Busy, Database
from shop.seed import seed

from escala.cli.demo import shop_urls
from escala.kernel.runtime import colours
from escala.testing import VirtualRuntime

Call = Callable[..., "Reply"]


class Reply:
    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self.status: int = messages[0]["status"]
        self.headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        self.body: bytes = messages[1]["body"]

    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "shop.sqlite3"
    seed(path, products=300)
    return path


@pytest.fixture
def shop(filled: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setenv("SHOP_FAULTS", "1")
    with contextlib.closing(Shop(filled)) as opened:
        yield opened


@pytest.fixture
def database(filled: Path) -> Iterator[Database]:
    with contextlib.closing(Database(filled)) as opened:
        yield opened


def ask(
    shop: Shop, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> Reply:
    path, _, query = path.partition("?")
    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": raw,
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(shop(scope, receive, send))
    return Reply(sent)


@pytest.mark.parametrize("path", ["/api/product/7", "/api/category/3"])
def test_a_page_is_revalidated_for_nothing(shop: Shop, path: str) -> None:
    page = ask(shop, "GET", path)
    assert page.status == 200
    assert page.headers["cache-control"].startswith("public, max-age=")
    assert int(page.headers["content-length"]) == len(page.body)
    same = ask(shop, "GET", path, headers={"if-none-match": f'W/{page.headers["etag"]}, "x"'})
    assert (same.status, same.body) == (304, b"")
    assert same.headers["etag"] == page.headers["etag"]
    assert "content-length" not in same.headers


def test_head_has_the_headers_and_no_body(shop: Shop) -> None:
    head, page = ask(shop, "HEAD", "/api/product/7"), ask(shop, "GET", "/api/product/7")
    assert (head.headers, head.body) == (page.headers, b"")


def test_search_finds_and_needs_words(shop: Shop) -> None:
    assert ask(shop, "GET", "/api/search?q=lamp").json()["found"] > 0
    assert ask(shop, "GET", "/api/search?q=xyzzy").json()["found"] == 0
    assert ask(shop, "GET", "/api/search").status == 400
    assert ask(shop, "GET", "/api/search?q=%27%3B--").status == 400


def test_stock_is_never_cached(shop: Shop) -> None:
    assert ask(shop, "GET", "/api/stock/9").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/product/999999", 404),
        ("GET", "/api/category/999999", 404),
        ("GET", "/api/stock/999999", 404),
        ("GET", "/api/product/nine", 404),
        ("GET", "/", 404),
        ("DELETE", "/api/product/7", 405),
        ("GET", "/api/orders", 405),
        ("OPTIONS", "/api/product/7", 204),
        ("GET", "/health", 200),
    ],
    ids=str,
)
def test_other_answers(shop: Shop, method: str, path: str, status: int) -> None:
    assert ask(shop, method, path).status == status


def order(shop: Shop, key: str, product: int, quantity: int = 1) -> Reply:
    body = json.dumps({"product": product, "quantity": quantity}).encode()
    return ask(shop, "POST", "/api/orders", body, {"idempotency-key": key})


def stock(shop: Shop, product: int) -> int:
    left: int = ask(shop, "GET", f"/api/stock/{product}").json()["stock"]
    return left


def test_a_repeated_order_is_one_order(shop: Shop) -> None:
    before = stock(shop, 11)
    first, again = order(shop, "same", 11, 2), order(shop, "same", 11, 2)
    assert (first.status, again.status) == (201, 200)
    assert again.json() == {**first.json(), "again": True}
    assert stock(shop, 11) == before - 2
    assert order(shop, "same", 11, 3).status == 422


def test_sold_out_changes_nothing(shop: Shop) -> None:
    while stock(shop, 12) >= 100:
        assert order(shop, f"key-{stock(shop, 12)}", 12, 100).status == 201
    left = stock(shop, 12)
    assert order(shop, "too-many", 12, left + 1).status == 409
    assert stock(shop, 12) == left


@pytest.mark.parametrize(
    ("key", "body", "status"),
    [
        ("", b'{"product": 1}', 400),
        ("k" * 81, b'{"product": 1}', 400),
        ("k", b"", 400),
        ("k", b'{"product": "one"}', 400),
        ("k", b'{"product": 1, "quantity": 0}', 400),
        ("k", b'{"product": 1, "price": 0}', 400),
        ("k", b'{"product": 999999}', 404),
        ("k", b" " * 5000, 413),
    ],
    ids=["no-key", "long-key", "no-body", "text", "none", "unknown-field", "unknown", "big"],
)
def test_wrong_orders_say_what_is_wrong(shop: Shop, key: str, body: bytes, status: int) -> None:
    reply = ask(shop, "POST", "/api/orders", body, {"idempotency-key": key})
    assert reply.status == status
    assert reply.json()["error"]


def test_faults_are_switched_on_and_off(shop: Shop) -> None:
    assert ask(shop, "POST", "/faults", b'{"errors": 1}').status == 200
    assert ask(shop, "GET", "/api/stock/1").status == 500
    assert ask(shop, "GET", "/health").status == 500
    assert ask(shop, "POST", "/faults", b"{}").status == 200
    assert ask(shop, "GET", "/health").status == 200
    assert ask(shop, "POST", "/faults", b'{"fire": 1}').status == 400


def test_without_the_switch_there_are_no_faults(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHOP_FAULTS", raising=False)
    with contextlib.closing(Shop(filled)) as shop:
        assert ask(shop, "POST", "/faults", b'{"errors": 1}').status == 405


def test_a_failing_order_leaves_no_trace(database: Database) -> None:
    def work(db: sqlite3.Connection) -> None:
        db.execute("UPDATE product SET stock = 0 WHERE id = 20")
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        database.write(work)
    left = database.connection.execute("SELECT stock FROM product WHERE id = 20").fetchone()
    assert left["stock"] > 0


def test_a_locked_database_is_tried_again(filled: Path, database: Database) -> None:
    other = sqlite3.connect(filled, isolation_level=None)

    async def while_locked() -> float:
        began = colours.loop.now()
        with pytest.raises(Busy, match="locked") as caught:
            database.write(lambda db: db.execute("SELECT 1").fetchone())
        assert caught.value.__notes__
        return colours.loop.now() - began

    other.execute("BEGIN IMMEDIATE")
    try:
        assert VirtualRuntime(seed=1).run(while_locked()) > 0
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert database.write(lambda db: db.execute("SELECT 1").fetchone()[0]) == 1


def test_a_mistyped_database_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        _ = Database(tmp_path / "none.sqlite3").connection


def test_the_shop_has_every_page_that_traffic_asks_for(shop: Shop) -> None:
    for rank in range(1, 33):
        _, path = shop_urls.page(rank)
        assert ask(shop, "GET", path).status == 200
