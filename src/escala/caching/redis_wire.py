"""Invalidations as Redis pushes them, on a connection that does nothing else."""

from __future__ import annotations

import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from escala.caching.pure.signal import Signal, signal_of
from escala.stores.redis_address import RedisAddress
from escala.stores.script_link import Word

EVENTS = ("auto", "pubsub", "tracking")

_CHUNK = 65536
_PING, _SILENCE = 0.25, 0.8  # parts of the bound
_NOT_NOW = ("BUSY", "LOADING", "MASTERDOWN", "NOAUTH", "TRYAGAIN")  # no reason to ask for less


class RedisWire:
    """Hears by client tracking (RESP3, Redis 6 or newer, Valkey), or by a channel.

    Each `bound` / 4 it asks for a sign of life. An answer proves that everything from before
    it was asked has been heard; when the latest proof is older than `bound` * 0.8 it is over.
    So a signal that is not heard within `bound` is at least known to be missing, with a fifth of
    it to spare for a thread that is late.
    """

    def __init__(
        self,
        address: RedisAddress,
        base: bytes,
        writer: str,
        now: Callable[[], float],
        *,
        events: str,
        bound: float,
    ) -> None:
        from hiredis import ProtocolError, Reader

        self.transport = ""
        self._address, self._base, self._writer, self._now = address, base, writer.encode(), now
        self._events, self._bound = events, bound
        self._reader, self._no_answer = Reader(), ProtocolError
        self._socket: socket.socket | None = None
        self._process = os.getpid()
        self._asked: deque[float] = deque()
        self._proof = 0.0

    def open(self) -> None:
        """Connect and subscribe, within `bound`."""
        until = self._now() + self._bound
        self._connect(until)
        for nth in range(self._address.greetings):
            self._expect(self._reply(until, self._address.greeting if nth == 0 else b""))
        refused = self._track(until) if self._events != "pubsub" else None
        if refused is not None and (
            self._events == "tracking" or str(refused).startswith(_NOT_NOW)
        ):
            raise ConnectionRefusedError(str(refused))
        if self._events == "pubsub" or refused is not None:
            self._expect(self._ask(until, "SUBSCRIBE", self._base + b"e"))
            self.transport = "pubsub"
        self._proof = self._now()

    def hear(self) -> tuple[list[Signal], bool]:
        """Signals, after at most a quarter of the bound."""
        ping = (self._asked[-1] if self._asked else self._proof) + self._bound * _PING
        end = self._proof + self._bound * _SILENCE
        # A thread that is late first reads what has come meanwhile.
        replies = self._arrived(min(ping, end) - self._now())
        now, missed = self._now(), False
        if now >= ping:
            self._asked.append(now)
            self._send(self._address.pack(("PING",)), now + self._bound)
        told: list[Signal] = []
        for reply in replies:
            texts = self._texts(reply)
            if texts is None:
                missed = True
                continue
            for text in texts:
                try:
                    signal = signal_of(text, self._writer)
                except ValueError:
                    missed = True
                else:
                    told += [signal] if signal else []
        if now >= self._proof + self._bound * _SILENCE:
            raise TimeoutError("no sign of life")
        return told, missed

    def hang_up(self) -> None:
        """Have the thread that waits in `hear` find the connection ended."""
        link = self._socket
        if link is not None:
            with contextlib.suppress(OSError):
                # Not the method of a TLS socket, which would go on in plain text.
                socket.socket.shutdown(link, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it; in a forked child only its copy, which the parent does not notice."""
        if self._process == os.getpid():
            self.hang_up()
        if self._socket is not None:
            self._socket.close()

    def _connect(self, until: float) -> None:
        address, left = self._address, self._left(until)
        if address.path is None:
            self._socket = socket.create_connection((address.host, address.port), left)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.settimeout(left)
            self._socket.connect(address.path)
        if address.tls is not None:
            self._socket.settimeout(self._left(until))
            self._socket = address.tls.wrap_socket(self._socket, server_hostname=address.host)

    def _track(self, until: float) -> Exception | None:
        """Ask for tracking; what the server says if it has none."""
        prefix = self._base + b"i:"
        for words in (
            ("HELLO", 3),
            ("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", prefix),
        ):
            reply = self._ask(until, *words)
            if isinstance(reply, Exception):
                return reply
        self.transport = "tracking"
        return None

    def _texts(self, reply: Any) -> list[bytes] | None:  # noqa: ANN401
        """The signals of one message; `None` if everything is to be forgotten."""
        match reply:
            case b"PONG" | [b"pong", *_]:
                self._proof = self._asked.popleft() if self._asked else self._proof
                return []
            case [b"message", _, bytes(text)]:
                return [text]
            case [b"invalidate", list(names)]:
                skip = len(self._base) + 2
                return [bytes(name)[skip:] for name in names]
            case [b"invalidate", None]:
                return None
            case [b"subscribe", *_]:
                return []
        raise ConnectionAbortedError("it sent what no one asked for")

    def _ask(self, until: float, *words: Word) -> Any:  # noqa: ANN401
        return self._reply(until, self._address.pack(words))

    def _reply(self, until: float, packed: bytes) -> Any:  # noqa: ANN401
        if packed:
            self._send(packed, until)
        while (reply := self._next()) is False:
            self._receive(self._left(until))
        return reply

    def _arrived(self, wait: float) -> list[Any]:
        replies: list[Any] = []
        if (reply := self._next()) is False:
            try:
                self._receive(max(wait, 0.001))
            except TimeoutError:
                return replies
            reply = self._next()
        while reply is not False:
            replies.append(reply)
            reply = self._next()
        return replies

    def _next(self) -> Any:  # noqa: ANN401
        try:
            return self._reader.gets()
        except self._no_answer:
            raise ConnectionAbortedError("it sent what is no answer") from None

    def _send(self, packed: bytes, until: float) -> None:
        link = self._link()
        link.settimeout(self._left(until))
        link.sendall(packed)

    def _receive(self, wait: float) -> None:
        link = self._link()
        link.settimeout(wait)
        data = link.recv(_CHUNK)
        if not data:
            raise ConnectionResetError("it closed the connection")
        self._reader.feed(data)

    def _link(self) -> socket.socket:
        if self._socket is None:
            raise ConnectionAbortedError("it was not opened")
        return self._socket

    @staticmethod
    def _expect(reply: Any) -> None:  # noqa: ANN401
        if isinstance(reply, Exception):
            raise ConnectionRefusedError(str(reply))

    def _left(self, until: float) -> float:
        left = until - self._now()
        if left <= 0:
            raise TimeoutError
        return left
