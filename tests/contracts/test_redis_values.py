"""The second level in a real Redis keeps to the contract of every value store."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.value_store_contract import (
    PATIENCE,
    Listening,
    Open,
    Talker,
    ValueStoreContract,
    as_thread,
    blob_of,
    everything,
    key,
    lines_of_a_fork,
    tag,
    until,
)
from tests.servers.certificates import authority, signed
from tests.servers.redis_server import (
    RedisServer,
    free_port,
    own_redis,
    redis,
    running,
    shared_redis,
)

from escala.caching.value_store import ValueStore, open_value_store
from escala.errors import ConfigError

__all__ = ["own_redis", "redis", "shared_redis"]

pytestmark = pytest.mark.live


def told(server: RedisServer, *words: str | bytes) -> Any:
    """What the server answers, by a client that is not ours."""
    from redis import Redis

    with Redis.from_url(server.url) as client:
        return client.execute_command(*words)


class TestRedisValues(ValueStoreContract):
    @pytest.fixture(params=["tracking", "pubsub"])
    def url(self, redis: RedisServer, request: pytest.FixtureRequest) -> str:
        self.server = redis
        return f"{redis.url}?events={request.param}&timeout=10s"

    @pytest.fixture
    def opened(self, url: str) -> Open:
        return lambda writer: open_value_store(url, "c", writer)

    @pytest.fixture
    def elsewhere_opened(self, url: str) -> ValueStore:
        return open_value_store(url, "d", "b2")

    def forget(self, store: Any) -> None:
        told(self.server, "DEL", store._versions)

    def few_tags(self, store: Any, most: int) -> None:
        store._most_tags = most

    def spoil(self, store: Any, key: str, change: Callable[[bytes], bytes]) -> None:
        name = store._keys + key.encode()
        told(self.server, "HSET", name, "b", change(told(self.server, "HGET", name, "b")))

    def test_what_is_no_hash_is_a_miss(self, one: Talker, two: Talker) -> None:
        told(self.server, "SET", one.store._keys + b"ann", "not a hash")
        assert one.look()[:4] == (None, False, None, 0.0)
        (found,) = one.read("ann")
        assert one.put(found)
        assert two.look().blob is not None
        told(self.server, "SET", one.store._keys + b"ann", "not a hash")
        assert not one.put_blob("ann", b"token", blob_of("ann", found.mark))
        one.release("ann", b"token")
        one.invalidate(key(soft=True))
        assert told(self.server, "EXISTS", one.store._keys + b"ann") == 0
        told(self.server, "SET", one.store._keys + b"ann", "not a hash")
        assert one.put(one.claim("ann")[0])

    @pytest.mark.parametrize(
        "spoiled",
        [("l", ""), ("l", "x"), ("l", "x" * 16), ("l", "\0" * 17), ("l", "x" * 40), ("b", "x")],
        ids=lambda each: f"{each[0]}{len(each[1])}{each[1][:1] == 'x'}",
    )
    def test_a_lock_that_is_none_of_ours_counts_as_none(
        self, one: Talker, two: Talker, spoiled: tuple[str, str]
    ) -> None:
        one.read("ann")
        told(self.server, "HSET", one.store._keys + b"ann", *spoiled)
        one.release("ann", b"token")
        if spoiled[0] == "l":
            assert one.look().wait == 0.0
            assert one.put(one.read("ann")[0])
        two.claim("bob")
        told(self.server, "HSET", one.store._keys + b"bob", *spoiled)
        for name in ("ann", "bob"):
            assert one.put(one.claim(name)[0], name)
            assert two.read(name)[0][1:3] == (False, None)

    @pytest.mark.parametrize("spoiled", ["", "x", "x" * 56, "x" * 57, "\0" * 55])
    def test_versions_that_are_none_of_ours_are_a_new_life(
        self, one: Talker, two: Talker, spoiled: str
    ) -> None:
        before = one.load("ann").mark
        told(self.server, "HSET", one.store._versions, "v", spoiled)
        (found,) = two.read("ann")
        assert found.blob is None
        assert found.mark.epoch != before.epoch
        assert two.put(found)
        assert one.look().blob is not None

    @pytest.mark.parametrize("spoiled", ["", "x" * 23, "x" * 24, "x" * 25])
    def test_a_tag_that_is_none_of_ours_was_just_invalidated(
        self, one: Talker, two: Talker, spoiled: str
    ) -> None:
        one.load("ann", "t")
        told(self.server, "HSET", one.store._versions, "tt", spoiled)
        assert two.look().blob is None

    def test_versions_of_another_type_are_a_new_life(self, one: Talker, two: Talker) -> None:
        one.load("ann")
        told(self.server, "SET", one.store._versions, "not a hash")
        one.invalidate(tag("t"))
        (found,) = two.read("ann")
        assert (found.blob, found.mark.clock) == (None, 1)
        assert two.put(found)

    def test_signals_leave_nothing_behind(self, one: Talker) -> None:
        one.load("ann", "t")
        one.invalidate(*[key(f"k{nth}") for nth in range(5)], tag("t"), everything(soft=True))
        assert sorted(told(self.server, "KEYS", "*")) == [b"escala:{c}:k:ann", b"escala:{c}:v"]
        one.invalidate(key())
        assert told(self.server, "KEYS", "*") == [b"escala:{c}:v"]

    def test_every_key_ends_by_itself(self, one: Talker, two: Talker) -> None:
        one.load("kept", keep=60.0)
        one.read("leased", lease=20.0)
        one.claim("claimed", lease=20.0)
        one.invalidate(key("held"), hold=40.0)
        one.claim("held", lease=20.0)
        one.load("again", keep=10.0)
        two.read("again", lease=20.0, early=True)
        ends = {"kept": 60, "leased": 20, "claimed": 20, "held": 40, "again": 20}
        for name, seconds in ends.items():
            left = told(self.server, "PTTL", one.store._keys + name.encode())
            assert seconds * 1000 - PATIENCE * 1000 < left <= seconds * 1000, name

    def test_a_script_that_runs_twice_has_done_the_same_as_once(
        self, one: Talker, two: Talker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = one.store._link.run

        async def twice(*what: Any) -> Any:
            await run(*what)
            return await run(*what)

        monkeypatch.setattr(one.store._link, "run", twice)
        (found,) = one.read("ann")
        assert found.token is not None
        one.put(found)  # the second time there is no lease any more
        assert two.look().blob == blob_of("ann", found.mark)
        (claimed,) = one.claim("ann")
        assert two.read("ann")[0].token is None
        monkeypatch.setattr(one.store._link, "run", run)
        assert one.put(claimed)
        monkeypatch.setattr(one.store._link, "run", twice)
        one.invalidate(key(), tag("t"))
        assert two.look().blob is None

    def test_sixty_four_megabytes_pass(self, one: Talker, two: Talker) -> None:
        payload = b"0123456789abcdef" * (1 << 22)
        one.load(payload=payload)
        blob = two.look().blob
        assert blob is not None
        assert blob.endswith(payload)


@pytest.fixture
def opened(own_redis: RedisServer) -> Iterator[Callable[..., tuple[Talker, Listening]]]:
    """Stores of a server that may be ended, each with an ear that hears."""
    with contextlib.ExitStack() as stack:

        def open_(writer: str, *, hears: bool = True, **said: str) -> tuple[Talker, Listening]:
            said = {"timeout": "2s", **said}
            words = "&".join(f"{name}={value}" for name, value in said.items())
            store = open_value_store(f"{own_redis.url}?{words}", "c", writer)
            stack.callback(store.close)
            ear = Listening(bound=0.4)
            store.listen(ear)
            assert ear.turns[0] == "lost"
            if hears:
                until(lambda: ear.hears, "the ear")
            return Talker(store, as_thread), ear

        yield open_


Opened = Callable[..., tuple[Talker, Listening]]
both = pytest.mark.parametrize("events", ["tracking", "pubsub"])


@both
def test_a_listening_connection_that_is_killed_is_lost_and_regained(
    opened: Opened, own_redis: RedisServer, events: str
) -> None:
    (one, _), (two, ear) = opened("a1", events=events), opened("b2", events=events)
    assert two.store.transport == events
    one.load()
    time.sleep(0.05)
    before = list(ear.turns)
    began = time.monotonic()
    kind = "pubsub" if events == "pubsub" else "normal"
    own_redis.ask("CLIENT", "KILL", "TYPE", kind)
    until(lambda: len(ear.turns) >= len(before) + 1)
    assert time.monotonic() - began < 0.3, "a closed socket is known at once"
    until(lambda: ear.hears)
    assert ear.turns[len(before) :] == ["lost", "regained"]
    one.invalidate(key())
    until(lambda: ear.signals)


@both
def test_a_server_that_says_nothing_is_lost_within_the_bound(
    opened: Opened, own_redis: RedisServer, events: str
) -> None:
    (one, _), (two, ear) = opened("a1", events=events), opened("b2", events=events)
    time.sleep(0.5)  # an idle connection is not lost
    assert ear.turns == ["lost", "regained"]
    own_redis.pause()
    began = time.monotonic()
    until(lambda: not ear.hears)
    assert time.monotonic() - began < 0.4
    assert two.store.transport == ""
    own_redis.resume()
    until(lambda: ear.hears)
    one.invalidate(key())
    until(lambda: key() in ear.signals)


@both
def test_a_server_that_starts_anew_knows_nothing_from_before(
    opened: Opened, own_redis: RedisServer, events: str
) -> None:
    (one, _), (two, ear) = opened("a1", events=events), opened("b2", events=events)
    before = one.load().mark
    (leased,) = one.read("bob")
    own_redis.kill()
    until(lambda: not ear.hears)
    own_redis.start()
    until(lambda: ear.hears)
    (found,) = two.read("ann")
    assert found.blob is None
    assert found.mark.epoch != before.epoch
    assert not one.put(leased, "bob")


@both
def test_everyone_learns_that_a_server_was_flushed(
    opened: Opened, own_redis: RedisServer, events: str
) -> None:
    (one, mine), (two, ear) = opened("a1", events=events), opened("b2", events=events)
    one.load()
    time.sleep(0.05)
    before = len(mine.turns), len(ear.turns)
    own_redis.ask("FLUSHALL")
    if events == "pubsub":  # no one is told until someone asks
        two.look()
    until(lambda: len(mine.turns) > before[0] and len(ear.turns) > before[1])
    assert "lost" not in mine.turns[before[0] :] + ear.turns[before[1] :]
    assert one.look().blob is None


def test_where_there_is_no_tracking_it_listens_to_a_channel(
    opened: Opened, own_redis: RedisServer
) -> None:
    own_redis.ask("ACL", "SETUSER", "default", "-client|tracking")
    one, _ = opened("a1")
    two, ear = opened("b2")
    assert two.store.transport == "pubsub"
    one.invalidate(key())
    until(lambda: key() in ear.signals)
    never, deaf = opened("c3", events="tracking", hears=False)
    time.sleep(0.2)
    assert (deaf.turns, never.store.transport) == (["lost"], "")
    own_redis.ask("ACL", "SETUSER", "default", "+client|tracking")
    until(lambda: deaf.hears)
    assert never.store.transport == "tracking"


def test_a_server_that_is_away_at_first_is_heard_when_it_comes(
    opened: Opened, own_redis: RedisServer
) -> None:
    own_redis.kill()
    _, ear = opened("a1", hears=False)
    time.sleep(0.1)
    assert ear.turns == ["lost"]
    own_redis.start()
    until(lambda: ear.hears)
    assert ear.turns == ["lost", "regained"]


@both
def test_a_forked_child_hears_with_an_ear_of_its_own(own_redis: RedisServer, events: str) -> None:
    told = lines_of_a_fork(f"{own_redis.url}?timeout=2s&events={events}")
    assert told["child"] == ["lost", "asks", "regained", "theirs"]
    assert [each for each in told["parent"] if each != "regained"] == ["lost", "theirs"]


def test_when_memory_is_full_what_is_there_is_still_served(
    opened: Opened, own_redis: RedisServer
) -> None:
    (one, _), (_, ear) = opened("a1"), opened("b2")
    one.load("ann", fresh=0.01)
    (leased,) = one.read("bob")
    time.sleep(0.02)
    own_redis.ask("CONFIG", "SET", "maxmemory", "1")
    (stale,) = one.read("ann")
    assert stale.blob is not None
    assert (stale.token, stale.wait) == (None, 0.0)
    assert not one.put(leased, "bob")
    assert one.look("bob").wait == 0.0
    one.invalidate(key("ann"), tag("t"))
    assert one.look("ann").blob is None
    assert not one.put(one.claim("ann")[0])
    until(lambda: len(ear.signals) == 3)
    own_redis.ask("DEL", "escala:{c}:v")
    assert one.look("ann").mark.clock == 0
    own_redis.ask("CONFIG", "SET", "maxmemory", "0")
    one.load("ann")


def test_it_listens_by_tls_with_a_password(tmp_path: Path) -> None:
    ours, port = authority(tmp_path, "ours"), free_port()
    served = signed(ours, "served", "IP:127.0.0.1")
    tls = ("--tls-port", str(port), "--tls-ca-cert-file", str(ours.file))
    mine = ("--tls-cert-file", str(served.file), "--tls-key-file", str(served.key))
    with running(*tls, *mine, "--tls-auth-clients", "no") as server:
        server.ask("ACL", "SETUSER", "me", "on", ">s3cret", "~*", "&*", "+@all")
        url = f"rediss://me:s3cret@127.0.0.1:{port}/3?timeout=2s&ssl_ca_certs={ours.file}"
        stores = [open_value_store(url, "c", writer) for writer in ("a1", "b2")]
        ear = Listening()
        stores[1].listen(ear)
        until(lambda: ear.hears)
        many = [key(f"k{nth}" * 50) for nth in range(500)]
        Talker(stores[0], as_thread).invalidate(*many)
        until(lambda: len(ear.signals) >= 500)
        assert set(ear.signals) == set(many)
        for store in stores:
            store.close()
        until(lambda: not [each for each in threading.enumerate() if each.name == "c-ear"])


def test_it_listens_on_a_socket_of_the_file_system(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with running("--unixsocket", str(path)) as server:
        stores = [open_value_store(f"unix://{path}?timeout=2s", "c", writer) for writer in "ab"]
        ear = Listening()
        stores[1].listen(ear)
        until(lambda: ear.hears)
        Talker(stores[0], as_thread).invalidate(key())
        until(lambda: ear.signals)
        server.ask("CLIENT", "KILL", "TYPE", "normal")
        until(lambda: ear.turns[-2:] == ["lost", "regained"] and len(ear.turns) > 2)
        for store in stores:
            store.close()


def test_its_url_is_checked() -> None:
    for said, why in {
        "events=none": "events: expected one of the ways to listen auto, pubsub, tracking",
        "events=tracking&events=auto": "events: expected it once",
        "bound=1s": "bound",
        "lease=3": "lease",
    }.items():
        with pytest.raises(ConfigError, match=why) as caught:
            open_value_store(f"redis://localhost?{said}", "orders", "a1")
        assert str(caught.value).startswith("orders: l2: ")
