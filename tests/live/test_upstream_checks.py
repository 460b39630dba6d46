"""Upstreams on real sockets: their own thread, gRPC health, DNS, forks, and a target that dies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.live.processes import Child, Gateway, children, gateway, service, stack
from tests.live.test_forks import in_a_child
from tests.servers.dns_server import DnsServer

from escala.balancing import (
    DiscoveryFailed,
    DnsTargets,
    FileTargets,
    HealthCheck,
    OutlierDetection,
    Target,
    Upstream,
)
from escala.balancing.dns_resolver import DnsResolver
from escala.balancing.grpc_probe import GrpcProbe
from escala.balancing.tcp_probe import tcp_probe
from escala.errors import WouldBlock
from escala.kernel.events import subscribe
from escala.testing import VirtualRuntime

pytestmark = pytest.mark.live


@pytest.fixture
def started() -> Iterator[list[Child]]:
    with children() as running:
        yield running


def until(condition: Callable[[], object], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def free_port() -> int:
    with socket.socket() as link:
        link.bind(("127.0.0.1", 0))
        return int(link.getsockname()[1])


def threads(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


# -- programs without an event loop


def test_a_sync_program_has_its_targets_checked(started: list[Child]) -> None:
    ports = [service(started, "a"), free_port()]
    health = HealthCheck(interval="50ms", timeout="500ms")
    upstream = Upstream("sync", [f"127.0.0.1:{port}" for port in ports], health=health)
    with upstream:
        until(lambda: upstream.targets[0].healthy)
        until(lambda: upstream.targets[1].state.value == "unhealthy")
        assert {upstream.pick().port for _ in range(10)} == {ports[0]}
        assert threads("sync-checks")[0].daemon
        with pytest.raises(RuntimeError, match="open already"), upstream:
            pass
        started[0].process.kill()
        until(lambda: not upstream.ready)
    assert not threads("sync-checks")
    with upstream:
        assert threads("sync-checks"), "it may be opened again"
    assert not threads("sync-checks")


def test_without_anything_to_watch_no_thread_is_started() -> None:
    with Upstream("bare", ["a:1"]) as upstream:
        assert upstream.pick().host == "a"
        assert not threads("bare-checks")


def test_inside_a_loop_the_async_form_is_asked_for() -> None:
    upstream = Upstream("sync", ["a:1"], health=HealthCheck())

    async def main() -> None:
        with pytest.raises(WouldBlock, match="use `async with`"), upstream:
            pass

    asyncio.run(main())
    world = VirtualRuntime()

    async def virtual() -> None:
        def inside() -> None:
            with pytest.raises(RuntimeError, match="virtual time has no threads"), upstream:
                pass

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()

    world.run(virtual())
    world.close()


def test_a_file_is_watched_in_a_sync_program(tmp_path: Path) -> None:
    path = tmp_path / "targets"
    path.write_text("a:1\n")
    with Upstream("file", FileTargets(path, interval="20ms")) as upstream:
        assert [target.address for target in upstream.targets] == ["a:1"]
        path.with_suffix(".new").write_text("a:1\nb:1\n")
        path.with_suffix(".new").rename(path)
        until(lambda: len(upstream.targets) == 2)


# -- forks


def test_a_forked_child_has_no_calls_in_flight_and_its_own_checks(started: list[Child]) -> None:
    port = service(started, "a")
    health = HealthCheck(interval="50ms")
    upstream = Upstream("forked", [f"127.0.0.1:{port}"], balance="least_connections", health=health)
    with upstream:
        until(lambda: upstream.ready)
        held = [upstream.pick() for _ in range(3)]

        def child() -> object:
            before = held[0].in_flight
            upstream.release(held[0])  # as the block does that the fork happened in
            counts = [before, held[0].in_flight, len(threads("forked-checks"))]
            upstream.release(upstream.pick())
            until(lambda: threads("forked-checks"))
            os.kill(started[0].process.pid, 9)
            until(lambda: not upstream.targets[0].healthy, 4)
            return counts

        assert in_a_child(child) == "[0, 0, 0]"
        assert held[0].in_flight == 3
        for target in held:
            upstream.release(target)
        until(lambda: not upstream.ready)


def test_a_fork_in_the_middle_of_a_pick_leaves_the_child_free() -> None:
    upstream = Upstream("forked", ["a:1", "b:1"])
    inside, out = threading.Event(), threading.Event()

    def hold() -> None:
        with upstream._lock:
            inside.set()
            out.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(10)
    try:
        assert in_a_child(lambda: upstream.pick().host) == "'a'"
    finally:
        out.set()
        thread.join()


# -- probes


def test_a_tcp_check_connects_and_no_more() -> None:
    heard: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heard.append(await reader.read())
        except ConnectionError:
            heard.append(b"")
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            assert await tcp_probe(Target(f"127.0.0.1:{port}"))
            async with asyncio.timeout(5):
                while not heard:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        assert heard == [b""]
        assert not await tcp_probe(Target(f"127.0.0.1:{port}"))
        assert not await tcp_probe(Target("a" * 70 + ".invalid:80"))

    asyncio.run(main())


class Health(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """`grpc.health.v1.Health`, by hand."""

    def __init__(self) -> None:
        self.statuses = {"": 1, "shop.Cart": 1}
        self.asked: list[str] = []
        self.delay = 0.0

    def service(self, details: Any) -> Any:
        if details.method != "/grpc.health.v1.Health/Check":
            return None
        return grpc.unary_unary_rpc_method_handler(self.check)

    def check(self, request: bytes, context: Any) -> bytes:
        time.sleep(self.delay)
        name = request[2:].decode()
        self.asked.append(name)
        if name not in self.statuses:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return b"\x08" + bytes([self.statuses[name]]) if self.statuses[name] else b""


@pytest.fixture
def grpc_health() -> Iterator[tuple[Health, str]]:
    health = Health()
    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[health])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield health, f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_a_grpc_server_is_asked_by_its_own_protocol(grpc_health: tuple[Health, str]) -> None:
    health, address = grpc_health

    async def asked(service: str = "") -> bool:
        return await GrpcProbe(service=service)(Target(address))

    async def main() -> None:
        assert await asked()
        assert await asked("shop.Cart")
        assert not await asked("shop.Unknown")
        for status in (0, 2, 3):  # UNKNOWN, NOT_SERVING, SERVICE_UNKNOWN
            health.statuses["shop.Cart"] = status
            assert not await asked("shop.Cart")
        assert health.asked == ["", "shop.Cart", "shop.Unknown", *["shop.Cart"] * 3]
        assert not await GrpcProbe()(Target(f"127.0.0.1:{free_port()}"))

    asyncio.run(main())


def test_a_grpc_check_takes_a_server_out_and_back(grpc_health: tuple[Health, str]) -> None:
    health, address = grpc_health
    check = HealthCheck(kind="grpc", service="shop.Cart", interval="20ms", timeout="300ms")
    with Upstream("grpc", [address], health=check) as upstream:
        until(lambda: upstream.ready)
        health.statuses["shop.Cart"] = 2
        until(lambda: not upstream.ready)
        health.statuses["shop.Cart"] = 1
        until(lambda: upstream.ready)
        health.delay = 1.0
        until(lambda: not upstream.ready)
        health.delay = 0.0


# -- DNS


def test_targets_follow_a_real_dns_server() -> None:
    told: list[DiscoveryFailed] = []
    stop = subscribe(DiscoveryFailed, told.append)
    try:
        with DnsServer() as dns:
            dns.records["shop.test", "A"] = ["10.0.0.1", "10.0.0.2"]
            resolver = DnsResolver("127.0.0.1", port=dns.port)
            found = DnsTargets("shop.test:8080", interval="50ms", resolver=resolver)
            found.again = 0.05
            with Upstream("dns", found) as upstream:
                hosts = {target.address for target in upstream.targets}
                assert hosts == {"10.0.0.1:8080", "10.0.0.2:8080"}
                held = upstream.pick()
                dns.broken = True
                until(lambda: told)
                assert len(upstream.targets) == 2, "the last answer stays"
                dns.broken = False
                dns.records["shop.test", "A"] = ["10.0.0.3"]
                until(lambda: [target.host for target in upstream.targets] == ["10.0.0.3"])
                upstream.release(held)
                dns.records.clear()
                until(lambda: len(told) > 1)
                assert [target.host for target in upstream.targets] == ["10.0.0.3"]
    finally:
        stop()


def test_srv_and_ipv6_from_a_real_dns_server() -> None:
    async def main() -> None:
        with DnsServer() as dns:
            dns.records["_http._tcp.shop.test", "SRV"] = [
                "0 3 8080 a.shop.test.",
                "1 0 8081 b.shop.test.",
            ]
            dns.records["six.test", "AAAA"] = ["fd00::1"]
            resolver = DnsResolver("127.0.0.1", port=dns.port, timeout=3.0)
            found = await DnsTargets("_http._tcp.shop.test", resolver=resolver).look()
            listed = [each for each in found.targets if not isinstance(each, str)]
            assert [(each.url, each.weight, each.priority) for each in listed] == [
                ("http://b.shop.test:8081", 1, 1),
                ("http://a.shop.test:8080", 3, 0),
            ]
            assert found.seconds == 1.0
            dns.ttl = 300
            found = await DnsTargets("six.test:80", resolver=resolver).look()
            listed = [each for each in found.targets if not isinstance(each, str)]
            assert [each.url for each in listed] == ["http://[fd00::1]:80"]
            assert found.seconds == 300.0

    asyncio.run(main())


# -- a target that dies


async def _load(port: int, seconds: float, rate: int, killing: Callable[[], None]) -> Counter[int]:
    """GETs at this rate on kept connections; what they answered."""
    statuses = Counter[int]()
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    loop = asyncio.get_running_loop()

    async def one() -> None:
        reader, writer = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /name HTTP/1.1\r\nHost: test\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        statuses[int(head.split(b" ")[1])] += 1
        idle.append((reader, writer))

    began, tasks, killed = loop.time(), set[asyncio.Task[None]](), False
    for number in range(int(seconds * rate)):
        await asyncio.sleep(max(0.0, began + number / rate - loop.time()))
        tasks.add(task := loop.create_task(one()))
        task.add_done_callback(tasks.discard)
        if not killed and number > seconds * rate / 3:
            killed = True
            killing()
    while tasks:
        await asyncio.gather(*tasks)
    for _, writer in idle:
        writer.close()
    return statuses


def test_a_killed_target_costs_no_get_at_a_thousand_a_second(
    started: list[Child], tmp_path: Path
) -> None:
    ports = [service(started, name) for name in "abc"]
    values = stack(
        ports,
        [{"retry": {"attempts": 3, "budget": "20%"}}, {"timeout": "2s"}],
        upstream_health={"path": "/health", "interval": "200ms", "timeout": "500ms"},
        upstream_outliers={"in_a_row": 5},
        upstream_balance="least_connections",
    )
    front = gateway(started, tmp_path, values)
    until(lambda: all(target["healthy"] for target in _targets(front)))
    statuses = asyncio.run(_load(front.port, 2.0, 1000, started[0].process.kill))
    assert statuses == {200: 2000}
    until(lambda: [target["healthy"] for target in _targets(front)] == [False, True, True])


def _targets(front: Gateway) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = front.status()["upstreams"]["shop"]["targets"]
    return found


def test_the_gateway_follows_a_file_and_ejects_who_answers_badly(
    started: list[Child], tmp_path: Path
) -> None:
    ports = [service(started, name) for name in "abc"]
    listed = tmp_path / "shop.targets"
    listed.write_text(f"127.0.0.1:{ports[0]}\n127.0.0.1:{ports[1]}\n")
    values = stack(
        [],
        upstream_discovery={"file": {"path": str(listed), "interval": "50ms"}},
        upstream_outliers={"in_a_row": 3, "ejection": "60s"},
        upstream_balance="consistent_hash",
        upstream_hash_on="header:x-user",
        explain=True,
    )
    values["upstreams"]["shop"].pop("targets")
    front = gateway(started, tmp_path, values)
    until(lambda: len(_targets(front)) == 2)
    names = {user: front.get("/name", X_User=user).body for user in map(str, range(20))}
    assert set(names.values()) == {b"a", b"b"}
    assert all(front.get("/name", X_User=user).body == names[user] for user in names)
    fresh = tmp_path / "fresh"
    fresh.write_text(f"127.0.0.1:{ports[1]}\n127.0.0.1:{ports[2]}\n")
    fresh.rename(listed)
    until(lambda: {t["address"] for t in _targets(front)} == {f"127.0.0.1:{p}" for p in ports[1:]})
    after = {user: front.get("/name", X_User=user).body for user in names}
    assert set(after.values()) == {b"b", b"c"}
    user = next(user for user, name in after.items() if name == b"c")
    for _ in range(3):
        assert front.get("/status?code=500", X_User=user).status == 500
    assert front.get("/name", X_User=user).body == b"b"
    (bad,) = (target for target in _targets(front) if target["ejected"])
    assert (bad["address"], bad["failures"], bad["ejections"]) == (f"127.0.0.1:{ports[2]}", 3, 1)
    events = front.status()["events"]
    assert [event["detail"]["reason"] for event in events if event["type"] == "outlier"] == [
        "3 calls in a row failed"
    ]
    assert [event["detail"]["came"] for event in events if event["type"] == "discovery"] == [
        [f"127.0.0.1:{port}" for port in ports[:2]],
        [f"127.0.0.1:{ports[2]}"],
    ]
    front.wait_for(r"outlier: shop target=\S+ seconds=60.0 reason=3 calls in a row failed")
    # A new gateway takes over when its own discovery has looked.
    values["upstreams"]["shop"]["connect_timeout"] = "1s"
    front.path.write_text(json.dumps(values))
    front.process.send_signal(signal.SIGHUP)
    statuses = Counter[int]()
    while not any("generation 2" in line for line in front.lines):
        statuses[front.get("/name").status] += 1
    statuses[front.get("/name").status] += 1
    assert set(statuses) == {200}


def test_outliers_and_checks_of_a_sync_program_agree(started: list[Child]) -> None:
    ports = [service(started, name) for name in "ab"]
    upstream = Upstream(
        "both",
        [f"127.0.0.1:{port}" for port in ports],
        health=HealthCheck(interval="50ms"),
        outliers=OutlierDetection(in_a_row=2),
    )
    with upstream:
        until(lambda: all(target.healthy for target in upstream.targets))
        victim = upstream.targets[0]
        for _ in range(2):
            target = upstream.pick([upstream.targets[1]])
            upstream.release(target, ok=False)
        assert (victim.ejected, victim.healthy) == (True, True)
        assert {upstream.pick() for _ in range(10)} == {upstream.targets[1]}
