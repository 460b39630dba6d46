"""Invalidations as PostgreSQL notifies of them, on a connection that does nothing else."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from escala.caching.pure.notice import Notices
from escala.caching.pure.signal import Signal, signal_of
from escala.errors import StoreUnavailable
from escala.kernel.runtime import ThreadRuntime, drive
from escala.stores.postgres_link import PostgresLink

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

_PING, _SILENCE = 0.3, 0.9  # parts of the bound


class PostgresWire:
    """Hears by LISTEN.

    Each `bound` * 0.3 it asks an empty question. The server sends what it has to tell before it
    answers, so an answer proves that everything from before it was asked has been heard; when
    the latest proof is older than `bound` * 0.9 it is over.
    """

    def __init__(
        self, link: PostgresLink, channel: str, writer: str, runtime: ThreadRuntime, *, bound: float
    ) -> None:
        self.transport = ""
        self._link, self._channel, self._writer = link, channel, writer.encode()
        self._runtime, self._now, self._bound = runtime, runtime.now, bound
        self._connection: PGconn | None = None
        self._process = os.getpid()
        self._notices = Notices()
        self._asking, self._proof = 0.0, 0.0  # when the question was asked that is open, if one is

    def open(self) -> None:
        """Connect and listen, within `bound`."""
        until = self._now() + self._bound
        listen = f"LISTEN {self._channel}".encode()
        with self._as_os_error():
            self._connection = drive(self._link.connected(self._runtime, until, listen))
        self.transport = "notify"
        self._proof = self._now()

    def hear(self) -> tuple[list[Signal], bool]:
        """Signals, after at most a third of the bound."""
        connection = self._connection
        if connection is None:
            raise ConnectionAbortedError("it was not opened")
        ping, end = self._proof + self._bound * _PING, self._proof + self._bound * _SILENCE
        with self._as_os_error():
            # A thread that is late first reads what has come meanwhile.
            self._wait(connection, (end if self._asking else ping) - self._now())
            connection.consume_input()
            heard = self._heard(connection)
            now = self._now()
            if self._asking and not connection.is_busy():
                while connection.get_result() is not None:
                    pass
                self._proof, self._asking = self._asking, 0.0
                heard = [each + more for each, more in zip(heard, self._heard(connection))]
            if not self._asking and now >= self._proof + self._bound * _PING:
                connection.send_query(b"")
                connection.flush()
                self._asking = now
        if now >= self._proof + self._bound * _SILENCE:
            raise TimeoutError("no sign of life")
        return heard
