"""A real PostgreSQL of our own for a test: private folder, private port, nothing durable."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

QUICK = {
    "fsync": "off",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
    "autovacuum": "on",
    "log_min_messages": "warning",
}


def program(name: str) -> str:
    """One of the programs of the newest PostgreSQL that is installed (`make servers` gets one)."""
    found = glob.glob("/usr/lib/postgresql/*/bin/initdb")  # noqa: PTH207  an absolute pattern
    places = [Path(each).parent for each in found]
    if not places:
        initdb = shutil.which("initdb")
        assert initdb, "PostgreSQL is not installed: make servers"
        places = [Path(initdb).resolve().parent]
    newest = max(
        places, key=lambda place: [int(n) for n in place.parent.name.split(".") if n.isdigit()]
    )
    return str(newest / name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PostgresServer:
    """Started by `start`, killed by `kill` (SIGKILL to all of it), gone after `stop`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"postgresql://escala@127.0.0.1:{self.port}/postgres"
        self.process: subprocess.Popen[bytes] | None = None
        self.account = _account()
        if self.account:
            os.chown(folder, pwd.getpwnam(self.account).pw_uid, -1)
        self._run("initdb", "-D", str(folder / "data"), "-U", "escala", "-A", "trust", "--no-sync")

    def start(self) -> None:
        options = [part for name, value in QUICK.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    program("postgres"),
                    "-D",
                    str(self.folder / "data"),
                    "-p",
                    str(self.port),
                    *options,
                ],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **self._who(),
            )
        deadline = time.monotonic() + 30
        while not self.answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def answers(self) -> bool:
        ready = [program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, check=False).returncode == 0

    def kill(self) -> None:
        """As if the machine had lost power: none of its processes says goodbye."""
        assert self.process is not None
        for pid in [*self._children(), self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)

    def freeze(self, how: int = signal.SIGSTOP) -> None:
        """Stop all of it in its tracks, or let it go on with SIGCONT."""
        assert self.process is not None
        for pid in [self.process.pid, *self._children()]:
            os.kill(pid, how)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # "fast": no waiting for clients
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    def _children(self) -> list[int]:
        assert self.process is not None
        task = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in task.read_text().split()]

    def _run(self, name: str, *arguments: str) -> None:
        ran = subprocess.run(
            [program(name), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            **self._who(),
        )
        assert ran.returncode == 0, ran.stderr

    def _who(self) -> dict[str, Any]:
        return {"user": self.account} if self.account else {}


def _account() -> str | None:
    """PostgreSQL refuses to run as root, so then it runs as an account that may do little."""
    if os.geteuid() != 0:
        return None
    names = {each.pw_name for each in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A running server in a folder that its account can reach, both gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="escala-postgres-"))
    try:
        server = PostgresServer(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
