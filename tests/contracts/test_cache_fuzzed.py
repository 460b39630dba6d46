"""Any bytes may stand in the store: a cache then loads, and never fails or gives what was not."""

from __future__ import annotations

import asyncio
import itertools
import random
import sqlite3
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import pytest
import zstandard
from tests.contracts.value_store_contract import until
from tests.servers.redis_server import RedisServer, redis, shared_redis

from escala import Cache
from escala.caching.pure.blob import Header, Mark, pack, unpack

__all__ = ["redis", "shared_redis"]

pytestmark = pytest.mark.live

MB = 1 << 20
EPOCH, TAGS = slice(8, 16), ["a", "tag", "длинный"]


class User(msgspec.Struct):
    name: str
    number: int


class OnRedis:
    """The hash of the key "user:7"."""

    def __init__(self, server: RedisServer) -> None:
        from redis import Redis

        self.url = f"{server.url}?timeout=2s"
        self.ask = Redis.from_url(server.url).execute_command

    def get(self) -> bytes:
        found: bytes = self.ask("HGET", "escala:{shop}:k:user:7", "b")
        return found

    def put(self, blob: bytes) -> None:
        self.ask("HSET", "escala:{shop}:k:user:7", "b", blob)


class OnSqlite:
    """The row of the key "user:7"."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder}/cache.db"
        self._path = folder / "cache.db"

    def _run(self, *what: Any) -> Any:
        file = sqlite3.connect(self._path)
        with file:
            found = file.execute(*what).fetchone()
        file.close()
        return found

    def get(self) -> bytes:
        (blob,) = self._run("SELECT blob FROM escala_values WHERE key = ?", (b"user:7",))
        found: bytes = blob
        return found

    def put(self, blob: bytes) -> None:
        row = (blob, b"user:7")
        self._run("UPDATE escala_values SET blob = ?, token = NULL, until = 0 WHERE key = ?", row)


@pytest.fixture(params=["redis", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "sqlite":
        return OnSqlite(tmp_path)
    return OnRedis(request.getfixturevalue("redis"))


class Fuzzed:
    """One user in one store, who has another number each time that he is loaded."""

    def __init__(self, store: Any, cache: Cache) -> None:
        self.store, self.cache = store, cache
        self._numbers = itertools.count()

        @cache.memo("user:{id}", tags=TAGS)
        def user(id: int) -> User:  # noqa: A002  as a user would call it
            return User("Ann", next(self._numbers))

        @cache.memo("user:{id}", tags=TAGS)
        async def auser(id: int) -> User:  # noqa: A002
            return User("Ann", next(self._numbers))

        self._calls: list[Callable[[], Any]] = [lambda: user(7), lambda: asyncio.run(amain())]

        second: Any = cache._second
        cache.get("another")
        until(lambda: second.ear.hears, "the ear")  # until then, what is loaded may not be stored

        async def amain() -> User:
            found = await auser(7)
            await asyncio.sleep(0)
            await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})  # it is stored
            return found

    def whole(self) -> bytes:
        """The blob of what was just loaded."""
        self.cache.delete("user:7")
        self._calls[0]()
        return self.get()

    def get(self) -> bytes:
        blob: bytes = self.store.get()
        assert unpack("user:7", blob) is not None
        return blob

    def loaded_anew(self, *, colour: int = 0, tries: int = 1) -> None:
        """The next caller loads, and after that what was loaded is there."""
        first = next(self._numbers) + 1
        got = self._calls[colour]()
        assert got == User("Ann", first), "it has not been loaded"
        for _ in range(tries):
            got, before = self._calls[colour](), got
            if got == before:
                return
            time.sleep(0.05)
        pytest.fail("it was not stored")

    def any(self) -> None:
        """Whatever is given, it was once loaded."""
        got = self._calls[0]()
        assert got.name == "Ann"
        assert got.number < next(self._numbers)


@pytest.fixture
def fuzzed(store: Any) -> Iterator[Fuzzed]:
    with Cache("shop", l1=None, l2=store.url) as cache:
        yield Fuzzed(store, cache)


def resealed(blob: bytes) -> bytes:
    """With the checksum that it should have: as who knows the format, and means harm, would."""
    sum_ = crc32(blob[8:], crc32(blob[:4], crc32(b"user:7")))
    return blob[:4] + sum_.to_bytes(4, "big") + blob[8:]


def test_a_change_at_any_place_is_a_miss(fuzzed: Fuzzed) -> None:
    rng, blob = random.Random(7), fuzzed.whole()
    places = len(blob)
    assert places > 90
    assert resealed(blob) == blob
    for at in range(places):
        for changed in (
            blob[:at] + bytes([blob[at] ^ (1 << rng.randrange(8))]) + blob[at + 1 :],
            blob[:at],
            blob[:at] + rng.randbytes(rng.randrange(1, 9)) + blob[at:],
        ):
            fuzzed.store.put(changed)
            fuzzed.loaded_anew()
        blob = fuzzed.get()
    assert fuzzed.cache.snapshot()["load_errors"] == 0


def test_random_bytes_are_a_miss(fuzzed: Fuzzed) -> None:
    rng, blob = random.Random(8), fuzzed.whole()
    for nth in range(100):
        noise = rng.randbytes(rng.choice((0, 1, 3, 53, 54, 200, 5000)))
        begins = (b"", blob[:3], blob[: EPOCH.stop], blob[:54])[nth % 4]
        fuzzed.store.put(begins + noise)
        fuzzed.loaded_anew(colour=nth % 2)
        blob = fuzzed.get()


def test_a_sealed_blob_with_anything_in_it_is_no_error(fuzzed: Fuzzed) -> None:
    rng = random.Random(9)
    for _ in range(200):
        blob = fuzzed.whole()
        at = rng.randrange(8, len(blob))
        fuzzed.store.put(resealed(blob[:at] + rng.randbytes(1) + blob[at + 1 :]))
        try:
            fuzzed.any()
        except AssertionError:
            # The name and the number themselves may have been changed into another's.
            assert at > len(blob) - len(b"\x82\xa4name\xa3Ann\xa6number\xcd\0\0")


@pytest.mark.parametrize("compression", [1, 2, 3, 255])
def test_no_more_is_unpacked_than_a_value_may_take(fuzzed: Fuzzed, compression: int) -> None:
    zeros = b"\xc6" + (300 * MB).to_bytes(4, "big") + bytes(300 * MB)
    small = zlib.compress(zeros, 9) if compression == 1 else zstandard.compress(zeros)
    assert len(small) < MB
    del zeros
    found = unpack("user:7", fuzzed.whole())
    assert found is not None
    (mark, fresh, stale, took, tags, _), payload = found
    header = Header(mark, fresh, stale, took, tags, negative=False)
    head = struct.pack(">BB", payload[0], compression) + payload[2:6]
    fuzzed.store.put(pack("user:7", header, head + small))
    tracemalloc.start()
    try:
        fuzzed.loaded_anew()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 40 * MB, "16 MB is what a value may take"
    assert fuzzed.cache.snapshot()["undecodable"] >= 1


def test_a_blob_of_another_time_or_life_is_a_miss(fuzzed: Fuzzed) -> None:
    for change in (
        lambda mark: mark._replace(now=mark.now + 1e9),
        lambda mark: mark._replace(epoch=b"otherone"),
        lambda mark: mark._replace(clock=mark.clock + 1),
        lambda _: Mark(bytes(8), 2**53 - 1, 1e300),
    ):
        found = unpack("user:7", fuzzed.whole())
        assert found is not None
        header, payload = found
        fuzzed.store.put(pack("user:7", header._replace(mark=change(header.mark)), payload))
        fuzzed.loaded_anew()


def test_what_is_no_hash_is_a_miss(redis: RedisServer) -> None:
    on = OnRedis(redis)
    writes: list[tuple[Any, ...]] = [
        ("SET", "{}", "text"),
        ("SETBIT", "{}", 9999, 1),
        ("RPUSH", "{}", "a", "b"),
        ("SADD", "{}", "a"),
        ("ZADD", "{}", 1, "a"),
        ("XADD", "{}", "*", "a", "b"),
        ("PFADD", "{}", "a"),
        ("HSET", "{}", "b", ""),
        ("HSET", "{}", "l", "text", "x", "y"),
    ]
    with Cache("shop", l1=None, l2=on.url) as cache:
        fuzzed = Fuzzed(on, cache)
        for place in ("escala:{shop}:k:user:7", "escala:{shop}:v"):
            for verb, _, *rest in writes:
                fuzzed.whole()
                on.ask("DEL", place)
                on.ask(verb, place, *rest)
                fuzzed.loaded_anew(tries=3)  # what is loaded when a new life begins is not stored
                on.ask("DEL", place)
                on.ask(verb, place, *rest)
                assert cache.delete("user:7", "another")
                assert cache.delete(tag="tag")
                fuzzed.loaded_anew(tries=3)


@pytest.mark.parametrize("what", ["l", "v", "t#tag"])
def test_what_is_known_of_a_key_or_a_tag_may_be_any_bytes(redis: RedisServer, what: str) -> None:
    on, rng = OnRedis(redis), random.Random(10)
    place = "escala:{shop}:k:user:7" if what == "l" else "escala:{shop}:v"
    with Cache("shop", l1=None, l2=on.url, wait="10ms") as cache:
        fuzzed = Fuzzed(on, cache)
        for nth in range(60):
            on.ask("DEL", "escala:{shop}:v")  # where it may say that nothing is to be stored
            cache.delete("user:7")
            time.sleep(0.002)
            fuzzed.any()
            cache.expire(tag="tag")
            assert cache.delete(tag="another")
            if what == "l":
                cache.expire("user:7")
            known: bytes = on.ask("HGET", place, what)
            at = rng.randrange(len(known))
            changed = (
                known[:at] + rng.randbytes(1) + known[at + 1 :],
                known[:at],
                rng.randbytes(len(known)),
                known + rng.randbytes(3),
            )[nth % 4]
            on.ask("HSET", place, what, changed)
            fuzzed.any()
            assert cache.delete("user:7")
            assert cache.delete(tag="tag")
            fuzzed.any()
