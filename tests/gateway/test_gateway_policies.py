"""What a gateway knows of its routes' policies: nested ones, two of a kind, ones that close."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from escala.gateway.gateway import Gateway
from escala.gateway.stack_file import StackFile, stack_of


def stack_with(*policies: Any) -> StackFile:
    return stack_of(
        {
            "listen": "127.0.0.1:0",
            "upstreams": {"shop": {"targets": ["127.0.0.1:9001"]}},
            "routes": [{"path": "/", "upstream": "shop", "policies": list(policies)}],
        }
    )


async def the_route(gateway: Gateway) -> dict[str, Any]:
    (route,) = gateway.snapshot()["routes"]
    await gateway.close()
    return dict(route)


def test_policies_inside_a_standard_stack_are_shown() -> None:
    async def main() -> dict[str, Any]:
        gateway = Gateway(stack_with({"rate_limit": "5/s"}, {"standard": {"slots": 7}}))
        gateway.retried("/.standard.retry")
        gateway.retried("/.retry")
        return await the_route(gateway)

    route = asyncio.run(main())
    assert set(route["policies"]) >= {"circuit_breaker", "bulkhead"}
    assert route["retries"] == 1


def test_two_of_a_kind_do_not_hide_each_other() -> None:
    async def main() -> dict[str, Any]:
        return await the_route(Gateway(stack_with({"bulkhead": 7}, {"bulkhead": 5})))

    route = asyncio.run(main())
    assert set(route["policies"]) == {"bulkhead", "bulkhead_2"}


@pytest.mark.parametrize(("changed", "closed"), [(False, 0), (True, 1)])
def test_policies_close_with_the_gateway_unless_the_next_one_keeps_them(
    monkeypatch: pytest.MonkeyPatch, changed: bool, closed: int
) -> None:
    from escala.limiting import TokenBucket

    calls: list[str] = []
    monkeypatch.setattr(TokenBucket, "close", lambda self: calls.append(self.name), raising=False)

    async def main() -> None:
        first = Gateway(stack_with({"rate_limit": "5/s"}))
        second = Gateway(stack_with({"rate_limit": "6/s" if changed else "5/s"}), previous=first)
        await first.close(second)
        assert len(calls) == closed
        await second.close()
        assert len(calls) == closed + 1

    asyncio.run(main())
