from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from shop.app import Shop
from shop.database import Busy, Database
from shop.seed import seed
from shop.views import Views
from tests.demo.conftest import EXAMPLES

from escala.caching import Write
from escala.cli.demo import shop_urls
from escala.cli.demo.prices import cents_on
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
    with closing(Shop(filled)) as opened:
        yield opened


@pytest.fixture
def database(filled: Path) -> Iterator[Database]:
    with closing(Database(filled)) as opened:
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

    async def served() -> None:
        await shop(scope, receive, send)
        # What was loaded is stored behind the answer's back.
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))

    asyncio.run(served())
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
    with closing(Shop(filled)) as shop:
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


@pytest.fixture
def others(filled: Path) -> Iterator[list[Shop]]:
    """Two more instances of the same shop."""
    with closing(Shop(filled, "2")) as second, closing(Shop(filled, "3")) as third:
        yield [second, third]


def stats(shop: Shop) -> tuple[int, int]:
    found = ask(shop, "GET", "/stats").json()
    return found["asked"], found["read"]


def change(shop: Shop, number: int, cents: int, version: int) -> Reply:
    body = json.dumps({"cents": cents, "version": version}).encode()
    return ask(shop, "PUT", f"/api/product/{number}", body)


def keeps(shop: Shop, path: str) -> bytes:
    """A page that is kept from now on: what is loaded while it begins to listen is not."""
    for _ in range(500):
        _, before = stats(shop)
        page = ask(shop, "GET", path).body
        if stats(shop)[1] == before:
            return page
    raise AssertionError("it keeps nothing")


def test_a_page_is_read_once_for_all_instances(shop: Shop, others: list[Shop]) -> None:
    path = f"/api/search?q={uuid.uuid4().hex}"  # what no other test has asked for
    page = keeps(shop, path)
    asked, read = stats(shop)
    assert read > 0
    assert {ask(each, "GET", path).body for each in (shop, *others)} == {page}
    assert stats(shop) == (asked + 1, read)
    assert [stats(each) for each in others] == [(1, 0), (1, 0)]


def test_no_instance_shows_an_old_price_on_any_page(shop: Shop, others: list[Shop]) -> None:
    own = ask(others[0], "GET", "/api/product/40")
    cents = cents_on(own.body)
    assert cents is not None
    # Its category, a search, and the products that it is shown as similar to.
    paths = ["/api/category/41", f"/api/search?q={own.json()['name'].replace(' ', '+')}"]
    paths += [f"/api/product/{number}" for number in range(1, 301) if number != 40]

    def shown(instance: Shop) -> dict[str, int]:
        pages = {path: ask(instance, "GET", path).body for path in paths}
        found = {path: cents_on(page, "/api/product/40") for path, page in pages.items()}
        return {path: cents for path, cents in found.items() if cents is not None}

    before = shown(shop)
    assert len(before) > 10
    assert set(before.values()) == {cents}
    assert change(others[1], 40, cents + 1, 2).status == 200
    for each in (*others, shop):
        assert cents_on(ask(each, "GET", "/api/product/40").body) == cents + 1
        assert shown(each) == dict.fromkeys(before, cents + 1)


def test_other_pages_stay_after_a_change(shop: Shop) -> None:
    page = keeps(shop, "/api/category/44")
    assert cents_on(page, "/api/product/41") is None
    _, read = stats(shop)
    assert change(shop, 41, 500, 2).status == 200
    assert ask(shop, "GET", "/api/category/44").body == page
    assert stats(shop)[1] == read


def test_a_changed_page_has_another_etag(shop: Shop) -> None:
    old = ask(shop, "GET", "/api/product/42").headers["etag"]
    change(shop, 42, 123, 2)
    again = ask(shop, "GET", "/api/product/42", headers={"if-none-match": old})
    assert again.status == 200
    assert again.headers["etag"] != old


def test_a_change_that_comes_late_or_twice_undoes_nothing(shop: Shop) -> None:
    assert [change(shop, 43, 900, 3).status for _ in range(2)] == [200, 200]
    assert change(shop, 43, 800, 2).status == 409
    assert change(shop, 43, 800, 3).status == 409
    assert b"<b>9.00</b>" in ask(shop, "GET", "/api/product/43").body


@pytest.mark.parametrize(
    ("number", "body", "status"),
    [
        (999999, b'{"cents": 1, "version": 2}', 404),
        (44, b'{"cents": 0, "version": 2}', 400),
        (44, b'{"cents": 1}', 400),
        (44, b"", 400),
    ],
    ids=["unknown", "free", "no-version", "no-body"],
)
def test_wrong_prices_say_what_is_wrong(shop: Shop, number: int, body: bytes, status: int) -> None:
    reply = ask(shop, "PUT", f"/api/product/{number}", body)
    assert reply.status == status
    assert reply.json()["error"]


def test_only_products_have_a_price_to_change(shop: Shop) -> None:
    body = b'{"cents": 1, "version": 2}'
    assert ask(shop, "PUT", "/api/category/1", body).status == 405


def test_a_page_that_is_not_there_is_not_kept(shop: Shop) -> None:
    assert [ask(shop, "GET", "/api/product/888888").status for _ in range(2)] == [404, 404]
    assert stats(shop) == (2, 2)


def test_a_plain_shop_reads_every_page_and_counts_every_view(filled: Path) -> None:
    with closing(Shop(filled, "plain", plain=True)) as shop:
        for _ in range(3):
            ask(shop, "GET", "/api/product/45")
            ask(shop, "GET", "/api/stock/45")
        assert stats(shop) == (3, 3)
        assert change(shop, 45, 500, 2).status == 200
        assert counted(filled, 45) == 3
        assert saves(filled, "plain") == 3


def counted(path: Path, number: int) -> int:
    with closing(sqlite3.connect(path)) as db:
        query = "SELECT coalesce(sum(times), 0) FROM view WHERE product = ?"
        times: int = db.execute(query, (number,)).fetchone()[0]
        return times


def saves(path: Path, instance: str) -> int:
    with closing(sqlite3.connect(path)) as db:
        row = db.execute("SELECT saves FROM view_saves WHERE instance = ?", (instance,)).fetchone()
        return row[0] if row else 0


def test_views_are_saved_together_when_the_shop_closes(filled: Path) -> None:
    with closing(Shop(filled, "views")) as shop:
        for number in (50, 50, 51, 50):
            assert ask(shop, "GET", f"/api/stock/{number}").status == 200
        assert ask(shop, "HEAD", "/api/stock/50").status == 200
        assert ask(shop, "GET", "/api/stock/999999").status == 404
    assert (counted(filled, 50), counted(filled, 51), counted(filled, 999999)) == (3, 1, 0)
    assert saves(filled, "views") == 1


def test_the_server_hears_of_the_end_when_all_is_saved(filled: Path) -> None:
    said: list[tuple[str, int]] = []

    async def live() -> None:
        shop = Shop(filled, "live")
        for _ in range(2):
            await shop(
                {
                    "type": "http",
                    "method": "GET",
                    "path": "/api/stock/52",
                    "query_string": b"",
                    "headers": [],
                },
                receive,
                ignore,
            )
        await shop({"type": "lifespan"}, receive, send)

    async def receive() -> dict[str, Any]:
        return {}

    async def ignore(message: dict[str, Any]) -> None:
        pass

    async def send(message: dict[str, Any]) -> None:
        said.append((message["type"], counted(filled, 52)))

    asyncio.run(live())
    assert said == [("lifespan.startup.complete", 0), ("lifespan.shutdown.complete", 2)]


def test_a_batch_that_comes_again_is_counted_once(database: Database, filled: Path) -> None:
    with closing(Views(database, "again", filled.with_name("again"))) as views:
        for batch in (
            [Write("60", 2, 5), Write("61", 1, 6)],
            [Write("60", 2, 5), Write("61", 1, 6)],  # a crash before it was noted as saved
            [Write("60", 3, 7)],
        ):
            views._save(batch)
    assert (counted(filled, 60), counted(filled, 61)) == (5, 1)


def test_what_a_killed_instance_left_is_saved_by_the_next(filled: Path) -> None:
    code = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from shop.database import Database\n"
        "from shop.views import Views\n"
        "async def count():\n"
        "    views = Views(Database(Path(sys.argv[1])), 'killed', Path(sys.argv[2]))\n"
        "    for _ in range(3):\n"
        "        await views.count(62)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(count())\n"
    )
    journal = filled.with_name("killed")
    command = [sys.executable, "-c", code, str(filled), str(journal)]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES)}
    done = subprocess.run(command, env=environment, timeout=30, check=False)
    assert done.returncode == -9
    assert counted(filled, 62) == 0
    with closing(Database(filled)) as database:
        views = Views(database, "killed", journal)
        asyncio.run(views.open())
        views.close()
    assert counted(filled, 62) == 3
