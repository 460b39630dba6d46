from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import cast

import pytest

from escala.cli.demo.http_client import Client, Reply
from escala.cli.demo.outcome import Outcome
from escala.cli.demo.plan import Planned
from escala.cli.demo.prices import Change, Editor, Page, Prices, cents_on, compare
from escala.cli.demo.shop import find_shop
from escala.kernel.runtime import colours
from escala.testing import VirtualRuntime

SEVEN, EIGHT = "/api/product/7", "/api/product/8"


def tile(number: int, price: str) -> str:
    return f'<a href="/api/product/{number}">A thing</a><p>of oak</p><b>{price}</b>'


def test_the_price_is_read_from_the_page() -> None:
    page = json.dumps({"html": f"<h1>A</h1><b>1,234.56</b>{tile(7, '9.99')}"}).encode()
    assert cents_on(page) == 123456
    assert cents_on(page, SEVEN) == 999
    assert cents_on(page, "/api/product/77") is None
    assert cents_on(page, "/api/product/") is None
    assert cents_on(b"") is None


CHANGES = [Change(SEVEN, 101, 1.0), Change(EIGHT, 501, 1.5), Change(SEVEN, 102, 2.0)]


@pytest.mark.parametrize(
    ("cents", "at", "seen", "late", "stale"),
    [
        (100, 0.99, 0, 0, 0),  # before the first change
        (100, 1.0, 1, 1, 0),
        (100, 1.24, 1, 1, 0),
        (100, 1.25, 1, 0, 1),
        (101, 1.0, 1, 0, 0),
        (102, 1.5, 1, 0, 0),  # a change whose answer is on its way is seen early
        (101, 1.99, 1, 0, 0),
        (101, 2.0, 1, 1, 0),
        (100, 2.0, 1, 0, 1),  # it lacks the first change, too
        (101, 2.25, 1, 0, 1),
        (102, 9.0, 1, 0, 0),
    ],
    ids=str,
)
def test_a_page_must_show_what_was_in_force_when_it_was_asked_for(
    cents: int, at: float, seen: int, late: int, stale: int
) -> None:
    found = compare(CHANGES, [Page(SEVEN, cents, at)])
    assert found == Prices(changed=3, seen=seen, late=late, stale=stale)


def test_pages_come_in_any_order_and_add_up() -> None:
    moments = [(102, 3.0), (100, 1.5), (100, 0.5), (101, 2.5), (100, 1.1)]
    pages = [Page(SEVEN, cents, at) for cents, at in moments]
    pages += [Page(EIGHT, 500, 1.4), Page("/api/product/9", 1, 9.0)]
    assert compare(CHANGES, pages) == Prices(changed=3, seen=4, late=1, stale=2)


def page(cents: int | None, at: float, *, late: float = 0.0, status: int = 200) -> Outcome:
    return Outcome(at, 0.01, "GET", "product", status=status, late=late, path=SEVEN, cents=cents)


class Server:
    """A shop as the editor knows it; `old` leaves its category page as it was."""

    def __init__(self, *, old: bool = False, status: int = 200) -> None:
        self.old, self.status = old, status
        self.asked: list[tuple[str, str, bytes]] = []
        self.cents = 250

    async def ask(self, method: str, path: str, body: bytes = b"") -> Reply:
        self.asked.append((method, path, body))
        await colours.loop.sleep(0.001)
        if method == "PUT" and not self.old:
            self.cents = json.loads(body)["cents"]
        html = tile(7, f"{self.cents / 100:.2f}")
        return Reply(self.status, body=json.dumps({"html": html}).encode())


def edited(tmp_path: Path, server: Server, seconds: float) -> Editor:
    database = tmp_path / "shop.sqlite3"
    with sqlite3.connect(database) as db:
        db.executescript((find_shop(None) / "schema.sql").read_text())
        db.execute("INSERT INTO product VALUES (7, 3, 'a', 'b', 250, 1, 7, 10)")
    db.close()
    plan = [
        Planned(0, "", "GET", path, kind, "", b"")
        for kind, path in [("product", SEVEN), ("stock", "/api/stock/7"), ("stock", "/api/stock/7")]
    ]

    async def run() -> Editor:
        client = cast("Client", server)
        start = asyncio.get_running_loop().time() + 1.0
        editor = Editor(database, plan, client, [client], start)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0 + seconds):
                await editor.run()
        return editor

    return VirtualRuntime(seed=1).run(run())


def test_the_editor_raises_a_price_and_looks_at_its_category(tmp_path: Path) -> None:
    server = Server()
    editor = edited(tmp_path, server, 1.2)
    assert [(method, path) for method, path, _ in server.asked] == [
        *[("PUT", SEVEN), ("GET", "/api/category/3")] * 2,
        ("PUT", SEVEN),
    ]
    bodies = [json.loads(body) for method, _, body in server.asked if method == "PUT"]
    assert bodies == [{"cents": 250 + n, "version": 1 + n} for n in (1, 2, 3)]
    assert [change.at for change in editor.changes] == pytest.approx([0.0, 0.5, 1.0], abs=0.01)
    assert editor.found([]) == Prices(changed=3, seen=2)


def test_the_editor_finds_a_shop_that_keeps_old_pages(tmp_path: Path) -> None:
    assert edited(tmp_path, Server(old=True), 1.2).found([]) == Prices(changed=3, seen=2, stale=2)


def test_a_change_that_was_not_confirmed_is_not_in_force(tmp_path: Path) -> None:
    editor = edited(tmp_path, Server(status=503), 1.2)
    assert editor.found([page(1, 9.0)]) == Prices()


def test_pages_of_clients_count_from_when_they_were_sent_for(tmp_path: Path) -> None:
    editor = edited(tmp_path, Server(), 0.2)
    assert [change.cents for change in editor.changes] == [251]
    outcomes = [page(250, 0.2), page(250, 0.2, late=0.1), page(251, 0.4)]
    outcomes += [page(None, 0.4), page(1, 0.4, status=500)]  # these show no price
    assert editor.found(outcomes) == Prices(changed=1, seen=3, late=1, stale=1)
