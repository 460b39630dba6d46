"""Start the servers under test, read what they cost, and never leave one behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from benchmarks.report import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
MB = 1_000_000
PATIENCE = 8.0  # seconds a process gets to end by itself


@dataclass(frozen=True)
class Stat:
    """The few fields of one process that a benchmark reads."""

    pid: int
    parent: int
    started: int
    cpu: float
    rss: int


def read_stat(pid: int) -> Stat | None:
    """Read one process's figures, or None when it is gone."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name in parentheses may hold spaces, so fields count from the last one.
    rest = line[line.rindex(")") + 2 :].split()
    cpu = (int(rest[11]) + int(rest[12])) / TICKS
    return Stat(pid, int(rest[1]), int(rest[19]), cpu, int(rest[21]) * PAGE)


def tree(root: int) -> list[Stat]:
    """List a process and everything that descends from it."""
    everyone = [
        stat for entry in Path("/proc").glob("[0-9]*") if (stat := read_stat(int(entry.name)))
    ]
    found = [stat for stat in everyone if stat.pid == root]
    family = {root}
    for _ in everyone:
        more = [stat for stat in everyone if stat.parent in family and stat.pid not in family]
        if not more:
            break
        family.update(stat.pid for stat in more)
        found += more
    return found


def machine_busy() -> float:
    """Return the CPU seconds the whole machine has worked, to show what others took."""
    fields = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / TICKS


def free_ports(count: int) -> list[int]:
    """Pick loopback ports that nothing listens on; all are held until all are chosen."""
    with contextlib.ExitStack() as held:
        ports = []
        for _ in range(count):
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
        return ports


def growth(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    """Return how much the process that grew most has grown; those that came later do not count."""
    return max((after[pid] - before[pid] for pid in before.keys() & after.keys()), default=0.0)


@dataclass
class Server:
    """One started server: its costs are those of its whole tree of processes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def cpu_seconds(self) -> float:
        """Return user plus system time of the tree so far."""
        return sum(stat.cpu for stat in tree(self.process.pid))

    def pids(self) -> set[int]:
        """Return the tree's process ids, to notice a worker that died and came back."""
        return {stat.pid for stat in tree(self.process.pid)}

    def memory(self) -> dict[int, float]:
        """Return the resident megabytes of each process of the tree."""
        return {stat.pid: stat.rss / MB for stat in tree(self.process.pid)}

    def rss_mb(self) -> float:
        """Return the resident megabytes of the worker: the largest child, else the only process."""
        memory = self.memory()
        root = memory.pop(self.process.pid, 0.0)
        return max(memory.values(), default=root)

    def tail(self) -> str:
        """Return the last words of a server that would not start."""
        text = self.log.read_text(encoding="utf-8", errors="replace").strip()
        return " | ".join(text.splitlines()[-3:]) or "it said nothing"


@dataclass
class Servers:
    """Hold every server of a run and the folder of their files; both go when the block ends."""

    folder: Path = field(init=False)
    running: list[Server] = field(default_factory=list)
    _folder: tempfile.TemporaryDirectory[str] = field(init=False)

    def __enter__(self) -> Self:
        """Make the folder."""
        self._folder = tempfile.TemporaryDirectory(prefix="escala-bench-")
        self.folder = Path(self._folder.name)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every process, newest first, also when the run was interrupted."""
        # A second Ctrl-C must not leave behind what the first one set out to end.
        usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            _end(self.running)
        finally:
            self._folder.cleanup()
            signal.signal(signal.SIGINT, usual)

    def start(self, name: str, command: Sequence[str]) -> Server:
        """Start `command` in a session of its own, so that a Ctrl-C reaches only the runner."""
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    cwd=self.folder,
                )
            except OSError as error:
                raise BenchmarkError(f"{name} could not be started: {error}") from error
        server = Server(name, process, log)
        self.running.append(server)
        return server


def _end(servers: Sequence[Server]) -> None:
    """Ask every root to stop; kill by id whatever of their trees is left when time is up."""
    family = [member for server in servers for member in tree(server.process.pid)]
    for server in servers:
        server.process.terminate()
    for server in servers:
        try:
            server.process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()
    roots = {server.process.pid for server in servers}
    for member in family:
        now = read_stat(member.pid)
        # The start time tells a survivor from a stranger that was given its id.
        if member.pid not in roots and now and now.started == member.started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member.pid, signal.SIGKILL)
