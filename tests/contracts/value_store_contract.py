"""What every `ValueStore` keeps to, in both colours, on the real engine.

Put it to use for an engine by a subclass whose name begins with `Test`, in a file
`tests/contracts/test_*_values.py`, with a fixture `opened` that opens a store for a writer, and
with `forget`, `few_tags` and `spoil`, which do to the engine what only it knows how to.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from escala.caching.pure.blob import Header, Mark, pack
from escala.caching.value_store import Found, Put, Signal, ValueStore
from escala.kernel.runtime import Runtime, colours, drive

Open = Callable[[str], ValueStore]
Ask = Callable[[Callable[[Runtime], Awaitable[Any]]], Any]

ODD = ["", " ", "{a}", "a:b", "*", "\r\n", "\0", "a 1 key 0", "ключ", "\ud800", "x" * 5000]
LEASE = 30.0
PATIENCE = 5.0


SPOILS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "a start": lambda _: b"Es\x01",
    "another thing": lambda _: b"no blob of ours" * 20,
    "one byte short": lambda blob: blob[:-1],
    "cut in the tags": lambda blob: blob[:60],
    "no payload": lambda blob: blob[:54],
    "cut in the header": lambda blob: blob[:53],
    "another epoch": lambda blob: blob[:8] + b"otherone" + blob[16:],
    "a clock of the future": lambda blob: blob[:16] + b"\x00\xff" * 4 + blob[24:],
    "born at no time": lambda blob: blob[:24] + b"\x7f\xf8" + b"\0" * 6 + blob[32:],
    "too many tags": lambda blob: blob[:52] + b"\xff\xff" + blob[54:],
    "a tag too long": lambda blob: blob[:54] + b"\xff\xff" + blob[56:],
    "one bit": lambda blob: blob[:-1] + bytes([blob[-1] ^ 1]),
}


def as_thread(ask: Callable[[Runtime], Awaitable[Any]]) -> Any:
    async def body() -> Any:
        return await ask(colours.thread)

    return drive(body())


def as_task(ask: Callable[[Runtime], Awaitable[Any]]) -> Any:
    async def body() -> Any:
        return await ask(colours.loop)

    return asyncio.run(body())


def until(done: Callable[[], Any], what: str = "it") -> None:
    """Wait in real time, not long."""
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.002)


def blob_of(
    key: str,
    mark: Mark,
    *tags: str,
    fresh: float = 60.0,
    stale: float = 60.0,
    payload: bytes = b"value",
) -> bytes:
    return pack(key, Header(mark, fresh, stale, 0.1, tags, negative=False), payload)


class Listening:
    """An ear that writes down what it hears."""

    def __init__(self, bound: float = 1.0) -> None:
        self.bound = bound
        self.signals: list[Signal] = []
        self.turns: list[str] = []

    def heard(self, signals: list[Signal]) -> None:
        self.signals += signals

    def lost(self) -> None:
        self.turns.append("lost")

    def regained(self) -> None:
        self.turns.append("regained")

    @property
    def hears(self) -> bool:
        """Memory is heard from the start, and says nothing."""
        return self.turns[-1:] != ["lost"]


class Talker:
    """A store, asked in one colour."""

    def __init__(self, store: Any, ask: Ask) -> None:
        self.store, self.ask = store, ask

    def read(self, *keys: str, lease: float = LEASE, early: bool = False) -> list[Found]:
        found: list[Found] = self.ask(lambda on: self.store.read(keys, lease, on, early=early))
        return found

    def look(self, key: str = "ann") -> Found:
        """Without taking a lease."""
        return self.read(key, lease=0.0)[0]

    def claim(self, *keys: str, lease: float = LEASE) -> list[Found]:
        found: list[Found] = self.ask(lambda on: self.store.claim(keys, lease, on))
        return found

    def put(
        self, found: Found, key: str = "ann", *tags: str, keep: float = 120.0, **how: Any
    ) -> bool:
        blob = blob_of(key, found.mark, *tags, **how)
        assert found.token is not None
        return self.put_blob(key, found.token, blob, keep)

    def put_blob(
        self, key: str, token: bytes, blob: bytes, keep: float = 120.0, *, tell: bool = False
    ) -> bool:
        put = Put(key, token, blob, keep)
        (stored,) = self.ask(lambda on: self.store.store([put], on, tell=tell))
        assert isinstance(stored, bool)
        return stored

    def load(self, key: str = "ann", *tags: str, **how: Any) -> Found:
        """Take the lease and store; what was found before."""
        (found,) = self.read(key, early=True)
        assert self.put(found, key, *tags, **how)
        return found

    def release(self, key: str, token: bytes) -> None:
        self.ask(lambda on: self.store.release([(key, token)], on))

    def invalidate(self, *signals: Signal, hold: float = 0.0) -> None:
        self.ask(lambda on: self.store.invalidate(signals, on, hold=hold))


def key(name: str = "ann", *, soft: bool = False) -> Signal:
    return Signal("key", name, soft)


def tag(name: str = "t", *, soft: bool = False) -> Signal:
    return Signal("tag", name, soft)


def everything(*, soft: bool = False) -> Signal:
    return Signal("all", "", soft)


FORKS = """
import os, sys, time
from escala.caching.value_store import Signal, open_value_store
from escala.kernel.runtime import colours, drive

parent = os.getpid()

def say(*words):
    me = "parent" if os.getpid() == parent else "child"
    os.write(1, (" ".join([me, *words]) + chr(10)).encode())

class Ear:
    bound = float(sys.argv[2])
    def heard(self, signals):
        say(*[signal.name for signal in signals])
    def lost(self):
        say("lost")
    def regained(self):
        say("regained")

def wait(seconds):
    time.sleep(seconds)

store = open_value_store(sys.argv[1], "c", "a1")
store.listen(Ear())
drive(store.invalidate([Signal("key", "mine")], colours.thread))
wait(0.3)
if os.fork() == 0:
    wait(0.3)
    say("asks")
    drive(store.read(["ann"], 0.0, colours.thread))
    wait(0.5)
    store.close()
    wait(0.1)
    os._exit(0)
wait(0.7)
other = open_value_store(sys.argv[1], "c", "b2")
drive(other.invalidate([Signal("key", "theirs")], colours.thread))
os.wait()
store.close()
"""


def lines_of_a_fork(url: str, bound: float = 1.0) -> dict[str, list[str]]:
    ran = subprocess.run(
        [sys.executable, "-c", FORKS, url, str(bound)],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert ran.stderr == ""
    lines = [line.split() for line in ran.stdout.splitlines()]
    return {who: [what for me, what in lines if me == who] for who in ("parent", "child")}


class ValueStoreContract:
    """`opened`, which opens a store for a writer, is the subclass's fixture."""

    bound = 1.0  # of the ears

    def forget(self, store: Any) -> None:
        """Have the engine lose its memory of invalidations."""
        raise AssertionError("the subclass knows")

    def few_tags(self, store: Any, most: int) -> None:
        """Have it remember fewer tags."""
        raise AssertionError("the subclass knows")

    def spoil(self, store: Any, key: str, change: Callable[[bytes], bytes]) -> None:
        """Change the bytes that the engine keeps for a key."""
        raise AssertionError("the subclass knows")

    @pytest.fixture(params=[as_thread, as_task], ids=["sync", "async"])
    def ask(self, request: pytest.FixtureRequest) -> Ask:
        ask: Ask = request.param
        return ask

    @pytest.fixture
    def stores(self, opened: Open) -> Iterator[Open]:
        with contextlib.ExitStack() as stack:

            def open_(writer: str) -> ValueStore:
                store = opened(writer)
                stack.callback(store.close)
                return store

            yield open_

    @pytest.fixture
    def one(self, stores: Open, ask: Ask) -> Talker:
        return Talker(stores("a1"), ask)

    @pytest.fixture
    def two(self, stores: Open, ask: Ask) -> Talker:
        return Talker(stores("b2"), ask)

    def test_what_one_stores_the_other_finds(self, one: Talker, two: Talker) -> None:
        (missing,) = one.read("ann")
        assert (missing.blob, missing.expired, missing.wait) == (None, False, 0.0)
        assert missing.token is not None
        assert len(missing.mark.epoch) == 8
        blob = blob_of("ann", missing.mark, "t", "u")
        assert one.put_blob("ann", missing.token, blob)
        (found,) = two.read("ann")
        assert found[:4] == (blob, False, None, 0.0)
        assert found.mark[:2] == missing.mark[:2]
        assert 0 <= found.mark.now - missing.mark.now < PATIENCE

    def test_one_of_many_threads_gets_the_lease(self, stores: Open) -> None:
        found: list[Found] = []
        each = [stores(f"w{nth}") for nth in range(4)]

        def load(store: ValueStore) -> None:
            found.extend(as_thread(lambda on: store.read(["ann"], LEASE, on)))

        threads = [threading.Thread(target=load, args=(store,)) for store in each * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(found) == 12
        assert sum(one.token is not None for one in found) == 1
        assert all(one.token is not None or 0 < one.wait <= LEASE for one in found)

    def test_one_of_many_tasks_gets_the_lease(self, stores: Open) -> None:
        store = stores("a1")

        async def all_() -> list[list[Found]]:
            reads = [store.read(["ann"], LEASE, colours.loop) for _ in range(50)]
            return await asyncio.gather(*reads)

        found = [each for (each,) in asyncio.run(all_())]
        assert sum(each.token is not None for each in found) == 1
        assert sum(each.wait > 0 for each in found) == 49

    def test_each_key_has_its_own(self, one: Talker, two: Talker) -> None:
        leased = one.read(*ODD)
        assert all(found.token is not None for found in leased)
        for name, found in zip(ODD, leased, strict=True):
            assert one.put(found, name, payload=name.encode(errors="surrogatepass")), repr(name)
        for name, found in zip(ODD, two.read(*ODD), strict=True):
            assert found.blob == blob_of(
                name, leased[0].mark, payload=name.encode(errors="surrogatepass")
            )

    def test_as_many_keys_as_one_likes(self, one: Talker, two: Talker) -> None:
        names = [f"k{nth}" for nth in range(2300)]
        leased = one.read(*names)
        puts = [
            Put(name, found.token or b"", blob_of(name, found.mark), 60.0)
            for name, found in zip(names, leased, strict=True)
        ]
        assert one.ask(lambda on: one.store.store(puts, on)) == [True] * 2300
        assert [found.blob for found in two.read(*names)] == [put.blob for put in puts]
        two.invalidate(*[key(name) for name in names[1:]])
        found = one.read(*names, lease=0.0)
        assert found[0].blob is not None
        assert [each.blob for each in found[1:]] == [None] * 2299
        leases = [each.token or b"" for each in one.claim(*names)]
        one.ask(lambda on: one.store.release(list(zip(names, leases, strict=True)), on))
        assert all(each.token is not None for each in two.read(*names))

    def test_no_keys_are_no_question(self, one: Talker) -> None:
        assert one.read() == one.claim() == []
        assert one.ask(lambda on: one.store.store([], on)) == []
        one.ask(lambda on: one.store.release([], on))
        one.invalidate()

    def test_only_the_lease_stores_and_only_once(self, one: Talker, two: Talker) -> None:
        (found,) = one.read("ann")
        blob = blob_of("ann", found.mark)
        assert not two.put_blob("ann", b"another", blob)
        assert two.look().wait > 0
        assert one.put(found)
        assert not one.put(found)
        assert not two.put_blob("bob", b"never given", blob_of("bob", found.mark))

    def test_looking_takes_no_lease(self, one: Talker, two: Talker) -> None:
        assert one.look()[:4] == (None, False, None, 0.0)
        assert two.read("ann")[0].token is not None
        assert one.look().wait > 0

    def test_a_fresh_value_has_a_lease_only_for_who_is_early(
        self, one: Talker, two: Talker
    ) -> None:
        one.load()
        assert one.read("ann")[0].token is None
        (early,) = two.read("ann", early=True)
        assert early.blob is not None
        assert early.token is not None
        (late,) = one.read("ann", early=True)
        assert (late.blob, late.token) == (early.blob, None)
        assert 0 < late.wait <= LEASE
        assert two.put(early, payload=b"newer")
        assert one.look().blob == blob_of("ann", early.mark, payload=b"newer")

    def test_a_stale_value_is_there_and_a_lease_with_it(self, one: Talker, two: Talker) -> None:
        one.load(fresh=0.05, stale=60.0)
        assert two.read("ann")[0].token is None
        time.sleep(0.06)
        (found,) = two.read("ann")
        assert found.blob is not None
        assert (found.expired, found.token is not None) == (False, True)
        assert one.read("ann")[0].token is None

    def test_past_its_staleness_it_is_gone(self, one: Talker, two: Talker) -> None:
        one.load(fresh=0.02, stale=0.03)
        time.sleep(0.06)
        (found,) = two.read("ann")
        assert (found.blob, found.token is not None) == (None, True)

    def test_it_is_kept_as_long_as_it_was_asked_to(self, one: Talker, two: Talker) -> None:
        one.load(keep=0.05)
        assert two.look().blob is not None
        time.sleep(0.06)
        assert two.look().blob is None

    def test_what_is_kept_for_ever_stays(self, one: Talker, two: Talker) -> None:
        one.load(keep=float("inf"), fresh=float("inf"))
        assert two.read("ann")[0].blob is not None

    def test_the_next_one_loads_when_a_lease_is_over(self, one: Talker, two: Talker) -> None:
        (dead,) = one.read("ann", lease=0.08)
        (waits,) = two.read("ann", lease=0.08)
        assert waits.token is None
        assert 0 < waits.wait <= 0.08
        time.sleep(waits.wait + 0.005)
        assert not one.put(dead)
        (found,) = two.read("ann")
        assert found.token is not None
        assert not one.put(dead)
        assert two.put(found)

    def test_a_released_lease_is_free_at_once(self, one: Talker, two: Talker) -> None:
        (found,) = one.read("ann")
        assert found.token is not None
        two.release("ann", b"another")
        assert two.read("ann")[0].token is None
        one.release("ann", found.token)
        assert two.look().wait == 0.0
        assert not one.put(found)
        assert two.read("ann")[0].token is not None

    @pytest.mark.parametrize("soft", [False, True], ids=["delete", "expire"])
    def test_a_load_from_before_an_invalidation_of_its_key_is_not_stored(
        self, one: Talker, two: Talker, soft: bool
    ) -> None:
        (found,) = one.read("ann")
        two.invalidate(key(soft=soft))
        assert two.look().wait == 0.0
        assert not one.put(found)
        assert two.look().blob is None
        two.load()
        assert not one.put(found)

    @pytest.mark.parametrize("signal", [key(), tag(), everything()], ids=lambda each: each.kind)
    def test_what_is_deleted_is_gone(self, one: Talker, two: Talker, signal: Signal) -> None:
        one.load("ann", "s", "t")
        before = one.look().mark.clock
        two.invalidate(signal)
        (found,) = one.read("ann")
        assert (found.blob, found.expired, found.token is not None) == (None, False, True)
        assert (found.mark.clock > before) is (signal.kind != "key")
        assert one.put(found, "ann", "t")
        assert two.read("ann")[0][1:3] == (False, None)

    @pytest.mark.parametrize("signal", [key(), tag(), everything()], ids=lambda each: each.kind)
    def test_what_is_expired_is_stale(self, one: Talker, two: Talker, signal: Signal) -> None:
        one.load("ann", "s", "t")
        blob = one.look().blob
        two.invalidate(signal._replace(soft=True))
        assert two.look()[:3] == (blob, True, None)
        (found,) = one.read("ann")
        assert (found.blob, found.expired, found.token is not None) == (blob, True, True)
        assert one.put(found, "ann", "t", payload=b"newer")
        newer = two.read("ann")[0]
        assert newer[1:3] == (False, None)
        assert newer.blob == blob_of("ann", found.mark, "t", payload=b"newer")

    @pytest.mark.parametrize("signal", [key(), tag(), everything()], ids=lambda each: each.kind)
    def test_what_is_expired_can_still_be_deleted(
        self, one: Talker, two: Talker, signal: Signal
    ) -> None:
        one.load("ann", "t")
        two.invalidate(signal._replace(soft=True))
        two.invalidate(signal)
        assert one.look()[:2] == (None, False)
        two.invalidate(signal._replace(soft=True))
        assert one.look()[:2] == (None, False)

    @pytest.mark.parametrize("signal", [tag("t"), tag("u"), everything()], ids=str)
    def test_a_value_from_before_a_deletion_of_its_tag_is_never_seen(
        self, one: Talker, two: Talker, signal: Signal
    ) -> None:
        (found,) = one.read("ann")
        two.invalidate(signal)
        one.put(found, "ann", "s", "t", "u")
        assert two.look().blob is None
        again = two.read("ann")[0]
        assert again.token is not None, "the lease of the refused one is over"

    def test_a_value_from_before_an_expiry_of_its_tag_is_stale(
        self, one: Talker, two: Talker
    ) -> None:
        (found,) = one.read("ann")
        two.invalidate(tag(soft=True))
        one.put(found, "ann", "t")
        assert two.look().expired
        assert two.read("ann")[0].token is not None

    def test_others_are_left_alone(self, one: Talker, two: Talker) -> None:
        one.load("ann", "t")
        two.invalidate(key("bob"), tag("u"), tag("T"), key("an"))
        two.invalidate(key("bob", soft=True), tag("u", soft=True))
        assert one.read("ann")[0][1:3] == (False, None)
        one.load("bob")
        two.invalidate(tag(""))
        assert one.read("bob")[0][1:3] == (False, None)

    def test_tags_are_any_text(self, one: Talker, two: Talker) -> None:
        for nth, name in enumerate(ODD):
            one.load(f"k{nth}", "other", name)
        for nth, name in enumerate(ODD):
            assert one.look(f"k{nth}").blob is not None, repr(name)
            two.invalidate(tag(name))
            assert one.look(f"k{nth}").blob is None, repr(name)

    def test_a_value_may_have_many_tags(self, one: Talker, two: Talker) -> None:
        tags = [f"t{nth}" for nth in range(1300)]
        one.load("ann", *tags)
        assert two.look()[1] is False
        two.invalidate(tag("t1299", soft=True))
        assert two.look()[1] is True
        two.invalidate(tag("t700"))
        assert two.look().blob is None

    def test_a_claim_takes_the_lease_away(self, one: Talker, two: Talker) -> None:
        (found,) = one.read("ann")
        (claimed,) = two.claim("ann")
        assert (claimed.blob, claimed.wait) == (None, 0.0)
        assert claimed.token is not None
        assert not one.put(found)
        (again,) = one.claim("ann")
        assert not two.put(claimed)
        assert one.put(again, payload=b"mine")
        assert two.look().blob == blob_of("ann", again.mark, payload=b"mine")

    def test_a_claim_deletes(self, one: Talker, two: Talker) -> None:
        one.load()
        two.claim("ann", lease=0.05)
        assert one.look().blob is None
        assert 0 < one.look().wait <= 0.05
        time.sleep(0.06)
        assert one.look()[0:4] == (None, False, None, 0.0)

    def test_during_a_hold_off_no_one_stores(self, one: Talker, two: Talker) -> None:
        (before,) = one.read("ann")
        two.invalidate(key(), hold=0.15)
        assert not one.put(before)
        (held,) = one.read("ann")
        assert (held.blob, held.token, held.wait) == (None, None, 0.0)
        (claimed,) = one.claim("ann")
        assert not one.put(claimed)
        two.invalidate(key())  # does not shorten it
        assert one.read("ann")[0].token is None
        time.sleep(0.16)
        (after,) = one.read("ann")
        assert after.token is not None
        assert one.put(after)

    def test_a_hold_off_after_an_expiry_leaves_what_is_stale(
        self, one: Talker, two: Talker
    ) -> None:
        one.load()
        two.invalidate(key(soft=True), hold=0.1)
        (held,) = one.read("ann")
        assert held.blob is not None
        assert (held.expired, held.token) == (True, None)
        time.sleep(0.11)
        assert one.read("ann")[0].token is not None

    def test_a_lease_does_not_outlive_its_hold_off(self, one: Talker, two: Talker) -> None:
        (claimed,) = one.claim("ann", lease=5.0)
        two.invalidate(key(), hold=0.05)
        (claimed,) = one.claim("ann", lease=5.0)
        time.sleep(0.06)
        assert one.put(claimed)

    @pytest.mark.parametrize("soft", [False, True], ids=["delete", "expire"])
    @pytest.mark.parametrize("signal", [tag(), everything()], ids=lambda each: each.kind)
    def test_what_is_loaded_during_a_hold_off_of_its_tag_is_not_stored(
        self, one: Talker, two: Talker, signal: Signal, soft: bool
    ) -> None:
        two.invalidate(signal._replace(soft=soft), hold=0.1)
        two.invalidate(signal._replace(soft=soft), hold=0.01)
        (during,) = one.read("ann")
        time.sleep(0.11)
        assert not one.put(during, "ann", "s", "t")
        (after,) = one.read("ann")
        assert one.put(after, "ann", "s", "t")
        two.invalidate(tag("other"), hold=5.0)
        (other,) = one.read("bob")
        assert one.put(other, "bob", "t")

    def test_a_hold_off_outlives_its_tag(self, one: Talker, two: Talker) -> None:
        for store in (one.store, two.store):
            self.few_tags(store, 2)
        two.invalidate(tag("t"), hold=5.0)
        two.invalidate(tag("a"), tag("b"), tag("c"))
        (found,) = one.read("ann")
        assert not one.put(found, "ann", "t")
        two.invalidate(everything())
        (found,) = one.read("ann")
        assert not one.put(found, "ann", "t")

    def test_of_too_many_tags_none_is_remembered(self, one: Talker, two: Talker) -> None:
        for store in (one.store, two.store):
            self.few_tags(store, 3)
        one.load("tagged", "t")
        one.load("plain")
        for name in ("a", "b", "c", "a", "c"):
            two.invalidate(tag(name))
        assert one.look("tagged").blob is not None
        two.invalidate(tag("d"))
        assert one.look("tagged").blob is None
        assert one.look("plain").blob is not None
        one.load("tagged", "a")
        two.invalidate(tag("e"), tag("f", soft=True))
        assert one.look("tagged").blob is not None
        two.invalidate(tag("a"))
        assert one.look("tagged").blob is None

    def test_a_store_that_forgot_has_no_values_from_before(self, one: Talker, two: Talker) -> None:
        one.load("ann")
        (found,) = two.read("bob")
        self.forget(one.store)
        (again,) = one.read("ann")
        assert (again.blob, again.token is not None) == (None, True)
        assert again.mark.epoch != found.mark.epoch
        two.put(found, "bob")
        assert one.look("bob").blob is None
        assert one.put(again)
        assert two.look().mark.epoch == again.mark.epoch

    @pytest.mark.parametrize("change", SPOILS.values(), ids=SPOILS)
    def test_a_blob_that_is_not_whole_is_a_miss(
        self, one: Talker, two: Talker, change: Callable[[bytes], bytes]
    ) -> None:
        one.load("ann", "tag", "another")
        self.spoil(one.store, "ann", change)
        (found,) = two.read("ann")
        assert (found.blob, found.expired, found.token is not None) == (None, False, True)
        assert one.look().blob is None
        assert two.put(found)
        assert one.read("ann")[0].blob is not None

    def test_the_blob_of_another_key_is_a_miss(self, one: Talker, two: Talker) -> None:
        (found,) = one.read("ann")
        one.put_blob("ann", found.token or b"", blob_of("bob", found.mark))
        assert two.look().blob is None

    def test_what_is_no_blob_is_not_stored(self, one: Talker, two: Talker) -> None:
        (found,) = one.read("ann")
        assert not one.put_blob("ann", found.token or b"", b"no blob of ours")
        assert two.read("ann")[0].token is not None

    def test_a_value_of_some_megabytes_passes(self, one: Talker, two: Talker) -> None:
        payload = bytes(range(256)) * 4096 * 4
        found = one.load(payload=payload)
        assert two.look().blob == blob_of("ann", found.mark, payload=payload)

    def test_the_others_hear_of_it(self, one: Talker, two: Talker) -> None:
        mine, other = Listening(self.bound), Listening(self.bound)
        one.store.listen(mine)
        two.store.listen(other)
        until(lambda: mine.hears and other.hears, "both ears")
        one.read("ann")
        self._settle(mine, other)
        told = [
            *[key(name) for name in ODD],
            *[tag(name, soft=True) for name in ODD],
            key(soft=True),
            tag(),
            everything(soft=True),
            everything(),
        ]
        for signal in told:
            one.invalidate(signal)
        until(lambda: len(other.signals) >= len(told), "the signals")
        assert other.signals == told
        one.claim("bob", "cid")
        one.invalidate(key("dan"), tag("u"))
        until(lambda: len(other.signals) >= len(told) + 4, "the claim")
        assert sorted(other.signals[-4:]) == [key("bob"), key("cid"), key("dan"), tag("u")]
        assert mine.signals == []
        one.load()
        one.release("ann", b"token")
        two.invalidate(key("end"))
        until(lambda: mine.signals, "the end")
        assert mine.signals == [key("end")]
        assert len(other.signals) == len(told) + 4

    def test_the_others_hear_of_what_is_stored_if_they_are_to(
        self, one: Talker, two: Talker
    ) -> None:
        mine, other = Listening(self.bound), Listening(self.bound)
        one.store.listen(mine)
        two.store.listen(other)
        until(lambda: mine.hears and other.hears, "both ears")
        one.load("ann")
        self._settle(mine, other)
        (found,) = one.read("ann", early=True)
        assert found.token is not None
        blob = blob_of("ann", found.mark)
        assert not one.put_blob("ann", b"another", blob, tell=True)
        assert one.put_blob("ann", found.token, blob, tell=True)
        assert two.look().blob == blob
        one.invalidate(key("end"))
        until(lambda: len(other.signals) > 1, "the signals")
        assert other.signals == [key("ann"), key("end")]
        assert mine.signals == []

    def test_caches_of_other_names_do_not_meet(self, one: Talker, elsewhere: Talker) -> None:
        other = Listening(self.bound)
        elsewhere.store.listen(other)
        until(lambda: other.hears, "the ear")
        elsewhere.load("ann", "t")
        one.load("ann", "t")
        self._settle(other)
        turns = list(other.turns)
        one.invalidate(key(), tag(), everything())
        assert elsewhere.look().blob is not None
        assert one.look().blob is None
        time.sleep(0.06)
        assert (other.signals, other.turns) == ([], turns)

    def test_who_has_closed_hears_nothing(self, one: Talker, two: Talker) -> None:
        other = Listening(self.bound)
        two.store.listen(other)
        until(lambda: other.hears, "the ear")
        two.store.close()
        two.store.close()
        one.invalidate(key())
        time.sleep(0.06)
        assert other.signals == []
        until(lambda: not [each for each in threading.enumerate() if each.name == "c-ear"])

    def test_a_store_has_one_ear(self, one: Talker) -> None:
        one.store.listen(Listening())
        with pytest.raises(RuntimeError, match="one ear"):
            one.store.listen(Listening())

    def test_an_ear_that_fails_is_told_the_next_time(
        self, one: Talker, two: Talker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shown: list[type[BaseException]] = []
        monkeypatch.setattr("sys.excepthook", lambda kind, *_: shown.append(kind))

        class Failing(Listening):
            def heard(self, signals: list[Signal]) -> None:
                super().heard(signals)
                raise ZeroDivisionError

        other = Failing(self.bound)
        two.store.listen(other)
        until(lambda: other.hears, "the ear")
        one.invalidate(key("bob"))
        until(lambda: other.signals)
        one.invalidate(key("cid"))
        until(lambda: len(other.signals) == 2)
        until(lambda: len(shown) == 2)
        assert shown == [ZeroDivisionError] * 2

    @pytest.fixture
    def elsewhere(self, elsewhere_opened: ValueStore, ask: Ask) -> Iterator[Talker]:
        yield Talker(elsewhere_opened, ask)
        elsewhere_opened.close()

    @staticmethod
    def _settle(*ears: Listening) -> None:
        """Let what is on its way arrive, such as the news that there is an epoch."""
        time.sleep(0.06)
        for ear in ears:
            ear.signals.clear()
