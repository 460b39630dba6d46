"""A real PostgreSQL of our own for a test: private folder, private port, nothing durable."""

from __future__ import annotations

import atexit
import contextlib
import functools
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
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
    """Started by `start`, killed by `kill` (SIGKILL to all of it), gone after `stop`.

    `settings` are lines of its postgresql.conf, so ALTER SYSTEM goes before them. The folder is a
    copy of one that initdb made once for the process: all servers have the same system identifier,
    unless one asks for an `own_system`.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str | int] | None = None,
        *,
        own_system: bool = False,
    ) -> None:
        self.folder, self.port = folder, free_port()
        self.data = folder / "data"
        self.url = f"postgresql://escala@127.0.0.1:{self.port}/postgres"
        self.process: subprocess.Popen[bytes] | None = None
        self.account = _account()
        if self.account:
            os.chown(folder, pwd.getpwnam(self.account).pw_uid, -1)
        if own_system:
            _initdb(self.data)
        else:
            run("cp", "-a", str(_template()), str(self.data), cwd=folder)
        self.configure({**QUICK, **(settings or {})})

    def configure(self, settings: Mapping[str, str | int]) -> None:
        """Add to its postgresql.conf, where the last line with a name holds."""
        with (self.data / "postgresql.conf").open("a") as lines:
            lines.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def start(self) -> None:
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start it, and do not wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [program("postgres"), "-D", str(self.data), "-p", str(self.port)],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **_who(),
            )

    def wait(self) -> None:
        """Wait until it answers."""
        assert self.process is not None
        deadline = time.monotonic() + 30
        while not self.answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def answers(self) -> bool:
        ready = [program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, check=False).returncode == 0

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """As if the machine had lost power: none of its processes says goodbye."""
        assert self.process is not None
        children = self._children()
        for pid in [*children, self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)
        deadline = time.monotonic() + 10  # what is left of it would keep a new one from starting
        while any(_alive(pid) for pid in children) and time.monotonic() < deadline:
            time.sleep(0.01)

    def freeze(self, how: int = signal.SIGSTOP) -> None:
        """Stop all of it in its tracks, or let it go on with SIGCONT."""
        assert self.process is not None
        for pid in [self.process.pid, *self._children()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, how)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # "fast": no waiting for clients
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of one statement, on a connection of its own, by the superuser."""
        import psycopg

        where = f"{self.url}?connect_timeout=5&application_name=the%20test"
        with psycopg.connect(where, autocommit=True) as connection:
            ran = connection.execute(statement.encode(), values or None)
            return ran.fetchall() if ran.description else []

    def reload(self) -> None:
        """Have it read its settings again."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def _children(self) -> list[int]:
        assert self.process is not None
        task = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in task.read_text().split()]


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@functools.cache
def _template() -> Path:
    """A folder made by initdb, for copies; gone when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="escala-postgres-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    account = _account()
    if account:
        os.chown(folder, pwd.getpwnam(account).pw_uid, -1)
    _initdb(folder / "data")
    return folder / "data"


def _initdb(data: Path) -> None:
    words = ("-U", "escala", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
    run(program("initdb"), "-D", str(data), *words, cwd=data.parent)


def run(*words: str, cwd: Path) -> None:
    """Run a program to its end, as the account of the servers."""
    ran = subprocess.run(words, capture_output=True, text=True, check=False, cwd=cwd, **_who())
    assert ran.returncode == 0, ran.stderr


def _who() -> dict[str, Any]:
    account = _account()
    return {"user": account} if account else {}


def _account() -> str | None:
    """PostgreSQL refuses to run as root, so then it runs as an account that may do little."""
    if os.geteuid() != 0:
        return None
    names = {each.pw_name for each in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@contextlib.contextmanager
def postgres_folder() -> Iterator[Path]:
    """A folder for servers, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="escala-postgres-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def postgres_server(*, own_system: bool = False, **settings: str | int) -> Iterator[PostgresServer]:
    """A running server in a folder that its account can reach, both gone afterwards.

    Settings are by name: `postgres_server(wal_level="logical", max_prepared_transactions=20)`.
    """
    with postgres_folder() as folder:
        server = PostgresServer(folder, settings, own_system=own_system)
        server.start()
        try:
            yield server
        finally:
            server.stop()
