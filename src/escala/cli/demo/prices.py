"""Change prices while the traffic runs, and look for pages that still show the old ones."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections import Counter, deque
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
PRODUCTS = 8  # the most popular pages are those that most caches hold
_OK = 200
_PRICE = re.compile(rb"<b>([\d,]+)\.(\d\d)</b>")


class Change(NamedTuple):
    """A price that is in force since `at`, in seconds from the first request; prices only rise."""

    path: str
    cents: int
    at: float


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """How many prices changed, how many pages were looked at afterwards, how many were wrong."""

    changed: int = 0
    seen: int = 0
    stale: int = 0


def cents_on(page: bytes, product: str = "") -> int | None:
    """The price on a page: its own, or that of the product which it links to."""
    start = page.find(f'"{product}\\"'.encode()) if product else 0
    found = _PRICE.search(page, start) if start >= 0 else None
    return None if found is None else int(found[1].replace(b",", b"") + found[2])


class Editor:
    """Raises the price of one popular product after the other, by a cent.

    `gateway` is where it does so; `instances` is where it looks at once into the product's
    category, one instance after the other: pages there come from what all of them share.
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
        self._seen: list[tuple[Change, int]] = []

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
            if (await self._gateway.ask("PUT", path, body)).status == _OK:
                change = Change(path, cents + 1, loop.time() - self._start)
                self.changes.append(change)
                await self._look(change, category, self._instances[turn % len(self._instances)])
            turn += 1
            await colours.loop.sleep(EVERY)

    async def _look(self, change: Change, category: str, instance: Client) -> None:
        reply = await instance.ask("GET", category)
        cents = cents_on(reply.body, change.path) if reply.status == _OK else None
        if cents is not None:
            self._seen.append((change, cents))

    def found(self, outcomes: Iterable[Outcome]) -> Prices:
        """Hold the pages that clients got, and those that it saw, against what was in force."""
        return compare(self.changes, self._seen, outcomes)


def compare(
    changes: Sequence[Change], looks: Sequence[tuple[Change, int]], outcomes: Iterable[Outcome]
) -> Prices:
    """A page is stale if it shows less than a change that had been answered when it was sent for.

    `changes` come in order; `looks` are prices that were seen right after a change.
    """
    pages = sorted(
        (outcome.sent, outcome.path, outcome.cents)
        for outcome in outcomes
        if outcome.cents is not None and outcome.status == _OK
    )
    shown = [(change.cents, cents) for change, cents in looks]
    in_force: dict[str, int] = {}
    coming = deque(changes)
    for sent, path, cents in pages:
        while coming and coming[0].at <= sent:
            change = coming.popleft()
            in_force[change.path] = change.cents
        if path in in_force:
            shown.append((in_force[path], cents))
    stale = sum(cents < least for least, cents in shown)
    return Prices(changed=len(changes), seen=len(shown), stale=stale)


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
