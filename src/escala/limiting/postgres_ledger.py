"""A limiter's counts in PostgreSQL, for processes on many machines that share a database anyway."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from escala.errors import BulkheadFull, ConfigError, StoreUnavailable
from escala.kernel.runtime import Runtime
from escala.limiting.decision import Decision
from escala.limiting.plan import Plan
from escala.limiting.postgres_function import ASK, PEEK, RESET, SCHEMA
from escala.limiting.pure.row import RowForm, prefix
from escala.limiting.trying_again import trying_again
from escala.resilience.bulkhead import Bulkhead
from escala.stores.postgres_link import PostgresLink
from escala.stores.url_parameters import taken_out, whole

_CONNECTIONS, _MOST_CONNECTIONS, _QUEUE, _PATIENCE = "8", 1000, 10_000, 0.5

Rows = list[list[bytes | None]]

_RULES = {"token_bucket": "bucket", "leaky_bucket": "bucket"}


class PostgresLedger:
    """The `Ledger` behind "postgresql://host/database": one round trip for each decision.

    A function in the database locks the key's row, checks all limits and charges all or none, by
    the server's clock. The first connection creates it, and an unlogged table beside it
    (`escala_limits`), in the first schema of the search path; so the role must be allowed to
    create there, or someone else has done it before. What the table holds is lost when the
    server crashes, and then every limit is full again. A new key clears away up to eight rows
    whose limits are full, so the table stays about as large as the keys in use. The URL may say
    how many `connections` there are at most (8).
    """

    def __init__(self, url: str, plan: Plan) -> None:
        self._form = RowForm(plan, "PostgreSQL")
        try:
            rest, ours = taken_out(url, ("connections",))
            said = ours.get("connections", _CONNECTIONS)
            connections = whole("connections", said, 1, _MOST_CONNECTIONS)
            self._link = PostgresLink(rest, SCHEMA, keep=connections)
        except ConfigError as error:
            raise ConfigError(f"{plan.name}: store: {error}") from error
        self._bulkhead = Bulkhead(connections, queue=_QUEUE, wait=_PATIENCE)
        self._prefix = prefix(plan)
        limits = plan.limits
        self._plan = (
            _RULES.get(plan.algorithm, plan.algorithm).encode(),
            _array(self._form.fresh),
            _array(limit.burst for limit in limits),
            _array(limit.rate for limit in limits),
            _array(limit.period for limit in limits),
        )
        self._hand: bytes | None = b""

    async def take(
        self, key: str, cost: int, runtime: Runtime, wait: float = 0.0
    ) -> tuple[Decision, float]:
        """Take tokens, or a place up to `wait` seconds ahead, as `Ledger.take` says."""

        async def once(wait: float) -> tuple[Decision, float]:
            answer = await self._call(key, cost, wait if self._form.reserves else 0.0, runtime)
            now, granted, ahead, numbers = answer
            row = self._form.row(numbers)
            if granted:
                return row.granted(now + ahead), ahead
            return row.refused(cost, now), 0.0

        return await trying_again(once, runtime, wait, reserves=self._form.reserves)

    async def peek(self, key: str, runtime: Runtime) -> Decision:
        """How a call of cost 1 would fare now."""
        ((now, numbers, seen),) = await self._ask(PEEK, [_bytes(self._prefix + key)], runtime)
        if numbers is None or seen is None:
            return self._form.row(self._form.fresh).peek(float(now or 0))
        # If the clock was set back, how things stood when it last was as late.
        return self._form.row(_numbers(numbers)).peek(max(float(now or 0), float(seen)))

    async def reset(self, key: str, runtime: Runtime) -> None:
        """Forget what a key has used."""
        await self._ask(RESET, [_bytes(self._prefix + key)], runtime)

    async def refund(self, key: str, cost: int, runtime: Runtime) -> None:
        """Give back tokens that were not used."""
        await self._ask(ASK, self._values(key, -cost, 0.0), runtime)

    def close(self) -> None:
        """Close the connections."""
        self._link.close()

    async def _call(
        self, key: str, cost: int, wait: float, runtime: Runtime
    ) -> tuple[float, bool, float, list[float]]:
        (line,) = await self._ask(ASK, self._values(key, cost, wait), runtime)
        now, granted, ahead, numbers, self._hand = line
        return float(now or 0), granted == b"t", float(ahead or 0), _numbers(numbers or b"")

    def _values(self, key: str, cost: int, wait: float) -> list[bytes | None]:
        name, numbers = _bytes(self._prefix + key), (b"%d" % cost, repr(wait).encode())
        return [name, *self._plan, *numbers, self._hand]

    async def _ask(self, statement: str, values: Sequence[bytes | None], runtime: Runtime) -> Rows:
        try:
            return await self._bulkhead.around(
                lambda: self._link.ask(statement, values, runtime), runtime
            )
        except BulkheadFull as error:
            raise StoreUnavailable(f"PostgreSQL at {self._link.where}: {error}") from error


def _array(numbers: Iterable[float]) -> bytes:
    return f"{{{','.join(repr(float(each)) for each in numbers)}}}".encode()


def _numbers(array: bytes) -> list[float]:
    return [float(each) for each in array[1:-1].split(b",")]


def _bytes(text: str) -> bytes:
    return b"\\x" + text.encode(errors="surrogatepass").hex().encode()
