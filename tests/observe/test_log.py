from __future__ import annotations

import logging

import pytest

from escala.kernel.events import Event, publish
from escala.observe import log_events


class Opened(Event, frozen=True, kw_only=True):
    reason: str


class Closed(Event, frozen=True, kw_only=True):
    pass


def test_events_become_lines_until_stopped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="escala")
    stop = log_events()
    event = Opened(name="payments", at=1.0, reason="60% failed")
    publish(event)
    stop()
    publish(event)
    assert [record.getMessage() for record in caplog.records] == [
        "Opened payments: reason=60% failed"
    ]
    assert caplog.records[0].event is event  # type: ignore[attr-defined]


def test_only_the_kind_and_level_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("mine")
    caplog.set_level(logging.WARNING, logger="mine")
    stops = [
        log_events(logger, kind=Closed, level=logging.WARNING),
        log_events(logger, kind=Opened, level=logging.DEBUG),
    ]
    publish(Opened(name="a", at=0.0, reason="r"))
    publish(Closed(name="b", at=0.0))
    for stop in stops:
        stop()
    assert [record.getMessage() for record in caplog.records] == ["Closed b: "]
