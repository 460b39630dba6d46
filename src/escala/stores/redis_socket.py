"""One blocking connection to Redis, used by one thread at a time."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from escala.stores.redis_refusal import RedisRefusal

if TYPE_CHECKING:
    from escala.stores.redis_address import RedisAddress

_REPLY = 448  # what most replies fit into, and the fastest kind of memory has
_CHUNK = 65536


class RedisSocket:
    """Sends packed commands and reads their replies, each with a hard limit on its time.

    Raises `TimeoutError` at the limit and another `OSError` when the connection breaks. After any
    exception it is closed, since a reply may still be on its way. `limit` is how many seconds the
    system waits for one step; it is told only of changes, and Python never waits itself, which
    saves a system call at each step. (TLS needs Python to wait.)
    """

    def __init__(self, address: RedisAddress, now: Callable[[], float], until: float) -> None:
        from hiredis import ProtocolError, Reader

        self._now, self.limit = now, 0.0
        self._process, self._secure = os.getpid(), address.tls is not None
        reader = Reader()
        self._feed, self._gets, self._no_answer = reader.feed, reader.gets, ProtocolError
        self._socket = _connected(address, self._left(until))
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if address.tls is not None:
                self._socket.settimeout(self._left(until))
                self._socket = address.tls.wrap_socket(self._socket, server_hostname=address.host)
            self.wait_at_most(self._left(until))
            self._send, self._receive = self._socket.sendall, self._socket.recv
        except BaseException:
            self._socket.close()
            raise

    def wait_at_most(self, limit: float) -> None:
        """Change how long a step may take."""
        self.limit = limit
        if self._secure:
            self._socket.settimeout(limit)
            return
        self._socket.settimeout(None)
        span = struct.pack("ll", int(limit), max(1, int(limit % 1 * 1_000_000)))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, span)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, span)

    def ask(self, packed: bytes, until: float) -> Any:  # noqa: ANN401  whatever Redis answers
        """Send one command and return its reply; an error reply is returned, too."""
        try:
            self._send(packed)
            self._feed(self._receive(_REPLY))
            reply = self._gets()
            return self._rest(until) if reply is False else reply
        except BlockingIOError:
            self.close()
            raise TimeoutError from None
        except self._no_answer:
            self.close()
            raise ConnectionAbortedError("it sent what is no answer") from None
        except BaseException:
            self.close()
            raise

    def greet(self, greeting: bytes, replies: int, until: float) -> None:
        """What a new connection begins with. Raises `RedisRefusal`."""
        reply = self.ask(greeting, until)
        try:
            for nth in range(replies):
                if isinstance(reply, Exception):
                    raise RedisRefusal(reply)  # noqa: TRY301
                if nth < replies - 1:
                    reply = self._rest(until)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the connection; in a forked child only its copy, which the parent does not notice."""
        if self._process == os.getpid():
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _rest(self, until: float) -> Any:  # noqa: ANN401  whatever Redis answers
        """The reply, when not all of it came at once."""
        while (reply := self._gets()) is False:
            self.wait_at_most(self._left(until))
            try:
                data = self._socket.recv(_CHUNK)
            except BlockingIOError:
                raise TimeoutError from None
            if not data:
                raise ConnectionResetError("it closed the connection")
            self._feed(data)
        return reply

    def _left(self, until: float) -> float:
        left = until - self._now()
        if left <= 0:
            raise TimeoutError
        return left


def _connected(address: RedisAddress, left: float) -> socket.socket:
    if address.path is None:
        link = socket.create_connection((address.host, address.port), left)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return link
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.settimeout(left)
        link.connect(address.path)
    except BaseException:
        link.close()
        raise
    return link
