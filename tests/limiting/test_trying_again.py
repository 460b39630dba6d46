"""Waiting where no place ahead can be taken."""

from __future__ import annotations

import pytest
from tests.limiting.limiters import alone

from escala.kernel.runtime import drive
from escala.limiting.decision import Decision
from escala.limiting.trying_again import trying_again


def refused(after: float) -> Decision:
    return Decision(allowed=False, limit=1, remaining=0, reset_after=after, retry_after=after)


GRANTED = Decision(allowed=True, limit=1, remaining=0, reset_after=1.0, retry_after=0.0)


def asked(*answers: Decision, wait: float, reserves: bool = False) -> tuple[Decision, list[float]]:
    """The answer in the end, and how much of the wait was left each time it was asked."""
    left, waits = list(answers), []

    async def once(wait: float) -> tuple[Decision, float]:
        waits.append(wait)
        return left.pop(0), 0.0

    with alone() as thread:
        decision, sleep = drive(trying_again(once, thread, wait, reserves=reserves))
    assert sleep == 0.0
    return decision, waits


def test_it_comes_back_when_the_tokens_should_be_there_until_it_has_them() -> None:
    assert asked(refused(0.25), refused(0.5), GRANTED, wait=2.0) == (GRANTED, [2.0, 1.75, 1.25])


def test_it_comes_back_at_the_last_moment_and_not_after() -> None:
    assert asked(refused(0.5), GRANTED, wait=0.5) == (GRANTED, [0.5, 0.0])
    assert asked(refused(0.5), wait=0.25) == (refused(0.5), [0.25])
    assert asked(refused(0.5), refused(0.25), wait=0.5) == (refused(0.25), [0.5, 0.0])


def test_without_a_wait_it_asks_once() -> None:
    assert asked(GRANTED, wait=0.0) == (GRANTED, [0.0])
    assert asked(refused(0.1), wait=0.0) == (refused(0.1), [0.0])


@pytest.mark.parametrize("answer", [GRANTED, refused(0.5)])
def test_where_places_are_reserved_the_first_answer_is_the_last(answer: Decision) -> None:
    assert asked(answer, wait=2.0, reserves=True) == (answer, [2.0])
