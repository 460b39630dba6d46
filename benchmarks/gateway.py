"""Compare one worker of each proxy on the same traffic, in rounds that take turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import proxies
from benchmarks.byte_server import PAGE
from benchmarks.calls import rotated
from benchmarks.load import Load, find_wrk, fire
from benchmarks.processes import Server, Servers, free_ports, machine_busy
from benchmarks.progress import say
from benchmarks.proxies import AbsentError, Ports
from benchmarks.report import BenchmarkError, Goal, Report

if TYPE_CHECKING:
    from collections.abc import Sequence


GOALS = {
    "gateway.escala.req_per_cpu_s": Goal(least=12_000),
    "gateway.ratio_to_envoy": Goal(least=1.2),
    "gateway.ratio_to_nginx": Goal(least=0.25),
    "gateway.rss_mb": Goal(most=45),
}
ROUNDS, SECONDS = 5, 4.0
QUICK_ROUNDS, QUICK_SECONDS = 2, 1.0
WARM_UP = 1.0
FEWEST = 0.7  # share of the connections that must be at work: a starved one is never answered

Start = Callable[[Servers, Ports], Server]
PROXIES: dict[str, Start] = {
    "escala": proxies.start_escala,
    "envoy": proxies.start_envoy,
    "nginx": proxies.start_nginx,
    "pyproxy": proxies.start_pyproxy,
}
# The text by which a proxy's own figures show that its limiter saw the traffic.
PROOF = {
    "escala": ("/metrics", "escala_requests_total"),
    "envoy": ("/stats?filter=limit", "http_local_rate_limit"),
}


@dataclass(frozen=True)
class Window:
    """One proxy's few seconds in one round."""

    load: Load
    cpu_s: float
    others: float

    @property
    def per_cpu_s(self) -> float:
        """Return requests answered per second of the proxy's own CPU time."""
        return self.load.requests / self.cpu_s if self.cpu_s else 0.0


@dataclass
class Contestant:
    """One proxy under test with its windows, by round."""

    name: str
    server: Server
    ports: Ports
    windows: dict[int, Window] = field(default_factory=dict)
    errors: int = 0


def measure(*, quick: bool) -> Report:
    """Run every proxy that this machine has in each round, the order moved on by one."""
    rounds, seconds = (QUICK_ROUNDS, QUICK_SECONDS) if quick else (ROUNDS, SECONDS)
    report = Report()
    find_wrk()
    with Servers() as servers:
        [port] = free_ports(1)
        upstream = proxies.start_upstream(servers, port, report)
        contestants = _enter(servers, port, report)
        for number in range(rounds):
            for contestant in rotated(contestants, number):
                _window(contestant, upstream, number, seconds, report)
            _progress(number, rounds, contestants)
        summarise({one.name: one.windows for one in contestants}, report)
        for contestant in contestants:
            _prove(contestant, report)
            report.metrics[f"gateway.{contestant.name}.errors"] = contestant.errors
            report.metrics[f"gateway.{contestant.name}.rss_mb"] = contestant.server.rss_mb()
    if "gateway.escala.rss_mb" in report.metrics:
        report.metrics["gateway.rss_mb"] = report.metrics["gateway.escala.rss_mb"]
    return report


def summarise(windows: dict[str, dict[int, Window]], report: Report) -> None:
    """Turn windows into medians with ranges, and ratios taken inside each round."""
    for name, own in windows.items():
        report.spread(f"gateway.{name}.req_per_cpu_s", [one.per_cpu_s for one in own.values()])
        report.spread(f"gateway.{name}.rps", [one.load.per_second for one in own.values()])
        report.spread(f"gateway.{name}.p50_ms", [one.load.p50_ms for one in own.values()])
        report.spread(f"gateway.{name}.p99_ms", [one.load.p99_ms for one in own.values()])
    ours = windows.get("escala", {})
    for peer in [name for name in windows if name != "escala"]:
        theirs = windows[peer]
        both = sorted(ours.keys() & theirs.keys())
        report.spread(
            f"gateway.ratio_to_{peer}",
            [ours[number].per_cpu_s / theirs[number].per_cpu_s for number in both],
        )
    others = [one.others for own in windows.values() for one in own.values()]
    if others:
        report.metrics["gateway.other_cores"] = median(others)


def faults(load: Load, *, same_processes: bool) -> str:
    """Say what makes a window worthless, or nothing."""
    if load.errors:
        return f"{load.errors} errors"
    if load.in_flight < load.connections * FEWEST:
        return f"answers on about {load.in_flight:.0f} of {load.connections} connections only"
    return "" if same_processes else "a process that died"


def _enter(servers: Servers, upstream: int, report: Report) -> list[Contestant]:
    """Start each proxy and let in those that answer with the upstream's bytes."""
    contestants = []
    for name, start in PROXIES.items():
        listen, admin = free_ports(2)
        ports = Ports(listen=listen, admin=admin, upstream=upstream)
        try:
            server = start(servers, ports)
            proxies.until_ready(server, listen)
            fire(_url(ports), seconds=WARM_UP)
        except AbsentError as error:
            report.absent[name] = str(error)
        except BenchmarkError as error:
            if name == "escala":
                report.problems.append(str(error))
            else:
                report.absent[name] = str(error)
        else:
            contestants.append(Contestant(name, server, ports))
            say(f"{name}: answers with the upstream's {len(PAGE):,} bytes")
    return contestants


def _window(one: Contestant, upstream: Server, number: int, seconds: float, report: Report) -> None:
    """Measure one window; one with any error in it is told and not counted."""
    pids = one.server.pids()
    busy, behind, before = machine_busy(), upstream.cpu_seconds(), one.server.cpu_seconds()
    load = fire(_url(one.ports), seconds=seconds)
    spent = one.server.cpu_seconds() - before
    ours = spent + load.cpu_s + upstream.cpu_seconds() - behind
    others = max(0.0, machine_busy() - busy - ours) / max(1, round(seconds))
    one.errors += load.errors
    fault = faults(load, same_processes=one.server.pids() == pids)
    if fault:
        report.problems.append(f"{one.name}: round {number + 1} had {fault} and is not counted")
        return
    one.windows[number] = Window(load, spent, others)


def _prove(one: Contestant, report: Report) -> None:
    """Check in the proxy's own figures that what should be armed saw the traffic."""
    if one.name not in PROOF:
        return
    path, text = PROOF[one.name]
    try:
        seen = text in proxies.read(one.ports.admin, path)
    except BenchmarkError as error:
        report.problems.append(f"{one.name}: {error}")
        return
    if not seen:
        report.problems.append(f"{one.name}: {path} does not show {text}; it is not armed")


def _progress(number: int, rounds: int, contestants: Sequence[Contestant]) -> None:
    figures = ", ".join(
        f"{one.name} {one.windows[number].per_cpu_s:,.0f}"
        for one in contestants
        if number in one.windows
    )
    say(f"round {number + 1}/{rounds}: requests per CPU second: {figures or 'none'}")


def _url(ports: Ports) -> str:
    return f"http://127.0.0.1:{ports.listen}/item"
