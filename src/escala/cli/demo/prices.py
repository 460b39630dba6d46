"""Change prices while the traffic runs, and look for pages that still show the old ones."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec

from escala.cli.demo.http_client import Client
from escala.cli.demo.outcome import Outcome
from escala.cli.demo.plan import Planned
from escala.kernel.runtime import colours

EVERY = 0.5
# A process of the shop learns within 50 ms what another has changed, and until then may answer
# with what it was reading before the change; on a busy machine that takes longer.
HEARD = 0.25
PRODUCTS = 8  # the most popular pages are those that most caches hold
_OK = 200
_PRICE = re.compile(rb"<b>([\d,]+)\.(\d\d)</b>")


class Change(NamedTuple):
    """A price that is in force since `at`, in seconds from the first request; prices only rise."""

    path: str
    cents: int
    at: float


class Page(NamedTuple):
    """The price of a product on a page that was asked for `at`."""

    path: str
    cents: int
    at: float


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """How many prices changed, how many pages were looked at afterwards, how many were wrong."""

    changed: int = 0
    seen: int = 0
    late: int = 0  # asked for so soon after the change that it may not have been heard of
    stale: int = 0


def cents_on(page: bytes, product: str = "") -> int | None:
    """The price on a page: its own, or that of the product which it links to."""
    start = page.find(f'"{product}\\"'.encode()) if product else 0
    found = _PRICE.search(page, start) if start >= 0 else None
    return None if found is None else int(found[1].replace(b",", b"") + found[2])


class Editor:
    """Raises the price of one popular product after the other, by a cent.

    `gateway` is where it does so; `instances` is where it looks into the product's category
    before the next change, one instance after the other: pages there come from what all share.
    """

    def __init__(
        self,
        database: Path,
        plan: Sequence[Planned],
        gateway: Client,
        instances: Sequence[Client],
        start: float,
    ) -> None:
        self._database, self._start = database, start
        self._gateway, self._instances = gateway, instances
        pages = Counter(planned.path for planned in plan if planned.kind == "product")
        self._paths = [path for path, _ in pages.most_common(PRODUCTS)]
        self.changes: list[Change] = []
        self._looks: list[Page] = []

    async def run(self) -> None:
        """Change one price after the other, until cancelled."""
        known = _known(self._database)
        loop = asyncio.get_running_loop()
        await colours.loop.sleep(max(0.0, self._start - loop.time()))
        turn = 0
        while self._paths:
            path = self._paths[turn % len(self._paths)]
            cents, version, category = known[path]
            known[path] = (cents + 1, version + 1, category)
            body = msgspec.json.encode({"cents": cents + 1, "version": version + 1})
            reply = await self._gateway.ask("PUT", path, body)
            if reply.status == _OK:
                self.changes.append(Change(path, cents + 1, loop.time() - self._start))
            await colours.loop.sleep(EVERY)
            if reply.status == _OK:
                await self._look(path, category, self._instances[turn % len(self._instances)])
            turn += 1

    async def _look(self, path: str, category: str, instance: Client) -> None:
        at = asyncio.get_running_loop().time() - self._start
        reply = await instance.ask("GET", category)
        cents = cents_on(reply.body, path) if reply.status == _OK else None
        if cents is not None:
            self._looks.append(Page(path, cents, at))

    def found(self, outcomes: Iterable[Outcome]) -> Prices:
        """Hold the pages that clients got, and those that it saw, against what was in force."""
        pages = [
            Page(outcome.path, outcome.cents, outcome.sent)
            for outcome in outcomes
            if outcome.cents is not None and outcome.status == _OK
        ]
        return compare(self.changes, [*self._looks, *pages])


def compare(changes: Iterable[Change], pages: Iterable[Page]) -> Prices:
    """A page lacks a change if that had been answered before the page was asked for."""
    by_path: defaultdict[str, list[Change]] = defaultdict(list)
    for change in changes:
        by_path[change.path].append(change)
    seen = late = stale = 0
    for page in pages:
        due = [change for change in by_path[page.path] if change.at <= page.at]
        lacking = [change for change in due if change.cents > page.cents]
        seen += bool(due)
        if lacking:
            heard = page.at - min(change.at for change in lacking) >= HEARD
            stale, late = stale + heard, late + (not heard)
    changed = sum(map(len, by_path.values()))
    return Prices(changed=changed, seen=seen, late=late, stale=stale)


def _known(database: Path) -> dict[str, tuple[int, int, str]]:
    """Price, version and category page of every product."""
    uri = f"{database.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as db:
        return {
            f"/api/product/{number}": (cents, version, f"/api/category/{category}")
            for number, cents, version, category in db.execute(
                "SELECT id, cents, version, category FROM product"
            )
        }
