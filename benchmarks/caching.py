"""Measure the first level of the cache beside every peer: hits, evictions, bytes, hit ratios."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

from benchmarks import caching_hit_ratio, caching_redis
from benchmarks.caching_peers import ASYNC, PEERS, Peer
from benchmarks.calls import Case, async_loop, sync_loop, take_turns, tell, to_fastest
from benchmarks.progress import say
from benchmarks.report import BenchmarkError, Goal, Report

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

GOALS = {
    "l1.hit.us": Goal(most=0.8),
    "l1.evict.us": Goal(most=3),
    "l1.bytes_per_entry": Goal(most=160),
    "memo.hit.us": Goal(most=1.2),
    **{
        f"{case}.async.{peer}_to_it": Goal(least=10)
        for case in ("l1.hit", "memo.hit")
        for peer in ("cashews", "aiocache")
    },
    **caching_redis.GOALS,
    **caching_hit_ratio.GOALS,
}
ENTRIES, QUICK_ENTRIES = 100_000, 10_000
HOT = 1_000  # arguments of a memo
FEW = 100  # of a cache whose contents are checked


def measure(*, quick: bool) -> Report:
    """Time what a hit, a put and a memo cost in CPU time, count bytes, replay traces."""
    report = Report()
    size = QUICK_ENTRIES if quick else ENTRIES
    with asyncio.Runner() as loop:
        say("hits of 100,000 keys in random order, puts of new keys, memos of 1,000 numbers")
        cases = [*_hits(size, loop), _evict(size), *_memos(loop), *_peers(size, loop, report)]
        figures = take_turns(cases, quick=quick)
    tell(figures, report)
    for peer in ("cashews", "aiocache"):  # both are async, so they are compared with that
        for case, theirs in (("l1.hit", f"peer.{peer}.hit"), ("memo.hit", f"peer.{peer}.memo.hit")):
            if theirs in figures:
                ratios = to_fastest(theirs, figures, [f"{case}.async"])
                report.spread(f"{case}.async.{peer}_to_it", ratios)
    say("bytes of an entry")
    _bytes(size, report)
    caching_redis.measure(report, quick=quick)
    caching_hit_ratio.measure(report, quick=quick)
    return report


def names(count: int, kind: str = "item") -> list[str]:
    """Make keys of twenty characters, in no order."""
    made = [f"{kind}:{number:0{19 - len(kind)}d}" for number in range(count)]
    random.Random(1).shuffle(made)
    return made


def keyed(get: Callable[[str], Any], keys: Sequence[str]) -> Callable[[int], float]:
    """Call `get` so many times, with one key after the other."""
    following = itertools.cycle(keys)

    def run(count: int) -> float:
        start = time.process_time()
        for key in itertools.islice(following, count):
            get(key)
        return time.process_time() - start

    return run


def keyed_async(
    loop: asyncio.Runner, get: Callable[[str], Awaitable[Any]], keys: Sequence[str]
) -> Callable[[int], float]:
    """Await `get` so many times, in one task, with one key after the other."""
    following = itertools.cycle(keys)

    async def calls(count: int) -> float:
        start = time.process_time()
        for key in itertools.islice(following, count):
            await get(key)
        return time.process_time() - start

    return lambda count: loop.run(calls(count))


# Ours


def _hits(size: int, loop: asyncio.Runner) -> list[Case]:
    """What `Cache.get` and `Cache.aget` cost when the first level has the value."""
    from escala.caching import Cache

    cache, keys = Cache("bench", l1=2 * size), names(size)
    for key in keys:
        cache.set(key, key)

    def check() -> None:
        if [cache.get(key) for key in keys[:FEW]] != keys[:FEW] or cache.get("other") is not None:
            raise BenchmarkError("Cache.get does not give what was set")
        if loop.run(_awaited(cache.aget(keys[0]))) != keys[0]:
            raise BenchmarkError("Cache.aget does not give what was set")

    return [
        Case("l1.hit", keyed(cache.get, keys), check),
        Case("l1.hit.async", keyed_async(loop, cache.aget, keys), check),
    ]


def _evict(size: int) -> Case:
    """What the first level takes to keep a new key when it is full, the entry's making included."""
    from escala.caching.pure.entry import Entry, Terms
    from escala.caching.pure.s3_fifo import S3Fifo

    level, terms, mark, now = S3Fifo(max_entries=size), Terms(3600.0), object(), time.monotonic

    def put(key: str) -> None:
        moment = now()
        level.put(Entry(key, key, until=moment + 3600.0, terms=terms, mark=mark), moment)

    for key in _visited(size):
        entry = level.table.get(key)
        if entry is None:
            put(key)
        else:
            entry.visits = min(3, entry.visits + 1)
    began = level.evicted
    keys = names(3 * size, "new")  # when they begin anew, the first are long forgotten

    def check() -> None:
        if len(level.table) != size or level.evicted - began < 100:
            raise BenchmarkError("the level did not evict a key for each new one")

    return Case("l1.evict", keyed(put, keys), check)


def _visited(size: int) -> Iterator[str]:
    """Look-ups of popular and rare keys, after which both queues hold what they do in service."""
    keys = names(2 * size)
    weights = list(itertools.accumulate(1 / rank for rank in range(1, 2 * size + 1)))
    yield from random.Random(2).choices(keys, cum_weights=weights, k=4 * size)


def _memos(loop: asyncio.Runner) -> list[Case]:
    from escala.caching import Cache

    cache, calls = Cache("bench"), list[int]()

    @cache.memo("item:{number}")
    def item(number: int) -> int:
        calls.append(number)
        return number

    @cache.memo("aitem:{number}")
    async def aitem(number: int) -> int:
        calls.append(number)
        return number

    return [
        Case("memo.hit", _hot(item), lambda: _once(calls, item, None)),
        Case("memo.hit.async", _hot_async(loop, aitem), lambda: _once(calls, aitem, loop)),
    ]


def _hot(memo: Callable[[int], Any]) -> Callable[[int], float]:
    following = itertools.cycle(range(HOT)).__next__
    for number in range(HOT):
        memo(number)
    return sync_loop(lambda: memo(following()))


def _hot_async(
    loop: asyncio.Runner, memo: Callable[[int], Awaitable[Any]]
) -> Callable[[int], float]:
    following = itertools.cycle(range(HOT)).__next__

    async def fill() -> None:
        for number in range(HOT):
            await memo(number)

    loop.run(fill())
    return async_loop(loop, lambda: memo(following()))


def _once(calls: list[int], memo: Callable[[int], Any], loop: asyncio.Runner | None) -> None:
    """A number that was not asked for yet is computed once."""
    calls.clear()
    for _ in range(3):
        answer = memo(HOT + 1)
        if loop is not None:
            answer = loop.run(_awaited(answer))
        if answer != HOT + 1:
            raise BenchmarkError(f"a memo answered {answer!r}")
    if len(calls) != 1:
        raise BenchmarkError(f"a memo asked {len(calls)} times, not once")


async def _awaited(answer: Awaitable[Any]) -> Any:  # noqa: ANN401  whatever it is
    return await answer


# Peers


def _peers(size: int, loop: asyncio.Runner, report: Report) -> list[Case]:
    cases = []
    for peer in PEERS:
        try:
            cases += [*_peer(peer, size, loop), *_peer_memo(peer, loop)]
        except ImportError as error:
            report.absent[peer.package] = str(error)
    return cases


def _peer(peer: Peer, size: int, loop: asyncio.Runner) -> list[Case]:
    keys = names(size)
    # Some evict from shards, so one that is as large as its contents may not hold them all.
    get, put = peer.make(2 * size)
    if peer.colour == ASYNC:
        keyed_async(loop, lambda key: put(key, key), keys)(size)
        run = keyed_async(loop, get, keys)
    else:
        keyed(lambda key: put(key, key), keys)(size)
        run = keyed(get, keys)

    def check() -> None:
        for key in keys[:FEW]:
            value = get(key)
            if peer.colour == ASYNC:
                value = loop.run(_awaited(value))
            if value != key:
                raise BenchmarkError(f"{peer.package} gave {value!r} for {key!r}")

    cases = [Case(f"peer.{peer.package}.hit", run, check)]
    if peer.bounded and peer.package != "functools":
        _, put_more = peer.make(size)
        more = names(3 * size, "new")
        if peer.colour == ASYNC:
            puts = keyed_async(loop, lambda key: put_more(key, key), more)
        else:
            puts = keyed(lambda key: put_more(key, key), more)
        puts(size)  # full from the start
        cases.append(Case(f"peer.{peer.package}.evict", puts))
    return cases


def _peer_memo(peer: Peer, loop: asyncio.Runner) -> list[Case]:
    if peer.memo is None:
        return []
    calls: list[int] = []

    def item(number: int) -> int:
        calls.append(number)
        return number

    async def aitem(number: int) -> int:
        return item(number)

    name = f"peer.{peer.package}.memo.hit"
    if peer.colour == ASYNC:
        amemo = peer.memo(2 * HOT, aitem)
        return [Case(name, _hot_async(loop, amemo), lambda: _once(calls, amemo, loop))]
    memo = peer.memo(2 * HOT, item)
    return [Case(name, _hot(memo), lambda: _once(calls, memo, None))]


# Bytes


def _bytes(count: int, report: Report) -> None:
    """Count what Python allocates for an entry of a full level, without key and value.

    Twice as many keys as there is room for, so that what is evicted is remembered too. Once for
    the level by itself, and once for the cache that stands around it.
    """
    from escala.caching import Cache
    from escala.caching.pure.entry import Entry, Terms
    from escala.caching.pure.s3_fifo import S3Fifo

    keys, terms, mark, tags = names(2 * count), Terms(3600.0), object(), ("item",)

    def level() -> object:
        made = S3Fifo(max_entries=count)
        for number, key in enumerate(keys):
            until = 3600.5 + number
            made.put(Entry(key, key, until=until, terms=terms, mark=mark, tags=tags), 0.0)
        return made

    def cache() -> object:
        made = Cache("bench", l1=count)
        for key in keys:
            made.set(key, key)
        return made

    report.metrics["l1.level.bytes_per_entry"] = _allocated(level) / count
    report.metrics["l1.bytes_per_entry"] = _allocated(cache) / count


def _allocated(make: Callable[[], object]) -> int:
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    made = make()
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del made
    return after - before
