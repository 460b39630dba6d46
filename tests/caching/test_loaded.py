"""Results that say of themselves how long they are good for, and to what they belong."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.caching.asking import Ask, Source, both_colours, in_virtual_time, made, shared

from escala.caching import Cache, Lifetime, Loaded
from escala.caching.loaded import kind_within
from escala.testing import VirtualRuntime

places = pytest.mark.parametrize("place", ["l1", "l1+l2", "l2"])


def cache_in(place: str, **how: Any) -> Cache:
    return made(two=place != "l1", **({"l1": None} if place == "l2" else {}), **how)


class User(msgspec.Struct):
    name: str


@both_colours
@places
@pytest.mark.parametrize("ttl", ["10s±0%", 10.0, Lifetime("10s±0%")])
@in_virtual_time
async def test_a_memo_goes_by_what_its_result_says(
    world: VirtualRuntime, ask: Ask, place: str, ttl: Any
) -> None:
    cache, calls = cache_in(place), 0

    @cache.memo("user:{id}", tags=["users"])
    @ask.coloured
    def user(id: int) -> Loaded[User]:  # noqa: A002
        nonlocal calls
        calls += 1
        return Loaded(User(f"v{calls}"), ttl=ttl, tags=[f"u{id}"])

    async def name() -> str:
        return (await ask.call(user, 7)).name

    assert [await name(), await name()] == ["v1", "v1"]
    world.advance(8.9)
    assert await name() == "v1"
    world.advance(2.2)
    assert await name() == "v2"
    for tag in ("u7", "users"):
        before = await name()
        await ask.delete(cache, tag="u8")
        assert await name() == before
        await ask.delete(cache, tag=tag)
        assert await name() != before
    assert (await ask.verb(user, "peek", 7)).name == f"v{calls}"
    assert (await ask.verb(user, "refresh", 7)).name == f"v{calls}"


@both_colours
@places
@in_virtual_time
async def test_a_batch_goes_by_what_each_value_says(
    world: VirtualRuntime, ask: Ask, place: str
) -> None:
    cache, asked = cache_in(place, negative_ttl="1h"), []

    @cache.batch("user:{id}", tags=["users"])
    @ask.coloured
    def users(ids: list[int]) -> dict[int, User | Loaded[User]]:
        asked.append(list(ids))
        found: dict[int, User | Loaded[User]] = {
            1: Loaded(User("short"), ttl="10s±0%", tags=["one"]),
            2: Loaded(User("never"), ttl=0),
            3: User("plain"),
        }
        return {id: found[id] for id in ids if id in found}  # noqa: A001

    async def names() -> dict[int, str]:
        return {id: each.name for id, each in (await ask.call(users, [1, 2, 3, 4])).items()}  # noqa: A001

    for _ in range(2):
        assert await names() == {1: "short", 2: "never", 3: "plain"}
    assert asked == [[1, 2, 3, 4], [2]]
    world.advance(10)
    await names()
    assert asked[-1] == [1, 2]
    await ask.delete(cache, tag="one")
    await names()
    assert asked[-1] == [1, 2]
    await ask.delete(cache, tag="users")
    await names()
    assert asked[-1] == [1, 2, 3, 4]


@both_colours
@places
@in_virtual_time
async def test_a_load_may_say_it_each_time_anew(
    world: VirtualRuntime, ask: Ask, place: str
) -> None:
    cache = cache_in(place, negative_ttl="5s")
    source = Source(
        Loaded("a", ttl="1s±0%"),
        Loaded("b", ttl=-1),
        Loaded("c"),
        Loaded(None),
        Loaded(None, ttl=60),
    )
    assert await ask.get(cache, "k", source) == "a"
    world.advance(1)
    assert await ask.get(cache, "k", source) == "b"
    assert await ask.get(cache, "k", source) == "c"
    world.advance(59)
    assert await ask.get(cache, "k", source) == "c"
    world.advance(1)
    assert await ask.get(cache, "k", source) is None
    world.advance(5)
    assert await ask.get(cache, "k", source) is None, "its own lifetime, for all that it is None"
    world.advance(50)
    assert await ask.get(cache, "k", source) is None
    assert source.calls == 5


@both_colours
@places
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (Loaded("v", ttl="soon"), "test: ttl of the result: expected a duration above zero"),
        (Loaded("v", tags="t"), "expected several tags, such as"),
    ],
)
@in_virtual_time
async def test_what_makes_no_sense_is_the_callers_error(
    world: VirtualRuntime, ask: Ask, place: str, wrong: Any, said: str
) -> None:
    cache = cache_in(place)
    with pytest.raises((ValueError, TypeError), match=said):
        await ask.get(cache, "k", Source(wrong))
    assert await ask.get(cache, "k", Source("well")) == "well"


@both_colours
@places
@in_virtual_time
async def test_what_is_written_may_say_it_too(world: VirtualRuntime, ask: Ask, place: str) -> None:
    cache = cache_in(place)
    await ask.set(cache, "k", Loaded("tea", ttl="1s±0%", tags=["t"]))
    assert await ask.get(cache, "k") == "tea"
    world.advance(1)
    assert await ask.get(cache, "k") is None
    await ask.set(cache, "k", Loaded("tea", tags=["t"]))
    await ask.delete(cache, tag="t")
    assert await ask.get(cache, "k") is None


@both_colours
@in_virtual_time
async def test_another_process_reads_the_type_that_was_said(
    world: VirtualRuntime, ask: Ask
) -> None:
    url, found = shared(), []
    for _ in range(2):
        cache = Cache("c", l2=url)

        @cache.memo("user:{id}")
        @ask.coloured
        def user(id: int) -> Loaded[User]:  # noqa: A002
            return Loaded(User("Ann"), ttl="1m")

        found.append(await ask.call(user, 1))
    assert found == [User("Ann"), User("Ann")]


@pytest.mark.parametrize(
    ("kind", "within"),
    [
        (int, int),
        (list[int], list[int]),
        (Loaded, None),
        (Loaded[int], int),
        (Loaded[Any], None),
        (Loaded[list[int]], list[int]),
        (Loaded[int | None], int | None),
        (int | Loaded[int], int),
        (Loaded[int] | None, int | None),
        (Loaded[int] | str, int | str),
        (int | Loaded, None),
    ],
    ids=repr,
)
def test_the_type_that_is_kept(kind: Any, within: Any) -> None:
    assert kind_within(kind) == within
