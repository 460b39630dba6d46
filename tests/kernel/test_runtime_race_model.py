"""`race` against its model: every nest of waits, limits and cancellations ends as it would with
`asyncio.timeout`.

Whole numbers of seconds make expiries and cancellations meet in one tick as often as possible.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from hypothesis import example, given
from hypothesis import strategies as st

from escala.kernel.runtime import colours
from escala.testing import VirtualRuntime

Program: TypeAlias = tuple[Any, ...]
Log: TypeAlias = list[tuple[object, ...]]
Limit: TypeAlias = Callable[[float, Callable[[], Awaitable[None]]], Awaitable[None]]

SECONDS = st.integers(1, 4)


def _wrap(inner: st.SearchStrategy[Program]) -> st.SearchStrategy[Program]:
    return st.one_of(
        st.tuples(st.just("limit"), inner, SECONDS),
        st.tuples(st.just("swallow"), inner),
        st.tuples(st.just("clean up"), inner, SECONDS),
        st.tuples(st.just("fail"), inner),
        st.tuples(st.just("catch"), inner),
        st.tuples(st.just("then"), inner, inner),
        st.tuples(st.just("beside"), inner, inner),
    )


PROGRAMS = st.recursive(st.tuples(st.just("sleep"), st.integers(0, 4)), _wrap, max_leaves=8)


async def play(  # noqa: C901, PLR0912  one case for each word of the little language
    program: Program, limit: Limit, log: Log
) -> None:
    match program:
        case ("sleep", seconds):
            await colours.loop.sleep(seconds)
        case ("limit", inner, seconds):
            await _limited(inner, seconds, limit, log)
        case ("swallow", inner):
            try:
                await play(inner, limit, log)
            except asyncio.CancelledError:
                log.append(("swallowed", colours.loop.now()))
        case ("clean up", inner, seconds):
            try:
                await play(inner, limit, log)
            except asyncio.CancelledError:
                await colours.loop.sleep(seconds)
                raise
        case ("fail", inner):
            try:
                await play(inner, limit, log)
            except asyncio.CancelledError:
                raise ValueError from None
        case ("catch", inner):
            try:
                await play(inner, limit, log)
            except TimeoutError:
                log.append(("caught", colours.loop.now()))
        case ("then", first, second):
            await play(first, limit, log)
            await play(second, limit, log)
        case ("beside", child, here):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(play(child, limit, log))
                await play(here, limit, log)
        case _:
            raise AssertionError(program)


async def _limited(inner: Program, seconds: float, limit: Limit, log: Log) -> None:
    task = asyncio.current_task()
    assert task is not None
    end: object = "ended"
    try:
        await limit(seconds, lambda: play(inner, limit, log))
    except BaseException as error:
        end = kind(error)
        raise
    finally:
        log.append((end, seconds, colours.loop.now(), task.cancelling()))


def kind(error: BaseException) -> object:
    if isinstance(error, BaseExceptionGroup):
        return sorted(str(kind(each)) for each in error.exceptions)
    return "late" if isinstance(error, TimeoutError) else type(error).__name__


async def by_race(seconds: float, call: Callable[[], Awaitable[None]]) -> None:
    await colours.loop.race(call, colours.loop.now() + seconds)


async def by_asyncio(seconds: float, call: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.timeout(seconds):
        await call()


def history(program: Program, cancels: list[int], limit: Limit, seed: int = 0) -> Log:
    """All that a program says, and its end; at the end no cancellation may be left or lost."""
    world, log = VirtualRuntime(seed), Log()

    async def main() -> None:
        task = asyncio.create_task(play(program, limit, log))
        hits: list[int] = []

        def cancel(moment: int) -> None:
            if task.cancel():
                hits.append(moment)

        for moment in cancels:
            asyncio.get_running_loop().call_later(moment, cancel, moment)
        (end,) = await asyncio.gather(task, return_exceptions=True)
        log.append((kind(end) if end else "ended", task.cancelled(), world.now()))
        if "beside" not in str(program):  # the task group of Python 3.11 leaves one of its own
            assert task.cancelling() == len(hits)

    world.run(main())
    return log


@given(PROGRAMS, st.lists(SECONDS, max_size=2))
@example(("limit", ("limit", ("sleep", 2), 1), 1), [])
@example(("limit", ("sleep", 1), 1), [1])
@example(("limit", ("clean up", ("limit", ("sleep", 4), 1), 1), 2), [2])
def test_race_ends_as_asyncio_timeout_does(program: Program, cancels: list[int]) -> None:
    assert history(program, cancels, by_race) == history(program, cancels, by_asyncio)


@given(PROGRAMS, st.lists(SECONDS, max_size=2), st.integers(1, 2**32))
def test_no_cancellation_is_lost_in_any_order(
    program: Program, cancels: list[int], seed: int
) -> None:
    log = history(program, cancels, by_race, seed)
    assert log == history(program, cancels, by_race, seed)  # and the order repeats
