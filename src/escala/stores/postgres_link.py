"""PostgreSQL connections for short questions, in both colours, with a hard limit on their time."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from escala.errors import DeadlineExceeded, StoreUnavailable
from escala.kernel.at_fork import begin_anew, free
from escala.kernel.context import remaining
from escala.kernel.runtime import Runtime
from escala.kernel.wrong_value import without_password
from escala.stores.postgres_address import PostgresAddress
from escala.stores.socket_wait import readable, ready, refuse_in_loop

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

_PATIENCE = 0.5


class _Late(TimeoutError):
    """The time for a question is over."""


class PostgresLink:
    """Asks one statement at a time on each connection, over psycopg's own libpq.

    The driver's sync connections cannot give up waiting, so the link waits for the socket itself:
    whatever the server does, no question takes longer than `patience` (half a second), connecting
    included.
    A connection serves threads and event loops in turn, and up to `keep` wait for the next
    question. After an error all of them are made anew: the server may be another one by now.
    `prepare` is SQL that each new connection runs first. Only a host's name is looked up by the
    system, without a limit and in the event loop: prefer an address there, or `hostaddr`.
    """

    def __init__(self, url: str, prepare: str, *, keep: int, patience: float = _PATIENCE) -> None:
        address = PostgresAddress(url)
        self._pq, self.error = address.pq, address.error
        self.where, self._conninfo = address.where, address.conninfo
        self._prepare, self._keep, self.patience = prepare.encode(), keep, patience
        self._lock = threading.RLock()
        self._idle: list[tuple[int, PGconn]] = []
        begin_anew(self, PostgresLink._forked)

    def _forked(self) -> None:
        free(self._lock)

    async def ask(
        self,
        statement: str,
        values: Sequence[bytes | None],
        runtime: Runtime,
        *,
        binary: bool = False,
    ) -> list[list[bytes | None]]:
        """The rows of the answer, as text; with `binary`, values and rows are as in the server.

        Raises `StoreUnavailable`, or `DeadlineExceeded` when the caller's own time is up before.
        A statement whose answer did not come in time may have been carried out, and so may one
        whose caller was cancelled.
        """
        refuse_in_loop(runtime)
        now = runtime.now()
        left = remaining(now)
        until = now + min(self.patience, left)
        formats = [self._pq.Format.BINARY] * len(values) if binary else None
        try:
            connection = self._taken() or await self.connected(runtime, until)
            try:
                connection.send_query_params(
                    statement.encode(), values, param_formats=formats, result_format=int(binary)
                )
                result = await self._answer(connection, runtime, until)
            except BaseException:
                connection.finish()
                raise
        except self.error as error:
            self._fail(str(error), error)
        except _Late as error:
            if left < self.patience:
                raise DeadlineExceeded(
                    "the call's time was up before the store answered"
                ) from error
            self._fail(f"no answer within {self.patience:g} s", error)
        if result.status == self._pq.ExecStatus.FATAL_ERROR:
            connection.finish()
            self.close()
            self._check(result)
        self._give_back(connection)
        columns = range(result.nfields)
        return [
            [result.get_value(row, column) for column in columns] for row in range(result.ntuples)
        ]

    def close(self) -> None:
        """Close the connections that no one uses; those in use are closed when they come back."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process, connection in idle:
            if process == os.getpid():
                connection.finish()

    def _taken(self) -> PGconn | None:
        """A connection that waits, and that the server has not closed meanwhile."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                process, connection = self._idle.pop()
            if process != os.getpid():
                continue  # a forked child's: it is the parent's to close
            if not readable(connection.socket):
                return connection
            connection.finish()  # nothing was asked, so what there is to read is its end

    def _give_back(self, connection: PGconn) -> None:
        with self._lock:
            if len(self._idle) < self._keep:
                self._idle.append((os.getpid(), connection))
                return
        connection.finish()

    async def connected(self, runtime: Runtime, until: float, then: bytes = b"") -> PGconn:
        """A connection that is the caller's own, prepared; `then` is SQL to run after that.

        Raises `StoreUnavailable`, psycopg's `Error`, or `TimeoutError`.
        """
        connection: PGconn = self._pq.PGconn.connect_start(self._conninfo)
        polling = self._pq.PollingStatus
        try:
            while (state := connection.connect_poll()) != polling.OK:
                if state == polling.FAILED:
                    self._fail(connection.get_error_message())
                await self._ready(connection, runtime, until, to_write=state == polling.WRITING)
            connection.nonblocking = 1
            for statement in filter(None, (self._prepare, then)):
                connection.send_query(statement)
                self._check(await self._answer(connection, runtime, until))
        except BaseException:
            connection.finish()
            raise
        return connection

    async def _answer(self, connection: PGconn, runtime: Runtime, until: float) -> PGresult:
        """The last result of what was sent, or the first that is an error."""
        while connection.flush():
            await self._ready(connection, runtime, until, to_write=True)
        last: PGresult | None = None
        while True:
            while connection.is_busy():
                await self._ready(connection, runtime, until, to_write=False)
                connection.consume_input()
            result = connection.get_result()
            if result is None:
                break
            last = result
        if last is None:
            self._fail("it answered nothing")
        return last

    async def _ready(
        self, connection: PGconn, runtime: Runtime, until: float, *, to_write: bool
    ) -> None:
        left = until - runtime.now()
        if not await ready(connection.socket, runtime, left, to_write=to_write):
            raise _Late

    def _check(self, result: PGresult) -> None:
        if result.status == self._pq.ExecStatus.FATAL_ERROR:
            self._fail(result.get_error_message())

    def _fail(self, why: str, cause: Exception | None = None) -> NoReturn:
        first = (without_password(why).strip().splitlines() or ["it gave no reason"])[0]
        raise StoreUnavailable(f"PostgreSQL at {self.where}: {first}") from cause
