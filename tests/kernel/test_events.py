"""Events: told to whoever listens, at no cost to whoever tells."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from types import TracebackType

import pytest

from escala.kernel import events
from escala.kernel.events import Event, publish, subscribe


class Opened(Event, frozen=True, kw_only=True):
    reason: str = ""


class Forced(Opened, frozen=True, kw_only=True):
    pass


class Closed(Event, frozen=True, kw_only=True):
    pass


OPENED, FORCED, CLOSED = (
    Opened(name="a", at=1.0),
    Forced(name="b", at=2.0),
    Closed(name="c", at=3.0),
)


@pytest.fixture(autouse=True)
def no_listener_stays() -> Iterator[None]:
    before = events.listeners
    yield
    assert events.listeners is before or events.listeners == before


def test_an_event_is_frozen() -> None:
    with pytest.raises(AttributeError):
        OPENED.name = "other"  # type: ignore[misc]


def test_publishing_to_no_one_is_fine() -> None:
    publish(OPENED)


def test_a_listener_hears_its_kind_and_the_kinds_below_it() -> None:
    heard: list[list[Event]] = [[], [], [], []]
    kinds: list[type[Event]] = [Event, Opened, Forced, Closed]
    ends = [subscribe(kind, ears.append) for kind, ears in zip(kinds, heard, strict=True)]
    for event in (OPENED, FORCED, CLOSED):
        publish(event)
    for end in ends:
        end()
    publish(OPENED)
    assert heard == [[OPENED, FORCED, CLOSED], [OPENED, FORCED], [FORCED], [CLOSED]]


def test_listeners_are_told_in_the_order_in_which_they_came() -> None:
    heard: list[int] = []
    ends = [subscribe(Event, lambda _, at=at: heard.append(at)) for at in range(5)]  # type: ignore[misc]
    publish(OPENED)
    for end in ends:
        end()
    assert heard == [0, 1, 2, 3, 4]


def test_to_end_twice_ends_once() -> None:
    heard: list[Event] = []
    one, two = subscribe(Event, heard.append), subscribe(Event, heard.append)
    one()
    one()
    publish(OPENED)
    two()
    assert heard == [OPENED]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """The errors that `sys.excepthook` got."""
    errors: list[BaseException] = []

    def hook(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
        errors.append(error)

    monkeypatch.setattr(sys, "excepthook", hook)
    return errors


def test_a_listener_that_fails_is_shown_and_reaches_no_one(shown: list[BaseException]) -> None:
    heard: list[Event] = []
    error = ValueError("the listener's own")

    def fail(_: Event) -> None:
        raise error

    ends = [subscribe(Event, heard.append), subscribe(Event, fail), subscribe(Event, heard.append)]
    publish(OPENED)
    for end in ends:
        end()
    assert heard == [OPENED, OPENED]
    assert shown == [error]


def test_a_listener_may_not_stop_an_interrupt(shown: list[BaseException]) -> None:
    def interrupt(_: Event) -> None:
        raise KeyboardInterrupt

    end = subscribe(Event, interrupt)
    with pytest.raises(KeyboardInterrupt):
        publish(OPENED)
    end()
    assert shown == []


def test_a_listener_may_leave_or_come_while_it_is_told() -> None:
    heard: list[str] = []
    ends: dict[str, Callable[[], None]] = {}

    def once(_: Event) -> None:
        heard.append("once")
        ends["once"]()
        ends["late"] = subscribe(Event, lambda _: heard.append("late"))

    ends["once"] = subscribe(Event, once)
    ends["after"] = subscribe(Event, lambda _: heard.append("after"))
    publish(OPENED)
    assert heard == ["once", "after"]
    publish(OPENED)
    assert heard == ["once", "after", "after", "late"]
    for end in ends.values():
        end()


def test_a_listener_may_publish() -> None:
    heard: list[Event] = []

    def answer(_: Opened) -> None:
        publish(CLOSED)

    ends = [subscribe(Opened, answer), subscribe(Event, heard.append)]
    publish(OPENED)
    for end in ends:
        end()
    assert heard == [CLOSED, OPENED]


def test_threads_come_and_go_while_others_publish() -> None:
    heard: list[Event] = []
    stays = subscribe(Event, heard.append)
    counts = [0] * 4

    def come_and_go(at: int) -> None:
        def count(_: Event) -> None:
            counts[at] += 1

        for _ in range(200):
            end = subscribe(Closed, count)
            publish(OPENED)
            end()

    threads = [threading.Thread(target=come_and_go, args=[at]) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stays()
    assert heard == [OPENED] * 800
    assert counts == [0] * 4
