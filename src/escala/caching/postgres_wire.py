"""Invalidations as PostgreSQL notifies of them, on a connection that does nothing else."""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

from escala.caching.pure.notice import Notices
from escala.caching.pure.signal import Signal, signal_of
from escala.errors import StoreUnavailable
from escala.kernel.runtime import ThreadRuntime, drive
from escala.stores.postgres_link import PostgresLink

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

_PING, _SILENCE = 0.25, 0.8  # parts of the bound


class PostgresWire:
    """Hears by LISTEN.

    Each `bound` / 4 it asks an empty question. The server sends what it has to tell before it
    answers, so an answer proves that everything from before it was asked has been heard; when
    the latest proof is older than `bound` * 0.8 it is over.
    """

    def __init__(self, link: PostgresLink, channel: str, writer: str, bound: float) -> None:
        self.transport = ""
        self._link, self._channel, self._writer = link, channel, writer.encode()
        # It listens in real time, whatever the callers' time is.
        self._runtime, self._bound = ThreadRuntime(), bound
        self._now = self._runtime.now
        self._connection: PGconn | None = None
        self._process = os.getpid()
        self._notices = Notices()
        self._asked: float | None = None  # when the question was asked that is open
        self._proof = 0.0

    def open(self) -> None:
        """Connect and listen, within `bound`."""
        until = self._now() + self._bound
        listen = f"LISTEN {self._channel}".encode()
        with self._as_os_error():
            self._connection = drive(self._link.connected(self._runtime, until, listen))
        self.transport = "notify"
        self._proof = self._now()

    def hear(self) -> tuple[list[Signal], bool]:
        """Signals, after at most a quarter of the bound."""
        connection = self._connection
        if connection is None:
            raise ConnectionAbortedError("it was not opened")
        end = self._proof + self._bound * _SILENCE
        ping = end if self._asked is not None else self._proof + self._bound * _PING
        self._wait(connection, ping - self._now())
        with self._as_os_error():
            connection.consume_input()  # a thread that is late first reads what has come meanwhile
            answered = self._asked is not None and not connection.is_busy()
            if answered:
                connection.get_result()
                answered = connection.get_result() is None
            told, missed = self._news(connection)
            now = self._now()
            if answered and self._asked is not None:
                self._proof, self._asked = self._asked, None
            if self._asked is None and now >= self._proof + self._bound * _PING:
                connection.send_query(b"")
                connection.flush()
                self._asked = now
        if now >= self._proof + self._bound * _SILENCE:
            raise TimeoutError("no sign of life")
        return told, missed

    def hang_up(self) -> None:
        """Have the thread that waits in `hear` find the connection ended."""
        connection = self._connection
        if connection is not None:
            with contextlib.suppress(OSError, self._link.error), _copy(connection) as link:
                link.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it; in a forked child only its copy, and without a word to the server."""
        connection = self._connection
        if connection is None:
            return
        if self._process == os.getpid():
            connection.finish()
        else:
            with contextlib.suppress(OSError, self._link.error):
                os.close(connection.socket)

    def _news(self, connection: PGconn) -> tuple[list[Signal], bool]:
        told: list[Signal] = []
        missed = False
        while (notice := connection.notifies()) is not None:
            try:
                signals = [
                    signal_of(each, self._writer) for each in self._notices.add(notice.extra)
                ]
            except ValueError:
                missed = True
            else:
                told += filter(None, signals)
        return told, missed

    @staticmethod
    def _wait(connection: PGconn, seconds: float) -> None:
        poll = select.poll()
        poll.register(connection.socket, select.POLLIN)
        poll.poll(max(1, math.ceil(seconds * 1000)))

    @contextlib.contextmanager
    def _as_os_error(self) -> Iterator[None]:
        try:
            yield
        except (StoreUnavailable, self._link.error) as error:
            raise ConnectionError(str(error)) from error


def _copy(connection: PGconn) -> socket.socket:
    """The same socket once more: closing this leaves that open."""
    return socket.socket(fileno=os.dup(connection.socket))
