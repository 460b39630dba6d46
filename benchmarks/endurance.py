"""Watch one worker's memory over a million requests and over a gigabyte in each direction."""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from benchmarks import proxies
from benchmarks.byte_server import PAUSE, PAUSE_AT, PIECE, Check, pattern
from benchmarks.gateway import FEWEST
from benchmarks.load import CONNECTIONS, fire
from benchmarks.processes import MB, Server, Servers, free_ports, growth, read_stat
from benchmarks.progress import say
from benchmarks.proxies import Ports
from benchmarks.report import BenchmarkError, Goal, Report

if TYPE_CHECKING:
    from types import TracebackType

GOALS = {
    "endurance.requests": Goal(least=1_000_000),
    "endurance.rss_growth_mb": Goal(most=1),
    "endurance.upload_growth_mb": Goal(most=20),
    "endurance.download_growth_mb": Goal(most=20),
}
REQUESTS, QUICK_REQUESTS = 1_000_000, 30_000
BYTES, QUICK_BYTES = 1_000_000_000, 150_000_000
WARM_UP = 0.1  # share of the requests that go first: until then pools and caches fill
SLICE = 5.0
LONGEST = 480.0  # seconds the requests may take in all
STALL = 60.0  # seconds without a byte after which a stream has failed

# Every request names another page: whatever is kept per URL would show as growth.
SCRIPT = """
local count = 0
request = function()
  count = count + 1
  return wrk.format("GET", "/item/" .. os.time() .. "/" .. count .. "?page=" .. count % 97)
end
"""


@dataclass
class Watch:
    """Sample a server's processes on a thread of its own; `growth` is the most that one grew."""

    server: Server
    growth: float = 0.0
    _before: dict[int, float] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Read the memory before, then every 20 ms."""
        self._before = self.server.memory()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop sampling."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(0.02):
            now = {pid: stat.rss / MB for pid in self._before if (stat := read_stat(pid))}
            self.growth = max(self.growth, growth(self._before, now))


def measure(*, quick: bool) -> Report:
    """Run both parts, each on a worker of its own."""
    report = Report()
    parts = (
        (_requests, QUICK_REQUESTS if quick else REQUESTS),
        (_streams, QUICK_BYTES if quick else BYTES),
    )
    for part, amount in parts:
        try:
            with Servers() as servers:
                part(servers, amount, report)
        except BenchmarkError as error:
            report.problems.append(str(error))
    return report


def _requests(servers: Servers, wanted: int, report: Report) -> None:
    """Send at least `wanted` requests and compare the memory after with that before."""
    behind, listen, admin = free_ports(3)
    proxies.start_upstream(servers, behind, report)
    escala = proxies.start_escala(servers, Ports(listen=listen, admin=admin, upstream=behind))
    proxies.until_ready(escala, listen)
    script = servers.folder / "pages.lua"
    script.write_text(SCRIPT, encoding="utf-8")
    url = f"http://127.0.0.1:{listen}/"
    began = time.monotonic()
    warm = 0
    while warm < wanted * WARM_UP and time.monotonic() - began < LONGEST:
        warm += fire(url, seconds=min(SLICE, wanted / 20_000), script=script).requests
    say(f"{warm:,} requests to warm up, worker {escala.rss_mb():.1f} MB")
    before, first = escala.memory(), escala.rss_mb()
    sent, errors, fewest, middle = 0, 0, math.inf, before
    while sent < wanted and time.monotonic() - began < LONGEST:
        load = fire(url, seconds=min(SLICE, wanted / 20_000), script=script)
        sent += load.requests
        errors += load.errors
        fewest = min(fewest, load.in_flight)
        if sent < wanted / 2:
            middle = escala.memory()
        say(f"{sent:,} of {wanted:,} requests, worker {escala.rss_mb():.1f} MB")
    after = escala.memory()
    if after.keys() != before.keys():
        report.problems.append("a worker died and was replaced; its growth means nothing")
    if fewest < CONNECTIONS * FEWEST:
        report.problems.append(
            f"at worst about {fewest:.0f} of {CONNECTIONS} connections got answers"
        )
    if errors:
        report.problems.append(f"{errors} of {sent} requests failed")
    report.metrics |= {
        "endurance.requests": sent,
        "endurance.errors": errors,
        "endurance.rss_before_mb": first,
        "endurance.rss_after_mb": escala.rss_mb(),
        "endurance.rss_growth_mb": growth(before, after),
        "endurance.rss_growth_second_half_mb": growth(middle, after),
    }


def _streams(servers: Servers, size: int, report: Report) -> None:
    """Send and fetch `size` bytes through the worker; each reader stops once on the way."""
    behind, listen, admin = free_ports(3)
    upstream = proxies.start_byte_server(servers, behind)
    proxies.until_ready(upstream, behind, path="/bytes/10", body=None)
    ports = Ports(listen=listen, admin=admin, upstream=behind)
    escala = proxies.start_escala(servers, ports, deadline="300s")
    proxies.until_ready(escala, listen, path="/bytes/1000", body=None)
    for name, stream in (("download", _download), ("upload", _upload)):
        stream(listen, PIECE)
        cpu, began = escala.cpu_seconds(), time.monotonic()
        with Watch(escala) as watch:
            stream(listen, size)
        took = time.monotonic() - began - PAUSE
        say(f"{name} of {size / 1e6:,.0f} MB: {watch.growth:.1f} MB growth")
        report.metrics |= {
            f"endurance.{name}_growth_mb": watch.growth,
            f"endurance.{name}_mb": size / 1e6,
            f"endurance.{name}_mb_per_s": size / 1e6 / took,
            f"endurance.{name}_mb_per_cpu_s": size / 1e6 / max(escala.cpu_seconds() - cpu, 0.01),
        }


def _download(port: int, size: int) -> None:
    check = Check()
    with _request(port, f"GET /bytes/{size} HTTP/1.1\r\nHost: bench\r\n\r\n") as connection:
        status, rest = _head(connection)
        check.feed(rest)
        while check.seen < size and (data := connection.recv(PIECE)):
            before = check.seen
            check.feed(data)
            if before < PAUSE_AT <= check.seen:
                threading.Event().wait(PAUSE)
    if status != 200 or check.seen != size or not check.right:
        raise BenchmarkError(
            f"download: status {status}, {check.seen} of {size} bytes, right: {check.right}"
        )


def _upload(port: int, size: int) -> None:
    head = f"POST /upload HTTP/1.1\r\nHost: bench\r\nContent-Length: {size}\r\n\r\n"
    with _request(port, head) as connection:
        sent = 0
        try:
            while sent < size:
                piece = pattern(sent, min(PIECE, size - sent))
                connection.sendall(piece)
                sent += len(piece)
        except OSError as error:
            raise BenchmarkError(
                f"upload: stopped after {sent} of {size} bytes: {error}{_last_words(connection)}"
            ) from error
        status, rest = _head(connection)
    found = json.loads(rest) if status == 200 else {}
    if found != {"bytes": size, "right": True}:
        raise BenchmarkError(
            f"upload: status {status}, the upstream saw {found or rest[:200]!r} of {size} bytes"
        )


def _request(port: int, head: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=STALL)
    connection.sendall(head.encode("latin-1"))
    return connection


def _head(connection: socket.socket) -> tuple[int, bytes]:
    """Read an answer's head; return the status and what of a short body came with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(PIECE)
        if not piece:
            raise BenchmarkError(
                f"the connection closed before an answer; {len(data)} bytes of its head came"
            )
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    length = next(
        (line.split(":")[1] for line in lines if line.lower().startswith("content-length:")), "0"
    )
    while len(rest) < min(int(length), 1000):
        piece = connection.recv(PIECE)
        if not piece:
            break
        rest += piece
    return int(lines[0].split()[1]), rest


def _last_words(connection: socket.socket) -> str:
    """Read why a server closed an upload early, when it said so."""
    try:
        return f"; it answered {connection.recv(300)[:120]!r}"
    except OSError:
        return ""
