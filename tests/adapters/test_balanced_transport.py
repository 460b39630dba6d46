"""Requests of httpx clients over an upstream's targets, in both colours and without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any, TypeAlias

import httpx
import pytest

from escala import ConsistentHash, HealthCheck, Request, Retry, Upstream, standard
from escala.adapters import BalancedTransport, HttpxTransport
from escala.balancing import Target
from escala.errors import ConfigError, NoHealthyBackend
from escala.kernel.context import serving
from escala.kernel.policy import Policy
from escala.resilience import Hedge
from escala.testing import VirtualRuntime


class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Two parts and then the end, or an error; knows whether it was closed."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.closed = error, False

    def __str__(self) -> str:
        return f"body and {self.error!r}"

    def __iter__(self) -> Iterator[bytes]:
        yield b"green "
        if self.error is not None:
            raise self.error
        yield b"tea"

    async def __aiter__(self) -> Any:
        for part in self:
            yield part

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


class Servers(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """What each target (by its host) answers next: a status, a body or an error; 200 by default."""

    def __init__(self) -> None:
        self.script: dict[str, list[Any]] = {}
        self.asked: list[httpx.Request] = []
        self.seconds = 0.0
        self.closed = 0

    @property
    def hosts(self) -> list[str]:
        return [request.url.host for request in self.asked]

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        script = self.script.get(request.url.host, [])
        step = script.pop(0) if script else 200
        if isinstance(step, BaseException):
            raise step
        if isinstance(step, Body):
            return httpx.Response(200, stream=step)
        return httpx.Response(step, stream=Body())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(self.seconds)  # noqa: TID251  virtual here
        return self.handle_request(request)

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.closed += 1


Get: TypeAlias = "Callable[..., Awaitable[httpx.Response]]"


async def sync_get(transport: Any, url: str = "http://shop.test/tea", **more: Any) -> Any:
    return httpx.Client(transport=transport).get(url, **more)


async def async_get(transport: Any, url: str = "http://shop.test/tea", **more: Any) -> Any:
    return await httpx.AsyncClient(transport=transport).get(url, **more)


both_colours = pytest.mark.parametrize("get", [sync_get, async_get], ids=["sync", "async"])


@pytest.fixture
def world() -> Iterator[VirtualRuntime]:
    made = VirtualRuntime()
    yield made
    made.close()


@pytest.fixture
def shop() -> Upstream:
    return Upstream("shop", ["a.test:81", "b.test:82", "https://c.test"])


@pytest.fixture
def servers() -> Servers:
    return Servers()


def balanced(upstream: Upstream, servers: Servers, **more: Any) -> BalancedTransport:
    return BalancedTransport(upstream, servers, atransport=servers, **more)


def within(policy: Policy, transport: BalancedTransport) -> HttpxTransport:
    return HttpxTransport(policy, transport, atransport=transport)


def counts(upstream: Upstream) -> list[tuple[int, int, int]]:
    return [(each.requests, each.failures, each.in_flight) for each in upstream.targets]


# -- where a request goes


@both_colours
def test_each_request_goes_to_the_next_target_under_the_name_of_the_service(
    world: VirtualRuntime, get: Get, shop: Upstream, servers: Servers
) -> None:
    async def main() -> None:
        for _ in range(3):
            answer = await get(balanced(shop, servers), "http://shop.test/tea?cup=1")
            assert (answer.status_code, answer.text) == (200, "green tea")
            assert str(answer.request.url) == "http://shop.test/tea?cup=1"

    world.run(main())
    assert [str(request.url) for request in servers.asked] == [
        "http://a.test:81/tea?cup=1",
        "http://b.test:82/tea?cup=1",
        "https://c.test/tea?cup=1",
    ]
    assert {request.headers["host"] for request in servers.asked} == {"shop.test"}
    names = [request.extensions.get("sni_hostname") for request in servers.asked]
    assert names == [None, None, "shop.test"]
    assert counts(shop) == [(1, 0, 0)] * 3


@both_colours
def test_a_body_a_method_and_fields_go_along(
    world: VirtualRuntime, get: Get, shop: Upstream, servers: Servers
) -> None:
    client = httpx.Client(transport=balanced(shop, servers))
    client.post("http://shop.test/orders", content=b"tea", headers={"X-Tea": "green"}, timeout=7)
    (asked,) = servers.asked
    assert (asked.method, asked.read(), asked.headers["x-tea"]) == ("POST", b"tea", "green")
    assert asked.extensions["timeout"]["read"] == 7


def test_a_host_or_a_tls_name_of_the_caller_s_own_stays(shop: Upstream, servers: Servers) -> None:
    client = httpx.Client(transport=balanced(shop, servers))
    for _ in range(3):
        client.get(
            "http://shop.test", headers={"Host": "other"}, extensions={"sni_hostname": "own.test"}
        )
    assert [request.headers["host"] for request in servers.asked] == ["other"] * 3
    assert {request.extensions["sni_hostname"] for request in servers.asked} == {"own.test"}


@both_colours
def test_what_is_asked_by_https_is_never_sent_in_the_clear(
    world: VirtualRuntime, get: Get, shop: Upstream, servers: Servers
) -> None:
    async def main() -> None:
        transport = balanced(shop, servers)
        with pytest.raises(httpx.UnsupportedProtocol, match=r"list it as https://a\.test:81"):
            await get(transport, "https://shop.test/")
        with pytest.raises(httpx.UnsupportedProtocol):
            await get(transport, "https://shop.test/")
        await get(transport, "https://shop.test/")

    world.run(main())
    assert [str(request.url) for request in servers.asked] == ["https://c.test/"]
    assert counts(shop) == [(1, 0, 0)] * 3


@both_colours
def test_the_key_of_a_request_decides(world: VirtualRuntime, get: Get, servers: Servers) -> None:
    names = [f"t{number}.test:80" for number in range(9)]
    shop = Upstream("shop", names, balance=ConsistentHash())
    transport = balanced(shop, servers, key=lambda request: request.headers.get("x-user"))

    async def main() -> None:
        for user in range(30):
            for _ in range(3):
                await get(transport, headers={"X-User": f"user:{user}"})

    world.run(main())
    for user in range(30):
        with shop.pick(key=f"user:{user}") as target:
            assert servers.hosts[3 * user : 3 * user + 3] == [target.host] * 3


# -- how long it counts as in flight


def test_a_target_is_given_back_at_the_end_of_the_body(shop: Upstream, servers: Servers) -> None:
    client = httpx.Client(transport=balanced(shop, servers))
    with client.stream("GET", "http://shop.test/") as answer:
        assert counts(shop)[0] == (1, 0, 1)
        parts = answer.iter_raw()
        assert next(parts) == b"green "
        assert counts(shop)[0] == (1, 0, 1)
        assert list(parts) == [b"tea"]
        assert counts(shop)[0] == (1, 0, 0)
    assert counts(shop)[0] == (1, 0, 0)


def test_and_when_the_answer_is_closed_before(shop: Upstream, servers: Servers) -> None:
    body = Body()
    servers.script["a.test"] = [body]
    client = httpx.Client(transport=balanced(shop, servers))
    with client.stream("GET", "http://shop.test/"):
        assert counts(shop)[0] == (1, 0, 1)
    assert counts(shop)[0] == (1, 0, 0)
    assert body.closed


def test_the_same_in_async_code(world: VirtualRuntime, shop: Upstream, servers: Servers) -> None:
    async def main() -> None:
        client = httpx.AsyncClient(transport=balanced(shop, servers))
        async with client.stream("GET", "http://shop.test/") as answer:
            assert counts(shop)[0] == (1, 0, 1)
            assert [part async for part in answer.aiter_raw()] == [b"green ", b"tea"]
            assert counts(shop)[0] == (1, 0, 0)
        async with client.stream("GET", "http://shop.test/"):
            assert counts(shop)[1] == (1, 0, 1)
        assert counts(shop)[1] == (1, 0, 0)

    world.run(main())


@both_colours
def test_an_answer_that_came_whole_gives_its_target_back_at_once(
    world: VirtualRuntime, get: Get, shop: Upstream
) -> None:
    whole = httpx.MockTransport(lambda request: httpx.Response(200, text="tea"))
    transport = BalancedTransport(shop, whole, atransport=whole)

    async def main() -> None:
        assert (await get(transport)).text == "tea"

    world.run(main())
    assert counts(shop)[0] == (1, 0, 0)


def test_a_cancelled_request_gives_its_target_back_and_counts_for_nothing(
    world: VirtualRuntime, shop: Upstream, servers: Servers
) -> None:
    servers.seconds = 5.0

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await async_get(balanced(shop, servers))

    world.run(main())
    assert counts(shop)[0] == (1, 0, 0)


# -- what counts as a failure


@pytest.mark.parametrize(
    ("step", "failures"),
    [
        (503, 1),
        (500, 1),
        (404, 0),
        (429, 0),
        (501, 0),
        (505, 0),
        (httpx.ConnectError("connect"), 1),
        (httpx.ConnectTimeout("connect in time"), 1),
        (httpx.ReadTimeout("read in time"), 1),
        (httpx.ReadError("read"), 1),
        (httpx.RemoteProtocolError("garbage"), 1),
        (httpx.PoolTimeout("pool"), 0),
        (httpx.LocalProtocolError("header"), 0),
        (ValueError("ours"), 0),
        (Body(httpx.ReadError("broken off")), 1),
        (Body(ValueError("ours")), 0),
    ],
    ids=str,
)
@both_colours
def test_what_is_the_target_s_fault(
    world: VirtualRuntime, get: Get, servers: Servers, *, step: Any, failures: int
) -> None:
    shop = Upstream("shop", ["a.test:81"])
    servers.script["a.test"] = [step]

    async def main() -> None:
        if isinstance(step, int):
            assert (await get(balanced(shop, servers))).status_code == step
            return
        error = step.error if isinstance(step, Body) else step
        with pytest.raises(type(error)):
            await get(balanced(shop, servers))

    world.run(main())
    assert counts(shop)[0] == (1, failures, 0)


def test_the_latency_is_that_of_the_head(world: VirtualRuntime, servers: Servers) -> None:
    servers.seconds = 0.25
    shop = Upstream("shop", ["a.test:81"], balance="peak_ewma")

    async def main() -> None:
        client = httpx.AsyncClient(transport=balanced(shop, servers))
        async with client.stream("GET", "http://shop.test/") as answer:
            await world.sleep(10)
            await answer.aread()

    world.run(main())
    choice = shop._fleet._choice
    assert choice is not None
    assert choice.seconds(0) == pytest.approx(0.25)


@both_colours
def test_connections_that_fail_take_a_target_out_and_one_that_is_made_speaks_for_it(
    world: VirtualRuntime, get: Get, servers: Servers
) -> None:
    async def probe(target: Target) -> bool:
        return True

    shop = Upstream("shop", ["a.test:81", "b.test:82"], health=HealthCheck(fall=2, probe=probe))

    async def main() -> None:
        transport = balanced(shop, servers)
        async with shop:
            await world.sleep(0.1)
            servers.script["a.test"] = [httpx.ConnectError("refused"), 200, httpx.ConnectError("")]
            for _ in range(6):
                with suppress(httpx.ConnectError):
                    await get(transport)
            assert [target.healthy for target in shop.targets] == [True, True]
            servers.script["a.test"] = [httpx.ConnectTimeout(""), httpx.ConnectError("")]
            for _ in range(2):
                with suppress(httpx.ConnectError, httpx.ConnectTimeout):
                    await get(transport)
            assert [target.healthy for target in shop.targets] == [False, True]

    world.run(main())


@both_colours
def test_without_a_target_that_is_well_there_is_no_request(
    world: VirtualRuntime, get: Get, servers: Servers
) -> None:
    async def probe(target: Target) -> bool:
        return False

    shop = Upstream("shop", ["a.test:81"], health=HealthCheck(probe=probe))

    async def main() -> None:
        async with shop:
            await world.sleep(10)
            with pytest.raises(NoHealthyBackend):
                await get(balanced(shop, servers))

    world.run(main())
    assert servers.asked == []


# -- together with policies


@both_colours
def test_a_retry_tries_another_target(
    world: VirtualRuntime, get: Get, shop: Upstream, servers: Servers
) -> None:
    shop = Upstream("shop", ["a.test:1", "b.test:1", "c.test:1"], balance="least_connections")
    servers.script = {"a.test": [503] * 9, "b.test": [httpx.ConnectError("refused")] * 9}

    async def main() -> None:
        transport = within(Retry(4, base=0.01, cap=0.02, budget=None), balanced(shop, servers))
        for _ in range(4):
            assert (await get(transport)).status_code == 200

    world.run(main())
    asked = "".join(host[0] for host in servers.hosts)
    attempts = [part + "c" for part in asked.split("c")[:-1]]
    assert len(attempts) == 4
    assert all(len(set(each)) == len(each) for each in attempts), "no target twice in one call"
    assert [each.in_flight for each in shop.targets] == [0, 0, 0]


@both_colours
def test_when_all_have_failed_they_are_tried_again(
    world: VirtualRuntime, get: Get, servers: Servers
) -> None:
    shop = Upstream("shop", ["a.test:81", "b.test:82"])
    servers.script = {"a.test": [503], "b.test": [503]}

    async def main() -> None:
        transport = within(Retry(3, base=0.01, cap=0.02, budget=None), balanced(shop, servers))
        assert (await get(transport)).status_code == 200

    world.run(main())
    assert servers.hosts == ["a.test", "b.test", "a.test"]


@both_colours
def test_a_policy_inside_works_on_the_target_that_was_picked(
    world: VirtualRuntime, get: Get, servers: Servers
) -> None:
    shop = Upstream("shop", ["a.test:81", "b.test:82"])
    servers.script = {"a.test": [503, 503]}

    async def main() -> None:
        retry = Retry(3, base=0.01, cap=0.02, budget=None)
        inner = HttpxTransport(retry, servers, atransport=servers)
        transport = BalancedTransport(shop, inner, atransport=inner)
        assert (await get(transport)).status_code == 200

    world.run(main())
    assert servers.hosts == ["a.test"] * 3
    assert counts(shop) == [(1, 0, 0), (0, 0, 0)]


@both_colours
def test_a_retry_around_the_client_avoids_targets_where_it_says_what_it_serves(
    world: VirtualRuntime, get: Get, servers: Servers
) -> None:
    shop = Upstream("shop", ["a.test:1", "b.test:1"], balance="p2c")
    servers.script = {"a.test": [httpx.ConnectError("refused")] * 99}
    retry = Retry(2, base=0.01, cap=0.02, budget=None, on=(httpx.ConnectError,))

    async def main() -> None:
        transport = balanced(shop, servers)
        for _ in range(20):
            with serving(Request()):
                answer = await retry.acall(get, transport)
            assert answer.status_code == 200

    world.run(main())
    assert servers.hosts.count("b.test") == 20


@both_colours
def test_the_standard_stack_goes_around_it(
    world: VirtualRuntime, get: Get, shop: Upstream, servers: Servers
) -> None:
    servers.script = {"a.test": [503]}

    async def main() -> None:
        transport = within(standard(name="shop"), balanced(shop, servers))
        assert (await get(transport)).status_code == 200

    world.run(main())
    assert servers.hosts == ["a.test", "b.test"]


def test_a_hedge_goes_to_another_target(
    world: VirtualRuntime, shop: Upstream, servers: Servers
) -> None:
    servers.seconds = 1.0
    upstream = Upstream("shop", ["a.test:81", "b.test:82"], balance="p2c")

    async def main() -> None:
        transport = within(Hedge(0.1), balanced(upstream, servers))
        assert (await async_get(transport)).status_code == 200

    world.run(main())
    assert [target.requests for target in upstream.targets] == [1, 1]
    assert [target.in_flight for target in upstream.targets] == [0, 0]


def test_what_failed_before_the_last_good_answer_is_forgotten(servers: Servers) -> None:
    shop = Upstream("shop", ["a.test:1", "b.test:1"])
    client = httpx.Client(transport=balanced(shop, servers))
    servers.script = {"a.test": [503]}
    with serving(Request()):
        for _ in range(6):
            client.get("http://shop.test/")
    assert "".join(host[0] for host in servers.hosts) == "ababab"


def test_calls_side_by_side_for_one_served_request_avoid_no_one(
    world: VirtualRuntime, servers: Servers
) -> None:
    servers.seconds = 1.0
    names = [f"t{number}.test:80" for number in range(5)]
    shop = Upstream("shop", names, balance=ConsistentHash(load_factor=1000))
    transport = balanced(shop, servers, key=lambda request: "the same")

    async def main() -> None:
        with serving(Request()):
            await asyncio.gather(*[async_get(transport) for _ in range(5)])

    world.run(main())
    assert len(set(servers.hosts)) == 1


def test_what_failed_is_forgotten_with_the_request(shop: Upstream, servers: Servers) -> None:
    transport = balanced(shop, servers)
    servers.script = {"a.test": [503]}
    request = Request()
    with serving(request):
        httpx.Client(transport=transport).get("http://shop.test/")
    assert len(transport._tried) == 1
    del request
    assert len(transport._tried) == 0


# -- its own affairs


def test_both_transports_are_made_when_needed_and_closed(world: VirtualRuntime) -> None:
    shop = Upstream("shop", ["a.test:81"])
    transport, servers = BalancedTransport(shop), Servers()
    transport.close()
    world.run(transport.aclose())
    given = balanced(shop, servers)
    given.close()
    assert servers.closed == 1
    world.run(given.aclose())
    assert servers.closed == 2


@pytest.mark.parametrize("upstream", ["shop", None, ["a.test:81"]], ids=str)
def test_an_upstream_is_needed(upstream: Any) -> None:
    with pytest.raises(ConfigError, match="BalancedTransport: upstream: expected one, found"):
        BalancedTransport(upstream)


def test_a_key_is_a_sync_function(shop: Upstream) -> None:
    async def key(request: httpx.Request) -> str:
        return ""

    with pytest.raises(ConfigError, match="BalancedTransport: key: expected a sync function"):
        BalancedTransport(shop, key=key)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="BalancedTransport: key: expected a function"):
        BalancedTransport(shop, key="x-user")  # type: ignore[arg-type]


def test_an_error_of_the_key_is_raised_and_nothing_is_picked(
    shop: Upstream, servers: Servers
) -> None:
    transport = balanced(shop, servers, key=lambda request: request.headers["x-user"])
    with pytest.raises(KeyError):
        httpx.Client(transport=transport).get("http://shop.test/")
    assert counts(shop) == [(0, 0, 0)] * 3
