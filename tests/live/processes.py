"""Real processes for a test: services, a gateway in front, and plain sockets to talk to them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


class Child:
    """A process whose lines are kept; stopped when the test ends, whatever happens."""

    def __init__(
        self, *command: str, stream: str = "stdout", env: dict[str, str] | None = None
    ) -> None:
        pipes: dict[str, Any] = {stream: subprocess.PIPE}
        self.process = subprocess.Popen(
            [sys.executable, *command], text=True, env={**os.environ, **(env or {})}, **pipes
        )
        self.lines: list[str] = []
        self._new = threading.Condition()
        self._reader = threading.Thread(
            target=self._read, args=(getattr(self.process, stream),), daemon=True
        )
        self._reader.start()

    def _read(self, pipe: Any) -> None:
        for line in pipe:
            with self._new:
                self.lines.append(line.rstrip())
                self._new.notify_all()
        with self._new:
            self.lines.append("<end>")
            self._new.notify_all()
        pipe.close()

    def wait_for(self, pattern: str, seconds: float = 15.0, start: int = 0) -> re.Match[str]:
        deadline = time.monotonic() + seconds
        with self._new:
            while True:
                for line in self.lines[start:]:
                    if found := re.search(pattern, line):
                        return found
                left = deadline - time.monotonic()
                assert left > 0, f"no {pattern!r} in {self.lines}"
                assert "<end>" not in self.lines, f"ended without {pattern!r}: {self.lines}"
                self._new.wait(left)

    def stop(self, how: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._reader.join(5)
        return code


class Gateway(Child):
    def __init__(self, path: Path, *options: str) -> None:
        super().__init__("-m", "escala", "serve", str(path), *options, stream="stderr")
        self.path = path
        found = self.wait_for(r"ready: http://[\d.]+:(\d+), .*admin on http://[\d.]+:(\d+)")
        self.port, self.admin_port = int(found[1]), int(found[2])

    def get(self, target: str, **headers: str) -> Answer:
        return ask(self.port, "GET", target, headers)

    def status(self) -> dict[str, Any]:
        return json.loads(ask(self.admin_port, "GET", "/status").body)

    def workers(self) -> list[int]:
        return [worker["pid"] for worker in self.status()["workers"]]

    def resident_mb(self) -> float:
        return max(worker["rss_mb"] for worker in self.status()["workers"])


class Answer:
    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ")[1]) if first else 0
        self.headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        if self.headers.get("transfer-encoding") == "chunked":
            rest, self.body = self.body, b""
            while rest:
                size, _, rest = rest.partition(b"\r\n")
                length = int(size, 16)
                self.body += rest[:length]
                rest = rest[length + 2 :]
                if not length:
                    break


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=15)


def until_closed(link: socket.socket) -> bytes:
    out = b""
    with contextlib.suppress(ConnectionError):
        while data := link.recv(65536):
            out += data
    return out


def ask(
    port: int,
    method: str,
    target: str,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
) -> Answer:
    """One request on a connection of its own."""
    fields = {"Host": "test", "Connection": "close", **(headers or {})}
    if body is not None:
        fields.setdefault("Content-Length", str(len(body)))
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    with connect(port) as link:
        link.sendall(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + (body or b""))
        return Answer(until_closed(link))


def stack(targets: list[int], policies: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    """A small stack file as data; `more` is laid over it, with `route_` and `upstream_` parts."""
    route = {"path": "/", "upstream": "shop", "policies": policies or []}
    upstream: dict[str, Any] = {"targets": [f"127.0.0.1:{port}" for port in targets]}
    route |= {key[6:]: more.pop(key) for key in list(more) if key.startswith("route_")}
    upstream |= {key[9:]: more.pop(key) for key in list(more) if key.startswith("upstream_")}
    return {
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "upstreams": {"shop": upstream},
        "routes": [route],
        **more,
    }


@contextlib.contextmanager
def children() -> Iterator[list[Child]]:
    """Everything put into the list is stopped at the end."""
    started: list[Child] = []
    try:
        yield started
    finally:
        for child in reversed(started):
            child.stop()


def service(started: list[Child], name: str, port: int = 0) -> int:
    """Start a little service; its port."""
    child = Child(str(HERE / "upstream.py"), str(port), name)
    started.append(child)
    return int(child.wait_for(r"listening (\d+)")[1])


def gateway(started: list[Child], folder: Path, values: dict[str, Any], *options: str) -> Gateway:
    """Start `escala serve` with this stack."""
    path = folder / "stack.yaml"
    path.write_text(json.dumps(values))  # JSON is YAML
    child = Gateway(path, *options)
    started.append(child)
    return child
