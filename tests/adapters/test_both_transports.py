"""A transport that is needed by many threads at once is made once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from escala.adapters.both_transports import BothTransports


def test_threads_that_come_together_get_the_same_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made, slow = list[httpx.MockTransport](), threading.Event()

    def make() -> httpx.MockTransport:
        slow.wait(0.05)
        made.append(httpx.MockTransport(lambda request: httpx.Response(200)))
        return made[-1]

    monkeypatch.setattr("httpx.HTTPTransport", make)
    monkeypatch.setattr("httpx.AsyncHTTPTransport", make)
    both = BothTransports(None, None)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: both.sync, range(8))) == {made[0]}
        assert set(pool.map(lambda _: both.asynchronous, range(8))) == {made[1]}
    assert len(made) == 2
