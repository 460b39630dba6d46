"""A world in virtual time, and what caches tell in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from escala.kernel.events import Event, subscribe
from escala.testing import VirtualRuntime


@pytest.fixture
def world() -> Iterator[VirtualRuntime]:
    virtual = VirtualRuntime()
    yield virtual
    virtual.close()


@pytest.fixture
def events() -> Iterator[list[Event]]:
    heard: list[Event] = []
    stop = subscribe(Event, heard.append)
    yield heard
    stop()
