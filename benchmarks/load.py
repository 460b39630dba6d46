"""Put a server under load with wrk and read its report, errors first."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.report import BenchmarkError

if TYPE_CHECKING:
    from pathlib import Path

CONNECTIONS = 64
TIMEOUT = 2  # seconds after which an answer on loopback counts as an error
_TIME = r"([\d.]+)(us|ms|s|m)"
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 60e3}


@dataclass(frozen=True, kw_only=True)
class Load:
    """What one wrk run saw: latencies in milliseconds, errors of every kind in one count.

    `in_flight` is the rate times the mean latency: how many connections really took part. wrk
    keeps no record of a request that is never answered, but here it is missing.
    """

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int
    in_flight: float
    connections: int = CONNECTIONS
    cpu_s: float = 0.0


def find_wrk() -> str:
    """Return the path of wrk, or say plainly that it is missing."""
    path = shutil.which("wrk")
    if path is None:
        raise BenchmarkError(
            "wrk is not installed (Debian: apt-get install wrk); nothing can be measured"
        )
    return path


def fire(
    url: str, *, seconds: float, connections: int = CONNECTIONS, script: Path | None = None
) -> Load:
    """Send as many requests as the server answers for `seconds`, rounded up to a whole second."""
    whole = max(1, round(seconds))
    command = [find_wrk(), "-t1", f"-c{connections}", f"-d{whole}s", "--latency"]
    command += ["--timeout", f"{TIMEOUT}s"]
    if script is not None:
        command += ["-s", str(script)]
    before = _children_cpu()
    done = subprocess.run(
        [*command, url], capture_output=True, text=True, timeout=whole + 30, check=False
    )
    if done.returncode != 0:
        raise BenchmarkError(f"wrk failed on {url}: {(done.stderr or done.stdout).strip()}")
    return parse(done.stdout, connections=connections, cpu_s=_children_cpu() - before)


def parse(text: str, *, connections: int = CONNECTIONS, cpu_s: float = 0.0) -> Load:
    """Read wrk's report; a report without a request count is an error."""
    total = re.search(r"(\d+) requests in", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if total is None or rate is None:
        raise BenchmarkError(f"wrk printed no figures: {text.strip()[-200:]}")
    sockets = re.search(
        r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text
    )
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = sum(map(int, sockets.groups())) if sockets else 0
    mean = re.search(rf"Latency\s+{_TIME}", text)
    return Load(
        requests=int(total[1]),
        per_second=float(rate[1]),
        in_flight=_milliseconds(mean) / 1e3 * float(rate[1]),
        p50_ms=_latency(text, 50),
        p99_ms=_latency(text, 99),
        errors=errors + (int(refused[1]) if refused else 0),
        connections=connections,
        cpu_s=cpu_s,
    )


def _latency(text: str, percent: int) -> float:
    return _milliseconds(re.search(rf"^\s+{percent}%\s+{_TIME}\s*$", text, re.MULTILINE))


def _milliseconds(found: re.Match[str] | None) -> float:
    return float(found[1]) * UNITS[found[2]] if found else 0.0


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
