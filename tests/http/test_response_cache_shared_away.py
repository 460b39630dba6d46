"""A second level that is away, slow, unheard, full of nonsense, or left in the middle."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.http.shared_world import (
    KEY,
    Between,
    another,
    beside,
    changing,
    level,
    settled,
    worlds,
)

from escala.caching.pure.blob import Header, pack
from escala.caching.value_store import Put, Signal
from escala.http.message import Response
from escala.testing import cancel_everywhere


def test_while_the_store_is_away_answers_go_on() -> None:
    a, _ = worlds()
    between = Between(a)
    changing(a)

    async def main() -> None:
        await a.get()
        await settled(a)
        between.away = True
        assert (await a.get()).note == "hit"
        for number in range(20):
            assert (await a.get(f"/{number}")).note == "miss"
        for number in range(20):
            assert (await a.get(f"/{number}")).note == "hit"
        assert len(between.asked) < 20, "its breaker is open"
        assert a.counts("l2_away") == [1]

    a.run(main())


def test_a_change_that_did_not_reach_the_store_is_told_before_anything_is_read() -> None:
    a, b = worlds()
    between = Between(a)
    changing(a)

    async def main() -> None:
        await a.get()
        await settled(a)
        await b.get()
        between.away = True
        await a.get(method="PUT")
        assert a.counts("l2_repairs") == [1]
        assert (await a.get()).body == b"version 2", "here it counts at once"
        between.away = False
        await a.sleep(5)
        assert (await a.get("/other")).note == "miss"
        assert a.counts("l2_repairs", "entries") == [0, 2]
        assert (await b.get()).body == b"version 2"

    a.run(main())


def test_a_slow_store_slows_no_hit_in_memory() -> None:
    a, _ = worlds()
    between = Between(a)

    async def main() -> None:
        await a.get()
        await settled(a)
        between.slow = 1000.0
        assert (await a.get()).note == "hit"
        assert a.runtime.now() < 1

    a.run(main())


def test_while_changes_may_be_missed_nothing_in_memory_is_old() -> None:
    a, b = worlds()

    async def main() -> None:
        await a.get()
        await settled(a)
        await b.get()
        ear = level(b).ear
        assert ear is not None
        between = Between(b)
        await a.sleep(10)
        ear.lost()
        await a.sleep(0.9)
        assert (await b.get()).note == "hit"
        assert between.asked == []
        await a.sleep(0.2)
        assert (await b.get()).note == "hit"
        assert between.asked == ["read"], "the store knows of all changes"
        await a.sleep(0.5)
        assert (await b.get()).note == "hit"
        assert between.asked == ["read"]
        await a.sleep(0.6)
        between.away = True
        assert (await b.get()).note == "revalidated", "no one but the origin can tell"
        assert (await b.get()).note == "hit"
        await a.sleep(1.1)
        a.origin.answer = lambda _: Response(500, [(b"cache-control", b"no-store")])
        assert (await b.get()).status == 500
        a.origin.answer = a.origin.page
        ear.regained()
        assert b.counts("entries", "l2_deaf") == [0, 0]
        between.away = False
        await a.sleep(2)
        assert (await b.get()).note == "hit"
        await a.sleep(40)
        assert (await b.get()).note == "hit"

    a.run(main())


@pytest.mark.parametrize("cut", [0, 3, 60, -1])
def test_bytes_that_are_no_answer_are_a_miss(cut: int) -> None:
    a, b = worlds()

    async def main() -> None:
        await a.get()
        await settled(a)
        slot = beside(a)._table.slots[KEY]  # type: ignore[attr-defined]
        slot.blob = slot.blob[:cut] + b"?" + slot.blob[cut + 1 or len(slot.blob) :]
        assert (await b.get()).note == "miss"
        await settled(a)
        assert (await another(a).get()).note == "hit"

    a.run(main())
    assert b.counts("l2_undecodable")[0] >= 1


def test_a_payload_that_another_program_wrote_is_a_miss_and_is_replaced() -> None:
    [a] = worlds(1)

    async def main() -> None:
        store = beside(a)
        for payload in (b"", b"\xc0", b"\x93\x01\x02\x03", b"\x99" * 1000, b"\xff" * 9):
            [found] = await store.read([KEY], 10.0, a.runtime)
            assert found.token is not None
            header = Header(found.mark, 60.0, 0.0, 0.0, (), negative=False)
            blob = pack(KEY, header, payload)
            assert await store.store([Put(KEY, found.token, blob, 60.0)], a.runtime) == [True]
            assert (await another(a).get()).note == "miss"
            await settled(a)
            assert (await another(a).get()).note == "hit"
            await store.invalidate([Signal("key", KEY)], a.runtime)

    a.run(main())


def test_a_leader_that_is_cancelled_anywhere_leaves_no_lease_behind() -> None:
    @cancel_everywhere
    async def scenario(trial: Any) -> None:
        a, b = worlds()
        a.runtime = b.runtime = a.origin.runtime = trial.world
        a.origin.takes = 0.5
        Between(a, slow=0.1)
        victim = trial.victim(a.get())
        other = a.client(after=0.3)
        await asyncio.gather(victim, return_exceptions=True)
        assert (await other).body == b"version 1"
        began = trial.world.now()
        assert (await b.get()).body == b"version 1"
        await trial.world.sleep(1)
        assert (await b.get("/")).note == "hit"
        assert trial.world.now() < began + 3
        assert a.counts("loading") == b.counts("loading") == [0]


def test_a_change_that_is_cancelled_is_made_all_the_same() -> None:
    a, b = worlds()
    between = Between(a)
    changing(a)

    async def main() -> None:
        await a.get()
        await settled(a)
        await b.get()
        between.slow = 1.0
        task = a.client(method="PUT")
        await a.sleep(0.0001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await a.sleep(3)
        assert b.counts("entries") == [0]

    a.run(main())


def test_a_lease_that_is_never_given_back_holds_no_one_longer_than_wait() -> None:
    a, b = worlds(wait="3s")

    async def main() -> None:
        [found] = await beside(a).read([KEY], 1000.0, a.runtime)
        assert found.token is not None
        first, second = b.client(), b.client(after=1)
        assert (await first).body == b"version 1"
        assert (await first).at == pytest.approx(3)
        assert (await second).at <= 4.1
        assert (await b.get()).note == "hit"

    a.run(main())
