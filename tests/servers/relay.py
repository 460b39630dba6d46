"""A relay in front of a server, whose network can fail: it holds what passes, or cuts it off."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

_CHUNK = 65536


class _Pair:
    """One client and its connection to the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.said = b""

    def cut(self) -> None:
        for each in (self.client, self.server):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class Relay:
    """Passes bytes on, both ways.

    What it holds is lost to no one, as in a network that is down for a while: when it flows
    again, everything arrives, in its order. Meanwhile connections can be opened, and nothing
    comes of it.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._turn = threading.Condition()
        self._holds: tuple[bytes, ...] | None = None
        self._pairs: list[_Pair] = []
        self._run(self._accept)

    def hold(self, *said: bytes) -> None:
        """Let nothing pass any more; with words, only where the client has said one of them."""
        with self._turn:
            self._holds = said

    def flow(self) -> None:
        """Let everything pass."""
        with self._turn:
            self._holds = None
            self._turn.notify_all()

    def cut(self) -> None:
        """End every connection."""
        with self._turn:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            pair.cut()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.flow()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._server))
            except OSError:
                client.close()
                continue
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = _Pair(client, server)
            with self._turn:
                self._pairs.append(pair)
            self._run(self._pump, pair, client, server)
            self._run(self._pump, pair, server, client)

    def _pump(self, pair: _Pair, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                if source is pair.client and len(pair.said) < _CHUNK:
                    pair.said += data
                self._wait(pair)
                target.sendall(data)
        self._wait(pair)
        pair.cut()
        source.close()

    def _wait(self, pair: _Pair) -> None:
        def held() -> bool:
            holds = self._holds
            return holds is not None and (not holds or any(word in pair.said for word in holds))

        with self._turn:
            while held():
                self._turn.wait()

    @staticmethod
    def _run(work: object, *words: object) -> None:
        threading.Thread(target=work, args=words, daemon=True).start()  # type: ignore[arg-type]


@contextlib.contextmanager
def relayed(port: int) -> Iterator[Relay]:
    relay = Relay(port)
    try:
        yield relay
    finally:
        relay.close()
