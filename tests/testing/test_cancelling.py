"""`cancel_everywhere`: does it reach every await, and does it find what is lost there?"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from escala.testing import Trial, cancel_everywhere


async def turn() -> None:
    await asyncio.sleep(0)  # noqa: TID251  one turn of the loop


class Slot:
    """A slot that is lost in one way or another."""

    def __init__(self) -> None:
        self.taken = False

    async def lost_while_waiting(self, trial: Trial) -> None:
        await turn()
        self.taken = True
        await trial.world.sleep(1)
        self.taken = False

    async def lost_on_the_way(self, future: asyncio.Future[None]) -> None:
        try:
            await future
        except asyncio.CancelledError:
            if future.cancelled():  # if it was not, the slot had come
                self.taken = False
            raise
        self.taken = False


def test_reaches_every_await_twice_and_the_time_before_the_first() -> None:
    seen: list[tuple[str, bool]] = []

    async def scenario(trial: Trial) -> None:
        reached = 0

        async def victim() -> None:
            nonlocal reached
            for reached in (1, 2, 3):  # noqa: B007
                await trial.world.sleep(1)
            reached = 4

        task = trial.victim(victim())
        await asyncio.wait({task})
        seen.append((f"{trial.moment.name} {reached}", task.cancelled()))

    assert cancel_everywhere(scenario) == 7
    assert seen == [
        ("WAITING 0", True),
        ("WAITING 1", True),
        ("WAITING 2", True),
        ("WAITING 3", True),
        ("WAITING 4", False),
        ("WOKEN 1", True),
        ("WOKEN 2", True),
        ("WOKEN 3", True),
        ("WOKEN 4", False),
    ]


def test_says_where_something_was_lost() -> None:
    async def scenario(trial: Trial) -> None:
        slot = Slot()
        await asyncio.wait({trial.victim(slot.lost_while_waiting(trial))})
        assert not slot.taken

    with pytest.raises(AssertionError) as caught:
        cancel_everywhere(scenario)
    (note,) = caught.value.__notes__
    assert note.startswith("the victim was cancelled at await 2 (sleep, line ")
    assert note.endswith("), as it began to wait")


def test_finds_what_is_lost_when_it_comes_with_the_cancellation() -> None:
    async def scenario(trial: Trial) -> None:
        slot = Slot()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = trial.victim(slot.lost_on_the_way(future))
        await turn()
        if not task.done() and not future.cancelled():
            slot.taken = True
            future.set_result(None)
        await asyncio.wait({task})
        assert not slot.taken

    with pytest.raises(AssertionError) as caught:
        cancel_everywhere(scenario)
    assert caught.value.__notes__[0].endswith("could go on")


def test_a_bare_yield_is_an_await_too() -> None:
    async def scenario(trial: Trial) -> None:
        task = trial.victim(turn())
        await asyncio.wait({task})
        assert task.cancelled() is trial.reached

    assert cancel_everywhere(scenario) == 3


def test_a_failure_that_no_cancellation_caused_has_no_note() -> None:
    async def scenario(trial: Trial) -> None:
        trial.victim(turn())
        trial.reached = False
        raise ValueError

    with pytest.raises(ValueError) as caught:
        cancel_everywhere(scenario)
    assert not hasattr(caught.value, "__notes__")


def test_each_run_has_a_world_of_its_own_with_the_seed() -> None:
    worlds: list[Any] = []

    async def scenario(trial: Trial) -> None:
        worlds.append((trial.world, trial.world.rng.random(), trial.world.now()))
        await asyncio.wait({trial.victim(trial.world.sleep(1))})

    cancel_everywhere(scenario, seed=3)
    assert len({id(world) for world, *_ in worlds}) == len(worlds)
    assert len({drawn for _, drawn, _ in worlds}) == 1
    assert {now for *_, now in worlds} == {0.0}


def test_a_scenario_without_a_victim_is_a_mistake() -> None:
    async def scenario(trial: Trial) -> None:
        pass

    with pytest.raises(RuntimeError, match="started no task"):
        cancel_everywhere(scenario)


def test_a_second_victim_is_a_mistake() -> None:
    async def scenario(trial: Trial) -> None:
        trial.victim(turn())
        trial.victim(turn())

    with pytest.raises(RuntimeError, match="one victim"):
        cancel_everywhere(scenario)


def test_a_victim_that_never_ends_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("escala.testing.cancelling._MOST_AWAITS", 20)

    async def scenario(trial: Trial) -> None:
        async def on_and_on() -> None:
            while True:
                await turn()

        await asyncio.wait({trial.victim(on_and_on())})

    with pytest.raises(RuntimeError, match="not ended after 20 awaits"):
        cancel_everywhere(scenario)
