"""Writes that are saved later, in virtual time and in both colours."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any

import pytest

from escala.caching.events import WriteFailed, WriteFlushed, WriteParked, WriteShed
from escala.caching.write import ParkedWrite, Pending, Write
from escala.caching.write_behind import WriteBehind
from escala.errors import (
    CannotEncode,
    ConfigError,
    DeadlineExceeded,
    Deadlock,
    JournalFull,
    JournalTaken,
    Shed,
    StoreUnavailable,
)
from escala.kernel.events import Event
from escala.resilience import Timeout
from escala.resilience.events import FunctionFailed
from escala.testing import Trial, VirtualRuntime, cancel_everywhere


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/wb.db"


def rows(url: str) -> list[bytes]:
    file = sqlite3.connect(url.removeprefix("sqlite:///"))
    found = [body for (body,) in file.execute("SELECT body FROM row ORDER BY number")]
    file.close()
    return found


class Source:
    """Saves what it is given, when it is in the mood."""

    def __init__(self, world: VirtualRuntime) -> None:
        self.world = world
        self.calls: list[tuple[float, list[Write]]] = []
        self.values: dict[str, Any] = {}
        self.poison: set[str] = set()
        self.takes = 0.0
        self.away = False

    def save_many(self, writes: list[Write]) -> None:
        self.calls.append((round(self.world.now(), 6), writes))
        if self.away or any(write.key in self.poison for write in writes):
            raise OSError("cannot save that")
        for write in writes:
            if write.deleted:
                self.values.pop(write.key, None)
            else:
                self.values[write.key] = write.value

    async def asave_many(self, writes: list[Write]) -> None:
        await asyncio.sleep(self.takes)  # noqa: TID251  virtual
        self.save_many(writes)


@pytest.fixture
def source(world: VirtualRuntime) -> Source:
    return Source(world)


Put = Callable[[WriteBehind, str, Any], Coroutine[Any, Any, int]]


async def sync_put(writes: WriteBehind, key: str, value: Any) -> int:
    return writes.delete(key) if value is Pending.DELETED else writes.set(key, value)


async def async_put(writes: WriteBehind, key: str, value: Any) -> int:
    if value is Pending.DELETED:
        return await writes.adelete(key)
    return await writes.aset(key, value)


both_colours = pytest.mark.parametrize("put", [sync_put, async_put], ids=["sync", "async"])
both_savers = pytest.mark.parametrize("saver", ["save_many", "asave_many"])


def behind(source: Source, saver: str = "asave_many", **given: Any) -> WriteBehind:
    durability = "journal" if "journal" in given else "memory"
    options: dict[str, Any] = {"durability": durability, "rng": source.world.rng} | given
    return WriteBehind(getattr(source, saver), **options)


@both_colours
@both_savers
def test_a_write_is_saved_after_the_flush_time(
    world: VirtualRuntime, source: Source, put: Put, saver: str, events: list[Event]
) -> None:
    async def main() -> None:
        async with behind(source, saver) as writes:
            assert await put(writes, "a", 1) == 1
            assert await put(writes, "b", [1, "x"]) == 2
            assert source.calls == []
            await world.sleep(0.1999)
            assert source.calls == []
            await world.sleep(0.0002)
            assert source.calls == [(0.2, [Write("a", 1, 1), Write("b", [1, "x"], 2)])]

    world.run(main())
    assert [(event.count, event.took) for event in events if isinstance(event, WriteFlushed)] == [
        (2, 0.0)
    ]


@both_colours
def test_reads_see_what_is_pending(world: VirtualRuntime, source: Source, put: Put) -> None:
    async def main() -> None:
        async with behind(source) as writes:
            assert writes.pending("a") is Pending.NOTHING
            await put(writes, "a", {"deep": [1]})
            assert writes.pending("a") == {"deep": [1]}
            await put(writes, "a", None)
            assert writes.pending("a") is None
            await put(writes, "a", Pending.DELETED)
            assert writes.pending("a") is Pending.DELETED
            assert await writes.look("a", world) is Pending.DELETED
            await writes.aflush()
            assert writes.pending("a") is Pending.NOTHING
            assert source.calls[0][1] == [Write("a", None, 3, deleted=True)]

    world.run(main())


def test_a_value_is_kept_as_it_was_when_it_was_set(world: VirtualRuntime, source: Source) -> None:
    async def main() -> None:
        async with behind(source) as writes:
            value = [1]
            await writes.aset("a", value)
            value.append(2)
            assert writes.pending("a") == [1]
        assert source.values == {"a": [1]}

    world.run(main())


@both_colours
def test_many_updates_of_one_key_are_few_writes(
    world: VirtualRuntime, source: Source, put: Put
) -> None:
    async def main() -> float:
        writes = behind(source)
        began = world.now()
        for number in range(10_000):
            await put(writes, "hot", number)
            await world.sleep(0.001)
        took = world.now() - began
        await writes.aclose()
        return took

    took = world.run(main())
    assert len(source.calls) <= took / 0.2 + 1
    assert source.values == {"hot": 9999}


def test_counters_are_added_up_before_they_are_saved(world: VirtualRuntime, source: Source) -> None:
    totals: dict[str, int] = {}

    def save_many(writes: list[Write]) -> None:
        for write in writes:
            totals[write.key] = totals.get(write.key, 0) + write.value

    async def main() -> None:
        writes = WriteBehind(save_many, durability="memory", merge=lambda old, new: old + new)
        async with writes:
            for number in range(1000):
                await writes.aset(f"page:{number % 2}", 1)
                await world.sleep(0.001)

    world.run(main())
    assert totals == {"page:0": 500, "page:1": 500}


def test_a_merge_that_fails_loses_nothing(
    world: VirtualRuntime, source: Source, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[BaseException] = []
    monkeypatch.setattr("sys.excepthook", lambda kind, error, trace: shown.append(error))

    async def main() -> None:
        async with behind(source, merge=lambda old, new: old / new) as writes:
            await writes.aset("a", 1)
            await writes.aset("a", 0)

    world.run(main())
    assert [writes[0].value for _, writes in source.calls] == [1, 0]
    assert isinstance(shown[0], ZeroDivisionError)
    (failed,) = (event for event in events if isinstance(event, FunctionFailed))
    assert (failed.function, failed.cause) == ("merge", "ZeroDivisionError")


def test_what_cannot_be_encoded_is_refused_before_anything(
    world: VirtualRuntime, source: Source
) -> None:
    async def main() -> None:
        async with behind(source) as writes:
            with pytest.raises(CannotEncode):
                await writes.aset("a", object())
            with pytest.raises(TypeError, match="expected a key that is text, found 7"):
                await writes.aset(7, "x")  # type: ignore[arg-type]
            assert writes.snapshot()["keys"] == 0

    world.run(main())


@both_savers
def test_poison_is_parked_and_the_others_are_saved(
    world: VirtualRuntime, source: Source, saver: str, events: list[Event]
) -> None:
    source.poison = {"k13"}

    async def main() -> None:
        writes = behind(source, saver, park_after=3)
        for number in range(40):
            await writes.aset(f"k{number}", number)
        await writes.aflush()
        assert len(source.values) == 39
        assert writes.parked() == [ParkedWrite("k13", 14, False, "OSError: cannot save that")]
        assert writes.pending("k13") == 13
        assert writes.snapshot()["parked"] == 1
        assert await writes.aclose() == 1

    world.run(main())
    assert [(event.key, event.sequence) for event in events if isinstance(event, WriteParked)] == [
        ("k13", 14)
    ]
    failed = [event for event in events if isinstance(event, WriteFailed)]
    assert failed[0].count == 40
    assert failed[0].cause == "OSError: cannot save that"
    assert len(source.calls) < 25


def test_what_is_parked_is_saved_once_the_source_takes_it(
    world: VirtualRuntime, source: Source
) -> None:
    source.poison = {"bad"}

    async def main() -> None:
        async with behind(source) as writes:
            for key in ("bad", "good"):
                await writes.aset(key, key)
            await writes.aflush()
            source.poison = set()
            assert writes.retry_parked() == 1
            assert writes.parked() == []
            await writes.aflush()

    world.run(main())
    assert source.values == {"bad": "bad", "good": "good"}


def test_an_outage_parks_nothing_and_costs_few_calls(world: VirtualRuntime, source: Source) -> None:
    source.away = True

    async def main() -> None:
        async with behind(source) as writes:
            for number in range(1000):
                await writes.aset(f"k{number}", number)
            await world.sleep(3600)
            assert writes.parked() == []
            assert writes.snapshot()["oldest"] > 3590
            source.away = False
            await writes.aflush()

    world.run(main())
    assert len(source.values) == 1000
    assert len(source.calls) < 1200
    calls = [at for at, _ in source.calls if at < 3600]
    assert len(calls) < 1100
    assert calls[100] > 100


def test_flush_gives_up_after_its_limit(world: VirtualRuntime, source: Source) -> None:
    source.away = True

    async def main() -> None:
        writes = behind(source, drain="1s")
        await writes.aset("a", 1)
        with pytest.raises(DeadlineExceeded, match=r"within 5 s: 1 writes are still pending"):
            await writes.aflush("5s")
        assert world.now() == 5.0
        assert await writes.aclose() == 1
        assert world.now() == pytest.approx(6.0, abs=0.01)

    world.run(main())


@both_colours
def test_shed_says_who_and_for_how_long(
    world: VirtualRuntime, source: Source, put: Put, events: list[Event]
) -> None:
    async def main() -> None:
        async with behind(source, max_pending=2, on_full="shed", name="views") as writes:
            await put(writes, "a", 1)
            await put(writes, "b", 1)
            with pytest.raises(
                Shed, match=r"views: writes of 2 keys are pending; try again in 0\.2"
            ):
                await put(writes, "c", 1)
            await put(writes, "a", 2)
            await writes.aflush()
            await put(writes, "c", 1)

    world.run(main())
    assert source.values == {"a": 2, "b": 1, "c": 1}
    assert [event.key for event in events if isinstance(event, WriteShed)] == ["c"]


def test_block_waits_for_room(world: VirtualRuntime, source: Source) -> None:
    async def main() -> None:
        async with behind(source, max_pending=1) as writes:
            await writes.aset("a", 1)
            await writes.aset("b", 1)
            assert world.now() == pytest.approx(0.2)
            with pytest.raises(Deadlock):
                writes.set("c", 1)
            with pytest.raises(DeadlineExceeded):
                await Timeout("10ms").acall(writes.aset, "c", 1)
            assert writes.snapshot()["waiting"] == 0

    world.run(main())
    assert source.values == {"a": 1, "b": 1}


@both_savers
def test_write_through_waits_for_the_source(
    world: VirtualRuntime, source: Source, saver: str
) -> None:
    source.takes = 0.05

    async def main() -> None:
        async with behind(source, saver, max_pending=1, on_full="write_through") as writes:
            await writes.aset("a", 1)
            assert await writes.aset("b", 2) == 2
            assert source.values["b"] == 2
            await writes.aset("a", 3)
            assert source.values.get("a") != 3, "its key has a place, so it is not sent at once"

    world.run(main())
    assert source.values == {"a": 3, "b": 2}


def test_write_through_raises_the_sources_own_error(world: VirtualRuntime, source: Source) -> None:
    source.poison = {"b"}

    async def main() -> None:
        async with behind(source, max_pending=1, on_full="write_through") as writes:
            await writes.aset("a", 1)
            with pytest.raises(OSError, match="cannot save that"):
                await writes.aset("b", 2)
            assert writes.pending("b") is Pending.NOTHING

    world.run(main())
    assert source.values == {"a": 1}


def test_told_hears_every_accepted_write_in_order(world: VirtualRuntime, source: Source) -> None:
    told: list[Write] = []

    async def main() -> None:
        given: dict[str, Any] = {"max_pending": 1, "on_full": "write_through"}
        async with behind(source, told=told.append, **given) as writes:
            await writes.aset("a", 1)
            await writes.adelete("a")
            await writes.aset("b", 2)

    world.run(main())
    assert told == [Write("a", 1, 1), Write("a", None, 2, deleted=True), Write("b", 2, 3)]


def test_a_told_that_fails_is_shown_and_changes_nothing(
    world: VirtualRuntime, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[BaseException] = []
    monkeypatch.setattr("sys.excepthook", lambda kind, error, trace: shown.append(error))

    def told(write: Write) -> None:
        raise LookupError(write.key)

    async def main() -> None:
        async with behind(source, told=told) as writes:
            await writes.aset("a", 1)

    world.run(main())
    assert source.values == {"a": 1}
    assert isinstance(shown[0], LookupError)


@both_colours
def test_the_journal_has_what_the_source_has_not(
    world: VirtualRuntime, source: Source, put: Put, url: str
) -> None:
    async def main() -> None:
        async with behind(source, journal=url) as writes:
            first = await put(writes, "a", 1)
            await put(writes, "b", 2)
            assert len(rows(url)) == 2
            assert await put(writes, "a", 3) > first
            await writes.aflush()
        assert rows(url) == []

    world.run(main())
    assert source.values == {"a": 3, "b": 2}


def test_what_is_left_is_saved_by_the_next_one(
    world: VirtualRuntime, source: Source, url: str
) -> None:
    source.away = True

    async def main() -> None:
        async with behind(source, journal=url, drain="1s") as writes:
            last = await writes.aset("a", 1)
            await writes.adelete("b")
        source.away = False
        async with behind(source, journal=url) as writes:
            assert writes.pending("a") == 1
            assert writes.pending("b") is Pending.DELETED
            assert await writes.aset("c", 1) > last
        assert rows(url) == []

    world.run(main())
    assert source.values == {"a": 1, "c": 1}


def test_merged_writes_are_one_row_once_they_may_have_been_sent(
    world: VirtualRuntime, source: Source, url: str
) -> None:
    source.away = True
    given: dict[str, Any] = {"merge": lambda old, new: old + new, "journal": url}

    async def main() -> None:
        async with behind(source, drain="1s", **given) as writes:
            for _ in range(3):
                await writes.aset("a", 1)
            assert len(rows(url)) == 3
            await world.sleep(0.3)
            assert len(rows(url)) == 1
            await writes.aset("a", 10)
        sent = {(write.sequence, write.value) for _, batch in source.calls for write in batch}
        assert [value for _, value in sent] == [3]
        source.away = False
        async with behind(source, **given) as writes:
            assert writes.pending("a") == 13
        assert [write.value for _, batch in source.calls[-2:] for write in batch] == [3, 10]
        assert (source.calls[-2][1][0].sequence, 3) in sent, "the same write as before"

    world.run(main())


def test_many_rows_of_one_key_become_one(world: VirtualRuntime, source: Source, url: str) -> None:
    source.away = True
    given: dict[str, Any] = {"merge": lambda old, new: old + new, "journal": url}

    async def main() -> None:
        async with behind(source, drain="0s", **given) as writes:
            await writes.aset("a", 0)
            await world.sleep(1.0)
            for _ in range(1000):
                await writes.aset("a", 1)
                assert len(rows(url)) <= 66
        source.away = False
        async with behind(source, **given):
            pass
        assert [write.value for _, batch in source.calls[-2:] for write in batch] == [0, 1000]

    world.run(main())


def test_rows_that_are_outdated_do_not_pile_up(
    world: VirtualRuntime, source: Source, url: str
) -> None:
    source.away = True

    async def main() -> None:
        async with behind(source, journal=url, drain="0s") as writes:
            for number in range(100):
                await writes.aset("a", number)
                assert len(rows(url)) <= 2

    world.run(main())


class Undone:
    """A codec whose old values cannot be read any more."""

    def dumps(self, value: object, kind: Any, key: str) -> bytes:
        return str(value).encode()

    def loads(self, payload: bytes, kind: Any, key: str) -> object:
        from escala.errors import Undecodable

        raise Undecodable("another schema")


def test_what_cannot_be_decoded_is_parked(world: VirtualRuntime, source: Source, url: str) -> None:
    async def main() -> None:
        async with behind(source, codec=Undone(), journal=url) as writes:
            await writes.aset("a", 1)
            await writes.aflush()
            assert writes.parked()[0].cause == "Undecodable: another schema"
        assert source.calls == []
        assert len(rows(url)) == 1

    world.run(main())


def test_a_journal_of_something_else_is_refused(
    world: VirtualRuntime, source: Source, url: str
) -> None:
    async def main() -> None:
        async with behind(source, journal=url) as writes:
            await writes._journal.append(b"\xff", world)
        with pytest.raises(StoreUnavailable, match="a record that is no write"):
            await behind(source, journal=url).aopen()

    world.run(main())


def limited(writes: WriteBehind) -> Any:
    """Leave no page free in the journal's file."""
    connection: Any = writes._journal._file._connection  # type: ignore[union-attr]
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages}")
    return connection


BIG = Random(0).randbytes(20_000).hex()  # too much even when it is compressed


def test_a_full_disk_sheds(world: VirtualRuntime, source: Source, url: str) -> None:
    async def main() -> None:
        async with behind(source, journal=url, on_full="shed") as writes:
            await writes.aset("a", 1)
            limited(writes)
            with pytest.raises(Shed, match="disk is full"):
                await writes.aset("b", BIG)
            assert writes.snapshot()["keys"] == 1
            assert writes.pending("b") is Pending.NOTHING

    world.run(main())
    assert source.values == {"a": 1}


def test_a_full_disk_blocks_until_there_is_room(
    world: VirtualRuntime, source: Source, url: str
) -> None:
    async def main() -> None:
        async with behind(source, journal=url) as writes:
            await writes.aset("a", 1)
            connection = limited(writes)
            task = world.spawn(writes.aset("b", BIG))
            await world.sleep(10)
            assert not task.done()
            assert source.values == {"a": 1}
            connection.execute("PRAGMA max_page_count=1000")
            await task

    world.run(main())
    assert source.values == {"a": 1, "b": BIG}


def test_a_full_disk_writes_through(world: VirtualRuntime, source: Source, url: str) -> None:
    async def main() -> None:
        async with behind(source, journal=url, on_full="write_through") as writes:
            first = await writes.aset("a", 1)
            limited(writes)
            assert await writes.aset("a", BIG) > first
            assert source.values == {"a": BIG}
            assert [write.value for _, batch in source.calls for write in batch] == [1, BIG]
            assert rows(url) == [], "what it has overwritten does not come back"

    world.run(main())


def test_write_through_is_not_acknowledged_while_the_journal_holds_what_it_overwrote(
    world: VirtualRuntime, source: Source, url: str
) -> None:
    async def main() -> None:
        writes = await behind(source, journal=url, on_full="write_through", drain="0s").aopen()
        await writes.aset("a", 1)
        limited(writes)
        file = writes._journal._file  # type: ignore[union-attr]
        write = file.write

        def full(rows: Any, **options: Any) -> None:
            if rows:
                raise JournalFull("not one page")
            write(rows, **options)

        file.write = full  # type: ignore[method-assign]
        with pytest.raises(JournalFull, match="not one page"):
            await writes.aset("a", BIG)
        file.write = write  # type: ignore[method-assign]
        await writes.aclose()

    world.run(main())
    assert rows(url) == []


def test_a_journal_that_is_taken_over_stops_everything(
    world: VirtualRuntime, source: Source, url: str, events: list[Event]
) -> None:
    async def main() -> None:
        writes = await behind(source, journal=url).aopen()
        await writes.aset("a", 1)
        file = sqlite3.connect(url.removeprefix("sqlite:///"))
        with file:
            file.execute("UPDATE owner SET token = token + 1")
        file.close()
        waiting = world.spawn(writes.aflush())
        with pytest.raises(JournalTaken, match="taken it over"):
            await waiting
        assert source.calls == [], "what is another's is not saved here"
        stopped = [event for event in events if type(event).__name__ == "WriteBehindStopped"]
        assert len(stopped) == 1

    world.run(main())


def test_cancelled_anywhere_a_write_gives_its_place_back() -> None:
    async def scenario(trial: Trial) -> None:
        source = Source(trial.world)
        source.takes = 0.1
        async with behind(source, max_pending=1) as writes:
            await writes.aset("a", 1)
            task = trial.victim(writes.aset("b", 2))
            await asyncio.wait({task})
            await writes.aflush()
            snapshot = writes.snapshot()
            assert (snapshot["keys"], snapshot["waiting"]) == (0, 0)
            await writes.aset("c", 3)

    cancel_everywhere(scenario)


def test_cancelled_anywhere_a_flush_leaves_no_trace() -> None:
    async def scenario(trial: Trial) -> None:
        source = Source(trial.world)
        source.takes = 0.1
        async with behind(source, max_pending=1) as writes:
            await writes.aset("a", 1)
            task = trial.victim(writes.aflush())
            await asyncio.wait({task})
            await writes.aflush()
        assert source.values == {"a": 1}

    cancel_everywhere(scenario)


def test_cancelled_while_opening_another_one_opens(url: str) -> None:
    async def scenario(trial: Trial) -> None:
        source = Source(trial.world)
        writes = behind(source, journal=url)
        task = trial.victim(writes.aset("a", 1))
        await asyncio.wait({task})
        await writes.aset("b", 2)
        await writes.aclose()
        assert source.values["b"] == 2

    cancel_everywhere(scenario)


def test_a_second_run_in_virtual_time_goes_on(world: VirtualRuntime, source: Source) -> None:
    writes = behind(source)

    async def first() -> None:
        await writes.aset("a", 1)

    async def second() -> None:
        await writes.aset("b", 2)
        await writes.aclose()

    world.run(first())
    world.run(second())
    assert source.values == {"a": 1, "b": 2}


def test_a_write_after_closing_opens_again(world: VirtualRuntime, source: Source, url: str) -> None:
    async def main() -> None:
        writes = behind(source, journal=url)
        await writes.aset("a", 1)
        assert await writes.aclose() == 0
        assert await writes.aclose() == 0
        await writes.aset("b", 2)
        await writes.aclose()

    world.run(main())
    assert source.values == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"flush": 0, "durability": "memory"}, "WriteBehind: flush: expected a duration above"),
        ({"max_batch": 0, "durability": "memory"}, "max_batch: expected an integer from 1 to"),
        ({"on_full": "drop", "durability": "memory"}, "on_full"),
        ({"merge": 7, "durability": "memory"}, "merge: expected a function, found 7"),
        ({"save_many": None, "durability": "memory"}, "save_many: expected a function, found None"),
        ({}, "journal: expected a file for durability 'journal', found none"),
        (
            {"journal": "sqlite:///a", "durability": "memory"},
            "journal: expected none for durability 'memory', found one",
        ),
        ({"journal": "redis://a"}, "WriteBehind: journal: expected a file such as"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        WriteBehind(**({"save_many": print} | given))


def test_how_it_is_spelled() -> None:
    writes = WriteBehind(print, journal="sqlite:///wb.db")
    assert repr(writes) == "WriteBehind(print, journal='sqlite:///wb.db', name='write_behind')"
    writes = WriteBehind(print, durability="memory", name="views")
    assert repr(writes) == "WriteBehind(print, durability='memory', name='views')"
