"""A limiter's counts in an SQLite file that the processes of one machine share."""

from __future__ import annotations

from collections.abc import Callable
from sqlite3 import Connection
from struct import Struct
from typing import TypeVar

from escala.errors import ConfigError
from escala.kernel.runtime import Runtime
from escala.limiting.decision import Decision
from escala.limiting.plan import Plan
from escala.limiting.pure.row import Row, RowForm, prefix
from escala.limiting.trying_again import trying_again
from escala.stores.sqlite_link import SqliteLink

T = TypeVar("T")

_TABLE = """
    CREATE TABLE IF NOT EXISTS escala_limits (
        key BLOB PRIMARY KEY,
        numbers BLOB NOT NULL,
        seen REAL NOT NULL,
        ends REAL NOT NULL
    ) WITHOUT ROWID
"""
_READ = "SELECT numbers, seen FROM escala_limits WHERE key = ?"
_WRITE = "REPLACE INTO escala_limits VALUES (?, ?, ?, ?)"
_LOOK = "SELECT key, seen, ends FROM escala_limits WHERE key > ? ORDER BY key LIMIT ?"
_DROP = "DELETE FROM escala_limits WHERE key = ?"
_LOOKS = 8
_ANOTHER_CLOCK = 1.0  # a row that was written so much later than now was written before a reboot


class SqliteLedger:
    """The `Ledger` behind "sqlite:///limits.db": one file, one machine, no server.

    Time is the machine's monotonic clock, which all its processes share and no one sets, so a
    step of the wall clock changes nothing. It begins anew with the machine: a row of before is
    told by its future moments, and counts as none. Each decision is one transaction by the same
    machine that decides in memory. A new key clears away up to eight rows whose limits are full
    again, so the file stays about as large as the keys in use.
    """

    def __init__(self, url: str, plan: Plan) -> None:
        self._form = RowForm(plan, "SQLite")
        try:
            self._link = SqliteLink(url, _TABLE)
        except ConfigError as error:
            raise ConfigError(f"{plan.name}: store: {error}") from error
        self._prefix = prefix(plan)
        self._format = Struct(f"{len(self._form.fresh)}d")
        self._hand = b""

    async def take(
        self, key: str, cost: int, runtime: Runtime, wait: float = 0.0
    ) -> tuple[Decision, float]:
        """Take tokens, or a place up to `wait` seconds ahead, as `Ledger.take` says."""

        async def once(wait: float) -> tuple[Decision, float]:
            return await self._with(key, lambda row, now: row.take(cost, now, wait), runtime)

        return await trying_again(once, runtime, wait, reserves=self._form.reserves)

    async def peek(self, key: str, runtime: Runtime) -> Decision:
        """How a call of cost 1 would fare now."""
        return await self._with(key, Row.peek, runtime)

    async def reset(self, key: str, runtime: Runtime) -> None:
        """Forget what a key has used."""
        await self._link.run(lambda file: file.execute(_DROP, (self._name(key),)), runtime)

    async def refund(self, key: str, cost: int, runtime: Runtime) -> None:
        """Give back tokens that were not used."""
        await self._with(key, lambda row, now: row.give_back(cost, now), runtime)

    def close(self) -> None:
        """Close the file."""
        self._link.close()

    async def _with(self, key: str, ask: Callable[[Row, float], T], runtime: Runtime) -> T:
        """Ask the machine about a key, as it stands in the file."""
        name = self._name(key)

        def step(file: Connection) -> T:
            now = runtime.now()  # no one else writes from here on
            found = file.execute(_READ, (name,)).fetchone()
            if found is None or found[1] > now + _ANOTHER_CLOCK:
                before = self._form.fresh
            else:
                before, now = self._format.unpack(found[0]), max(now, found[1])
            row = self._form.row(before)
            answer = ask(row, now)
            after = row.numbers
            if after != before:
                ends = now + max(reset for _, reset in row.peek(now).standings)
                file.execute(_WRITE, (name, self._format.pack(*after), now, ends))
                if found is None:
                    self._sweep(file, now)
            return answer

        return await self._link.run(step, runtime)

    def _name(self, key: str) -> bytes:
        return (self._prefix + key).encode(errors="surrogatepass")

    def _sweep(self, file: Connection, now: float) -> None:
        """Look at the next few rows, going around all of them, and drop those that say nothing."""
        rows = file.execute(_LOOK, (self._hand, _LOOKS)).fetchall()
        self._hand = rows[-1][0] if len(rows) == _LOOKS else b""
        for key, seen, ends in rows:
            if ends <= now or seen > now + _ANOTHER_CLOCK:
                file.execute(_DROP, (key,))
