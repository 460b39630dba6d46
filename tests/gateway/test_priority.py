"""How much a request matters at the gateway: from a property of it, and no one else's word."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from escala.errors import ConfigError
from escala.gateway.pure.client_address import TrustedProxies
from escala.gateway.route import Route
from escala.gateway.stack_file import StackFile, stack_of
from escala.http.message import HttpRequest, Response
from escala.kernel.policy import Scope
from escala.testing import VirtualRuntime


@pytest.fixture
def world() -> Iterator[VirtualRuntime]:
    virtual = VirtualRuntime()
    yield virtual
    virtual.close()


def stack_with(priority: Any, *policies: Any, trusted: Any = ("10.0.0.0/8",)) -> StackFile:
    return stack_of(
        {
            "listen": "127.0.0.1:0",
            "trusted_proxies": list(trusted),
            "upstreams": {"shop": {"targets": ["127.0.0.1:9001"]}},
            "routes": [
                {"path": "/", "upstream": "shop", "priority": priority, "policies": list(policies)}
            ],
        }
    )


class Slow:
    """A target that takes a second for each request."""

    def __init__(self) -> None:
        self.served: list[bytes] = []

    async def send(self, head: Any) -> Response:
        from escala.kernel.context import current_request

        request: Any = current_request()
        self.served.append(request.target)
        await asyncio.sleep(1)  # noqa: TID251  a target takes its time
        return Response(200, [])


def route(stack: StackFile, targets: Any) -> Route:
    (config,) = stack.routes
    trusted = TrustedProxies(stack.trusted_proxies)
    return Route("/", config.stack(Scope(name="shop")), targets, trusted, config.priority)


TIERS = {"key": "header:x-tier", "values": {"gold": 2, "silver": 1, "batch": -1}}


def test_a_queue_by_priority_serves_by_it(world: VirtualRuntime) -> None:
    targets = Slow()
    bulkhead = {"bulkhead": {"slots": 1, "queue": 10, "order": "priority"}}
    one = route(stack_with(TIERS, bulkhead), targets)

    async def main() -> None:
        tiers = ["none", "batch", "silver", "gold", "unknown"]
        asked = []
        for tier in tiers:
            fields = [] if tier == "none" else [(b"x-tier", tier.encode())]
            request = HttpRequest("GET", b"/" + tier.encode(), fields, peer="10.0.0.1")
            asked.append(world.spawn(one.handle(request)))
            await asyncio.sleep(0)  # noqa: TID251  one after the other
        await asyncio.gather(*asked)

    world.run(main())
    assert targets.served == [b"/none", b"/gold", b"/silver", b"/unknown", b"/batch"]


@pytest.mark.parametrize(("peer", "priority"), [("10.0.0.1", 2), ("192.0.2.7", 0)])
def test_a_header_counts_when_a_trusted_proxy_sends_it(
    world: VirtualRuntime, peer: str, priority: int
) -> None:
    request = HttpRequest("GET", b"/", [(b"x-tier", b"gold")], peer=peer)
    world.run(route(stack_with(TIERS), Slow()).handle(request))
    assert request.priority == priority


@pytest.mark.parametrize(
    ("key", "value"), [("method", "POST"), ("path", "/pay"), ("host", "shop"), ("client_ip", "::1")]
)
def test_what_the_gateway_itself_knows_counts_for_everyone(
    world: VirtualRuntime, key: str, value: str
) -> None:
    one = route(stack_with({"key": key, "values": {value: 5}}, trusted=()), Slow())
    request = HttpRequest("POST", b"/pay?x=1", [], host=b"shop", peer="::1")
    world.run(one.handle(request))
    assert request.priority == 5


def test_without_it_all_are_alike(world: VirtualRuntime) -> None:
    request = HttpRequest("GET", b"/", [(b"x-tier", b"gold")], peer="10.0.0.1")
    world.run(route(stack_with(None), Slow()).handle(request))
    assert request.priority == 0


@pytest.mark.parametrize(
    ("priority", "trusted", "said"),
    [
        (
            TIERS,
            (),
            "routes[0].priority.key: expected trusted_proxies that send it, since any client can",
        ),
        ({"key": "tenant", "values": {"a": 1}}, (), "routes[0].priority.key: expected one of the"),
        (
            {"key": "method", "values": {}},
            (),
            "routes[0].priority.values: expected 1 to 1000",
        ),
        ({"key": "method", "values": {"GET": 1.5}}, (), "values.GET: expected an integer"),
        ({"key": "method", "values": {"GET": 1_000_001}}, (), "values.GET: expected an integer"),
        ({"key": "method"}, (), "routes[0].priority: expected the field 'values'"),
        (7, (), "routes[0].priority: expected"),
    ],
)
def test_what_is_none_is_refused(priority: Any, trusted: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        stack_with(priority, trusted=trusted)
    assert said in str(caught.value)


def test_a_route_with_it_can_be_compared_and_kept_by_a_reload() -> None:
    one, other = stack_with(TIERS), stack_with(TIERS)
    assert one == other
    assert hash(one.routes[0]) == hash(other.routes[0])
    changed = stack_with({**TIERS, "values": {"gold": 3}})
    assert one.routes[0] != changed.routes[0]
