"""httpx clients over three real servers, one of which is killed in the middle of the traffic."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from tests.live.processes import Child, children, service

from escala import ConsistentHash, HealthCheck, Retry, Upstream
from escala.adapters import BalancedTransport, HttpxTransport
from escala.balancing import Balancer
from escala.errors import NoHealthyBackend

pytestmark = pytest.mark.live

BEFORE, IN_ALL = 200, 700  # requests answered before the kill, and altogether
URL = "http://shop.test/name"


@pytest.fixture
def started() -> Iterator[list[Child]]:
    with children() as running:
        yield running


def shop(ports: list[int], balance: Balancer | str) -> Upstream:
    health = HealthCheck(interval="100ms", timeout="2s")
    return Upstream("shop", [f"127.0.0.1:{port}" for port in ports], balance=balance, health=health)


def transport(upstream: Upstream) -> HttpxTransport:
    """Every user in turn, whom consistent hashing sends to one target and others wherever."""
    balanced = BalancedTransport(upstream, key=lambda request: request.headers["x-user"])
    retry = Retry(attempts=3, base=0.01, cap=0.05, budget=None)
    return HttpxTransport(retry, balanced, atransport=balanced)


def check(upstream: Upstream, answers: list[tuple[int, str]]) -> None:
    assert Counter(status for status, _ in answers) == {200: IN_ALL}
    assert {name for _, name in answers} == {"a", "b", "c"}
    assert [target.in_flight for target in upstream.targets] == [0, 0, 0]
    assert [target.healthy for target in upstream.targets] == [True, False, True]
    killed = upstream.targets[1]
    assert killed.requests > 20
    assert killed.failures < 40, "it was out after a few refused connections"


@pytest.mark.parametrize("balance", ["least_connections", "peak_ewma"])
def test_no_get_fails_when_one_of_three_is_killed_async(started: list[Child], balance: str) -> None:
    ports = [service(started, name) for name in "abc"]
    answers: list[tuple[int, str]] = []

    async def caller(client: httpx.AsyncClient, numbers: Iterator[int]) -> None:
        for number in numbers:
            if number == BEFORE:
                started[1].process.send_signal(signal.SIGKILL)
            answer = await client.get(URL, headers={"X-User": str(number)})
            answers.append((answer.status_code, answer.text))

    async def main() -> Upstream:
        upstream = shop(ports, balance)
        async with upstream, httpx.AsyncClient(transport=transport(upstream)) as client:
            numbers = iter(range(IN_ALL))
            await asyncio.gather(*[caller(client, numbers) for _ in range(12)])
        return upstream

    check(asyncio.run(main()), answers)


@pytest.mark.parametrize("balance", ["round_robin", ConsistentHash()], ids=str)
def test_no_get_fails_when_one_of_three_is_killed_in_threads(
    started: list[Child], balance: Balancer | str
) -> None:
    ports = [service(started, name) for name in "abc"]
    upstream = shop(ports, balance)
    answers: list[tuple[int, str]] = []

    def caller(client: httpx.Client, numbers: Iterator[int]) -> None:
        for number in numbers:
            if number == BEFORE:
                started[1].process.send_signal(signal.SIGKILL)
            answer = client.get(URL, headers={"X-User": str(number)})
            answers.append((answer.status_code, answer.text))

    with upstream, httpx.Client(transport=transport(upstream)) as client:
        numbers = iter(range(IN_ALL))  # shared: `next` of it is one step
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(caller, [client] * 6, [numbers] * 6))
    check(upstream, answers)


def test_a_target_that_is_started_again_gets_requests_again(started: list[Child]) -> None:
    ports = [service(started, name) for name in "ab"]
    upstream = shop(ports, "round_robin")
    with upstream, httpx.Client(transport=transport(upstream)) as client:

        def names(count: int) -> set[str]:
            return {client.get(URL, headers={"X-User": "7"}).text for _ in range(count)}

        assert names(4) == {"a", "b"}
        started[1].stop(signal.SIGKILL)
        assert names(20) == {"a"}
        service(started, "b again", ports[1])
        until = time.monotonic() + 5.0
        while not all(target.healthy for target in upstream.targets):
            assert time.monotonic() < until
            time.sleep(0.02)
        assert names(4) == {"a", "b again"}


def test_a_streamed_body_holds_its_target_until_it_ends(started: list[Child]) -> None:
    upstream = Upstream("shop", [f"127.0.0.1:{service(started, 'a')}"])
    (target,) = upstream.targets
    client = httpx.Client(transport=BalancedTransport(upstream))
    with client, client.stream("GET", "http://shop.test/drip?n=3") as answer:
        assert target.in_flight == 1
        assert b"".join(answer.iter_raw()) == b"000102"
        assert target.in_flight == 0
    with httpx.Client(transport=BalancedTransport(upstream)) as other:
        with pytest.raises(httpx.RemoteProtocolError):
            other.get("http://shop.test/half")
        with other.stream("GET", "http://shop.test/drip?n=99"):
            assert target.in_flight == 1
    assert (target.in_flight, target.requests, target.failures) == (0, 3, 1)


def test_the_host_is_that_of_the_service(started: list[Child]) -> None:
    upstream = Upstream("shop", [f"127.0.0.1:{service(started, 'a')}"])
    with httpx.Client(transport=BalancedTransport(upstream)) as client:
        seen = client.get("http://shop.test:8080/head").text
    assert "host: shop.test:8080" in seen.lower()


def test_when_all_are_gone_the_caller_is_told(started: list[Child]) -> None:
    upstream = shop([service(started, "a")], "p2c")
    gone = threading.Event()
    with upstream, httpx.Client(transport=transport(upstream)) as client:
        assert client.get(URL, headers={"X-User": "7"}).status_code == 200
        started[0].stop(signal.SIGKILL)
        until = time.monotonic() + 5.0
        while not gone.is_set():
            assert time.monotonic() < until
            try:
                client.get(URL, headers={"X-User": "7"})
            except httpx.ConnectError:
                gone.wait(0.05)
            except NoHealthyBackend:
                gone.set()
