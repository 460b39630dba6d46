"""A cache as a policy of a stack."""

from __future__ import annotations

from typing import Any

import pytest
from tests.caching.asking import Ask, Source, both_colours, in_virtual_time, levels, made

from escala import Bulkhead, CircuitBreaker, Retry, Stack
from escala.caching import Loaded
from escala.caching.events import CacheServed
from escala.errors import CircuitOpen
from escala.kernel.context import Request, serving
from escala.kernel.events import Event
from escala.kernel.policy import Policy
from escala.testing import VirtualRuntime


async def call(ask: Ask, policy: Policy, source: Source) -> Any:
    if ask.name == "async":
        return await policy.acall(source.later)
    return policy.call(source.now)


def stacks(cached: Policy, **how: Any) -> tuple[Stack, Stack, CircuitBreaker]:
    """The cache outside, and the cache inside."""
    retry = Retry(attempts=3, on=ConnectionError, base="10ms", rng=None)
    breaker = CircuitBreaker(failure_rate=None, consecutive=3, cooldown="5s", on=ConnectionError)
    return Stack(cached, retry, breaker), Stack(retry, breaker, cached), breaker


@both_colours
@levels
@pytest.mark.parametrize("inside", [False, True])
@in_virtual_time
async def test_hits_in_both_orders(
    world: VirtualRuntime, ask: Ask, two: bool, inside: bool
) -> None:
    stack = stacks(made(two=two).policy())[inside]
    source = Source("tea", "milk")
    with serving(Request(key="k:1")):
        assert [await call(ask, stack, source) for _ in range(3)] == ["tea"] * 3
    with serving(Request(key="k:2")):
        assert await call(ask, stack, source) == "milk"
    assert source.calls == 2


@both_colours
@levels
@pytest.mark.parametrize("inside", [False, True])
@in_virtual_time
async def test_a_load_that_fails_is_tried_again_in_both_orders(
    world: VirtualRuntime, ask: Ask, two: bool, inside: bool
) -> None:
    stack = stacks(made(two=two).policy())[inside]
    error = ConnectionError("down")
    source = Source(error, error, "tea")
    with serving(Request(key="k")):
        assert [await call(ask, stack, source) for _ in range(2)] == ["tea", "tea"]
    assert source.calls == 3


@both_colours
@pytest.mark.parametrize("inside", [False, True])
@in_virtual_time
async def test_an_open_circuit_ends_loads_and_only_outside_of_the_cache_hits(
    world: VirtualRuntime, ask: Ask, inside: bool
) -> None:
    outer, inner, breaker = stacks(made(stale_if_error="1h").policy())
    stack, source = (inner if inside else outer), Source("tea", ConnectionError("down"))
    with serving(Request(key="k")):
        assert await call(ask, stack, source) == "tea"
    with serving(Request(key="other")), pytest.raises((ConnectionError, CircuitOpen)):
        await call(ask, stack, source)
    assert breaker.state.value == "open"
    with serving(Request(key="k")):
        if inside:
            with pytest.raises(CircuitOpen):
                await call(ask, stack, source)
            return
        assert await call(ask, stack, source) == "tea"
        await world.sleep(0)
        world.advance(4)
        assert await call(ask, stack, source) == "tea"
    loads = source.calls
    with serving(Request(key="other")), pytest.raises(CircuitOpen):
        await call(ask, stack, source)
    assert source.calls == loads


@both_colours
@in_virtual_time
async def test_what_is_stale_stands_in_for_an_open_circuit(world: VirtualRuntime, ask: Ask) -> None:
    stack, _, breaker = stacks(made(stale_if_error="1h").policy())
    source = Source("tea", ConnectionError("down"))
    with serving(Request(key="k")):
        assert await call(ask, stack, source) == "tea"
        world.advance(61)
        assert await call(ask, stack, source) == "tea"
        assert breaker.state.value == "open"
        world.advance(2)
        assert await call(ask, stack, source) == "tea"
    assert source.calls == 4


@both_colours
@levels
@in_virtual_time
async def test_calls_without_a_key_run_and_are_not_kept(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    cache = made(two=two)
    for policy in (cache.policy(), cache.policy("tenant"), cache.policy(lambda _: None)):
        for stack in stacks(policy)[:2]:
            source = Source()
            assert [await call(ask, stack, source) for _ in range(2)] == ["v1", "v2"]
            with serving(Request()):
                assert await call(ask, stack, source) == "v3"
    assert cache.snapshot()["entries"] == 0


@both_colours
@levels
@in_virtual_time
async def test_what_a_call_says_of_its_result_is_taken_off_with_a_key_and_without(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    cache = made(two=two)
    policy, source = cache.policy(), Source(Loaded("tea", ttl="10s±0%", tags=["t"]))
    assert await call(ask, policy, source) == "tea"
    with serving(Request(key="k")):
        for calls in (2, 2):
            assert await call(ask, policy, source) == "tea"
            assert source.calls == calls
        world.advance(10)
        assert await call(ask, policy, source) == "tea"
        await ask.delete(cache, tag="t")
        assert await call(ask, policy, source) == "tea"
    assert source.calls == 4


@both_colours
@in_virtual_time
async def test_a_key_by_a_function_of_the_request(world: VirtualRuntime, ask: Ask) -> None:
    policy = made().policy(lambda request: f"page:{request and request.tenant}", ttl="5s±0%")
    source = Source()
    assert await call(ask, policy, source) == "v1"
    with serving(Request(tenant="ann")):
        assert await call(ask, policy, source) == "v2"
        assert await call(ask, policy, source) == "v2"
    assert await call(ask, policy, source) == "v1"
    world.advance(5)
    assert await call(ask, policy, source) == "v3"


@both_colours
@in_virtual_time
async def test_a_key_that_is_no_text_is_refused(world: VirtualRuntime, ask: Ask) -> None:
    wrong: Any = lambda _: 7  # noqa: E731
    with pytest.raises(TypeError, match="expected a key of text, found int"):
        await call(ask, made().policy(wrong), Source())


@both_colours
@in_virtual_time
async def test_what_stands_further_out_surrounds_hits(world: VirtualRuntime, ask: Ask) -> None:
    bulkhead, cached, source = Bulkhead(slots=1), made().policy(), Source()
    with serving(Request(key="k")):
        await call(ask, Stack(bulkhead, cached), source)
        assert await call(ask, Stack(bulkhead, cached), source) == "v1"
    assert bulkhead.free == 1


@both_colours
@in_virtual_time
async def test_hits_are_counted_and_told(
    world: VirtualRuntime, ask: Ask, events: list[Event]
) -> None:
    cache, source = made(), Source()
    policy = cache.policy()
    with serving(Request(key="k")):
        for _ in range(2):
            await call(ask, policy, source)
    assert [each.source for each in events if isinstance(each, CacheServed)] == ["load", "l1"]
    assert (cache.snapshot()["hits"], cache.snapshot()["misses"]) == (1, 1)


def test_it_is_no_block_and_shows_what_it_is(world: VirtualRuntime) -> None:
    policy = made().policy("tenant")
    assert repr(policy) == "CachePolicy('tenant', name='test')"
    with pytest.raises(TypeError), policy:
        pass
