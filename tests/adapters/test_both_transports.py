"""A transport that is needed by many threads at once is made once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from escala.adapters import BalancedTransport, HttpxTransport
from escala.adapters.both_transports import BothTransports
from escala.balancing import Upstream
from escala.errors import ConfigError
from escala.resilience import Retry


def test_threads_that_come_together_get_the_same_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made, slow = list[httpx.MockTransport](), threading.Event()

    def make() -> httpx.MockTransport:
        slow.wait(0.05)
        made.append(httpx.MockTransport(lambda request: httpx.Response(200)))
        return made[-1]

    monkeypatch.setattr("httpx.HTTPTransport", make)
    monkeypatch.setattr("httpx.AsyncHTTPTransport", make)
    both = BothTransports(None, None, where="HttpxTransport")
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: both.sync, range(8))) == {made[0]}
        assert set(pool.map(lambda _: both.asynchronous, range(8))) == {made[1]}
    assert len(made) == 2


@pytest.mark.parametrize("field", ["transport", "atransport"])
def test_a_transport_of_the_other_colour_is_refused(field: str) -> None:
    other: Any = httpx.AsyncHTTPTransport() if field == "transport" else httpx.HTTPTransport()
    expected = "BaseTransport" if field == "transport" else "AsyncBaseTransport"
    for where, first in [(HttpxTransport, Retry()), (BalancedTransport, Upstream("shop", ["a:1"]))]:
        make: Any = where
        problem = f"^{where.__name__}: {field}: expected an httpx.{expected}, found <httpx"
        with pytest.raises(ConfigError, match=problem):
            make(first, **{field: other})
