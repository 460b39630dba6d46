"""The second level in a real PostgreSQL keeps to the contract of every value store."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from tests.contracts.value_store_contract import (
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
from tests.servers.postgres_server import PostgresServer, postgres_server

from escala.caching.postgres_names import place_of
from escala.caching.value_store import Put, Signal, ValueStore, open_value_store
from escala.errors import ConfigError, StoreUnavailable

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("postgres")]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture
def url(server: PostgresServer) -> str:
    """A schema of the test's own, with nothing in it."""
    told(server, "DROP SCHEMA IF EXISTS values CASCADE")
    told(server, "CREATE SCHEMA values")
    return f"{server.url}?options=-csearch_path%3Dvalues&timeout=10s"


def told(server: PostgresServer, statement: str, *values: Any) -> list[Any]:
    """What the server answers, by a client that is not ours."""
    with psycopg.connect(server.url, autocommit=True) as link:
        link.execute("SET search_path = values, public")
        found = link.execute(statement, values or None)
        return found.fetchall() if found.description else []


class TestPostgresValues(ValueStoreContract):
    @pytest.fixture
    def opened(self, url: str, server: PostgresServer) -> Open:
        self.server = server
        return lambda writer: open_value_store(url, "c", writer)

    @pytest.fixture
    def elsewhere_opened(self, url: str) -> ValueStore:
        return open_value_store(url, "d", "b2")

    def forget(self, store: Any) -> None:
        told(self.server, "DELETE FROM escala_value_lives")

    def few_tags(self, store: Any, most: int) -> None:
        store._most_tags = most

    def spoil(self, store: Any, key: str, change: Callable[[bytes], bytes]) -> None:
        place = place_of(store._cache, key)
        ((blob,),) = told(self.server, "SELECT blob FROM escala_values WHERE key = %s", place)
        told(self.server, "UPDATE escala_values SET blob = %s WHERE key = %s", change(blob), place)


@pytest.fixture
def opened(url: str) -> Iterator[Callable[..., tuple[Talker, Listening]]]:
    """Stores, each with an ear that hears."""
    with opened_at(url) as open_:
        yield open_


@contextlib.contextmanager
def opened_at(url: str) -> Iterator[Opened]:
    with contextlib.ExitStack() as stack:

        def open_(writer: str, *, hears: bool = True) -> tuple[Talker, Listening]:
            store = open_value_store(url, "c", writer)
            stack.callback(store.close)
            ear = Listening(bound=0.6)
            store.listen(ear)
            assert ear.turns[0] == "lost"
            if hears:
                until(lambda: ear.hears, "the ear")
            return Talker(store, as_thread), ear

        yield open_


Opened = Callable[..., tuple[Talker, Listening]]
LISTENERS = "FROM pg_stat_activity WHERE query LIKE 'LISTEN%%' OR query = ''"


def test_a_listening_connection_that_is_killed_is_lost_and_regained(
    opened: Opened, server: PostgresServer
) -> None:
    (one, _), (two, ear) = opened("a1"), opened("b2")
    assert two.store.transport == "notify"
    for _ in range(3):
        one.load()
        time.sleep(0.05)
        before = len(ear.turns)
        began = time.monotonic()
        told(server, f"SELECT pg_terminate_backend(pid) {LISTENERS}")
        until(lambda: len(ear.turns) > before)  # noqa: B023  within the round
        assert time.monotonic() - began < 0.4, "a closed socket is known at once"
        until(lambda: ear.hears)
        assert ear.turns[before:] == ["lost", "regained"]
        one.invalidate(key())
        until(lambda: key() in ear.signals)
        ear.signals.clear()


@pytest.mark.parametrize("length", [1, 5_000, 40_000, 1_000_000])
def test_names_of_any_length_are_told(opened: Opened, length: int) -> None:
    (one, _), (_, ear) = opened("a1"), opened("b2")
    sent = [key("x" * length), tag("x" * length), key("\0\ud800é" * (length // 3)), everything()]
    one.invalidate(*sent)
    until(lambda: len(ear.signals) == len(sent))
    assert ear.signals == sent
    keys = ["x" * length, "y" + "x" * length]
    found = one.read(*keys)
    puts = [
        Put(name, each.token or b"", blob_of(name, each.mark), 60.0)
        for name, each in zip(keys, found, strict=True)
    ]
    assert one.ask(lambda on: one.store.store(puts, on, tell=True)) == [True, True]
    until(lambda: len(ear.signals) == len(sent) + 2)
    assert set(ear.signals[-2:]) == {key(name) for name in keys}


def test_what_no_one_of_ours_says_may_be_anything(opened: Opened, server: PostgresServer) -> None:
    (one, _), (two, ear) = opened("a1"), opened("b2")
    one.load()
    time.sleep(0.05)
    for payload in ("", "anew", "0 1 1 YQ==", "0 0 0 !", "0 0 0 YQ==", "a b c d"):
        before = len(ear.turns)
        told(server, "SELECT pg_notify(%s, %s)", two.store._listener._now._channel, payload)
        until(lambda: len(ear.turns) > before)  # noqa: B023  within the round
        assert ear.turns[-1] == "regained"
    one.invalidate(key())
    until(lambda: ear.signals == [key()])


def test_what_is_over_goes(opened: Opened, server: PostgresServer) -> None:
    one, _ = opened("a1")
    kept = [f"kept{nth}" for nth in range(20)]
    for name in kept:
        one.load(name)
    for nth in range(40):
        one.load(f"k{nth}", keep=0.01)
    one.read("leased", lease=0.01)
    time.sleep(0.02)
    for nth in range(25):  # as many looks at eight rows as there are rows, and more
        one.load("new", payload=b"%d" % nth)
    assert told(server, "SELECT count(*) FROM escala_values") == [(21,)]
    one.read("bob")
    one.invalidate(key("bob"), key("new"), *map(key, kept))
    (again,) = one.read("cid")
    one.release("cid", again.token or b"")
    assert told(server, "SELECT count(*) FROM escala_values") == [(0,)]


def test_many_first_connections_make_one_life(url: str) -> None:
    with opened_at(url) as opened:
        talkers = [opened(f"w{nth}", hears=False)[0] for nth in range(8)]
        epochs: list[bytes] = []

        def look(talker: Talker) -> None:
            epochs.append(talker.look().mark.epoch)

        threads = [threading.Thread(target=look, args=(each,)) for each in talkers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(epochs) == 8
        assert len(set(epochs)) == 1


def test_who_changes_many_keys_at_once_waits_for_no_one_for_ever(opened: Opened) -> None:
    """Batches in any order lock their rows in one, so that none of them is ended as a deadlock."""
    names, done = [f"k{nth}" for nth in range(30)], list[str]()

    def work(writer: str, names: list[str]) -> None:
        one, _ = opened(writer, hears=False)
        for _ in range(15):
            puts = [
                Put(name, each.token or b"", blob_of(name, each.mark, "t"), 60.0)
                for name, each in zip(names, one.read(*names, early=True), strict=True)
            ]
            one.ask(lambda on: one.store.store(puts, on, tell=True))  # noqa: B023  at once
            one.invalidate(*map(key, names), tag("t"), tag("u", soft=True), everything(soft=True))
            one.claim(*names, lease=0.001)
            one.ask(lambda on: one.store.release([(put.key, put.token) for put in puts], on))  # noqa: B023
        done.append(writer)

    orders = (names, names[::-1], names[10:] + names[:10], names[::-1])
    threads = [
        threading.Thread(target=work, args=(f"w{nth}", order)) for nth, order in enumerate(orders)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == len(orders)


@pytest.mark.parametrize("what", [key("ann"), tag("t"), everything()], ids=lambda each: each.kind)
def test_no_load_of_before_is_seen_after_a_deletion(opened: Opened, what: Signal) -> None:
    """The source counts up; what is read after a deletion was loaded after that."""
    source, wrong, ended = [0], list[tuple[int, int]](), threading.Event()

    def load(writer: str) -> None:
        one, _ = opened(writer, hears=False)
        while not ended.is_set():
            least = source[1] if len(source) > 1 else 0
            (found,) = one.read("ann", lease=5.0)
            if found.whole is not None and int(found.whole[1]) < least:
                wrong.append((int(found.whole[1]), least))
            if found.token is not None:
                one.put(found, "ann", "t", payload=b"%d" % source[0])

    threads = [threading.Thread(target=load, args=(f"w{nth}",)) for nth in range(3)]
    for thread in threads:
        thread.start()
    deleting, _ = opened("z", hears=False)
    source.append(0)
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        source[0] += 1
        deleting.invalidate(what)
        source[1] = source[0]
    ended.set()
    for thread in threads:
        thread.join(20)
    assert source[0] > 20
    assert wrong == []


def test_one_of_many_at_once_gets_the_lease(opened: Opened) -> None:
    barrier, got = threading.Barrier(4), list[tuple[str, bool]]()

    def load(writer: str) -> None:
        one, _ = opened(writer, hears=False)
        for nth in range(60):
            barrier.wait(20)
            (found,) = one.read(f"k{nth}")
            got.append((f"k{nth}", found.token is not None))
            assert found.token is not None or found.wait > 0

    threads = [threading.Thread(target=load, args=(f"w{nth}",)) for nth in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(got) == 240
    assert sorted(name for name, lent in got if lent) == sorted(f"k{nth}" for nth in range(60))


@pytest.mark.parametrize("tags", [(), ("s", "t")], ids=["plain", "tagged"])
@pytest.mark.parametrize("what", [tag("t"), everything()], ids=lambda each: each.kind)
def test_what_was_deleted_since_its_mark_is_neither_kept_nor_seen(
    opened: Opened, what: Signal, tags: tuple[str, ...]
) -> None:
    (one, _), (two, _) = opened("a1"), opened("b2")
    (found,) = one.read("ann")
    one.load("bob", *tags)
    two.invalidate(what)
    gone = what.kind == "all" or "t" in tags
    assert one.put(found, "ann", *tags) is not gone
    assert (one.look("bob").blob is None) is gone


def test_what_is_older_than_a_forgotten_tag_is_not_kept(opened: Opened) -> None:
    one, _ = opened("a1")
    one.store._most_tags = 1
    tagged, plain = one.read("tagged", "plain")
    one.invalidate(tag("a"), tag("b"))
    assert not one.put(tagged, "tagged", "t")
    assert one.put(plain, "plain")


def test_what_is_of_another_epoch_is_not_kept(opened: Opened, server: PostgresServer) -> None:
    one, _ = opened("a1")
    (found,) = one.read("ann")
    told(server, "DELETE FROM escala_value_lives")
    assert not one.put(found)


def test_who_lets_go_of_a_lease_leaves_the_value(opened: Opened) -> None:
    one, _ = opened("a1")
    one.load()
    (early,) = one.read("ann", early=True)
    one.release("ann", early.token or b"")
    assert one.look()[1:4] == (False, None, 0.0)
    assert one.look().blob is not None


def test_a_role_that_may_not_create(server: PostgresServer) -> None:
    told(server, "CREATE ROLE poor LOGIN")
    url = server.url.replace("escala@", "poor@").replace("/postgres", "/template1")
    store = open_value_store(url, "c", "a1")
    with pytest.raises(StoreUnavailable, match=r"permission denied for schema public"):
        Talker(store, as_thread).look()
    store.close()


def test_a_forked_child_hears_with_an_ear_of_its_own(url: str) -> None:
    lines = lines_of_a_fork(url)
    assert lines["child"] == ["lost", "asks", "regained", "theirs"]
    assert [each for each in lines["parent"] if each != "regained"] == ["lost", "theirs"]


def test_its_url_is_checked() -> None:
    for said, why in {
        "timeout=0s": "timeout: expected a duration above zero",
        "timeout=1s&timeout=2s": "timeout: expected it once",
        "events=notify": "events",
        "bound=1s": "bound",
    }.items():
        with pytest.raises(ConfigError, match=why) as caught:
            open_value_store(f"postgresql://localhost/db?{said}", "orders", "a1")
        assert str(caught.value).startswith("orders: l2: ")


@pytest.fixture
def own() -> Iterator[PostgresServer]:
    """A server that a test may harm."""
    with postgres_server() as running:
        yield running


def test_a_server_that_crashed_has_another_epoch(own: PostgresServer) -> None:
    with opened_at(f"{own.url}?timeout=2s") as opened:
        (one, mine), (two, ear) = opened("a1"), opened("b2")
        one.invalidate(tag("t"))
        before = one.load("ann", "t").mark
        (leased,) = one.read("bob")
        own.kill()
        until(lambda: not ear.hears and not mine.hears)
        assert two.store.transport == ""
        with pytest.raises(StoreUnavailable):
            one.look()
        own.start()
        until(lambda: ear.hears and mine.hears)
        (found,) = two.read("ann")
        assert (found.blob, found.mark.clock) == (None, 0)
        assert found.mark.epoch != before.epoch
        assert not one.put(leased, "bob")
        one.invalidate(key())
        until(lambda: key() in ear.signals)


def test_a_server_that_stops_and_starts_keeps_what_it_had(own: PostgresServer) -> None:
    with opened_at(f"{own.url}?timeout=2s") as opened:
        (one, _), (two, ear) = opened("a1"), opened("b2")
        one.load()
        own.stop()
        until(lambda: not ear.hears)
        own.start()
        until(lambda: ear.hears)
        assert two.look().blob is not None


def test_a_server_that_says_nothing_is_lost_within_the_bound(own: PostgresServer) -> None:
    with opened_at(f"{own.url}?timeout=200ms") as opened:
        (one, _), (_, ear) = opened("a1"), opened("b2")
        one.look()
        time.sleep(0.7)  # an idle connection is not lost
        assert ear.turns[:2] == ["lost", "regained"]
        assert "lost" not in ear.turns[1:]
        own.freeze()
        try:
            began = time.monotonic()
            until(lambda: not ear.hears)
            assert time.monotonic() - began < 0.6
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match="no answer within"):
                one.look()
            assert time.monotonic() - began < 0.4
        finally:
            own.freeze(signal.SIGCONT)
        until(lambda: ear.hears)
        one.invalidate(key())
        until(lambda: key() in ear.signals)
