"""What requests is given for a timeout, whatever way its user wrote it."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Timeout as SocketTimeout

from escala.adapters import RequestsAdapter
from escala.kernel.policy import Policy
from escala.kernel.stack import Stack
from escala.resilience import Deadline
from escala.testing import VirtualRuntime


def sent(
    world: VirtualRuntime, monkeypatch: pytest.MonkeyPatch, policy: Policy, timeout: Any
) -> tuple[requests.PreparedRequest, Any]:
    seen: list[Any] = []

    def send(self: Any, request: requests.PreparedRequest, **given: Any) -> requests.Response:
        seen.append((request, given["timeout"]))
        answer = requests.Response()
        answer.status_code, answer._content = 200, b"tea"
        return answer

    monkeypatch.setattr(HTTPAdapter, "send", send)
    prepared = requests.Request("GET", "http://shop.test/").prepare()

    async def main() -> None:
        RequestsAdapter(policy).send(prepared, timeout=timeout)

    world.run(main())
    assert "x-request-timeout-ms" not in prepared.headers, "the caller's own stays as it was"
    return seen[0]


@pytest.mark.parametrize(
    ("given", "connect", "read"),
    [
        (None, 3, 3),
        (1, 1, 1),
        (9, 3, 3),
        ((1, 2), 1, 2),
        ((1, None), 1, 3),
        ((None, 2), 3, 2),
        ((9, 9), 3, 3),
        (SocketTimeout(connect=1, read=9), 1, 3),
    ],
)
def test_no_part_outlasts_the_deadline(
    world: VirtualRuntime, monkeypatch: pytest.MonkeyPatch, given: Any, connect: int, read: int
) -> None:
    request, timeout = sent(world, monkeypatch, Deadline("3s"), given)
    assert (timeout.total, timeout.connect_timeout, timeout._read) == (3, connect, read)
    assert request.headers["x-request-timeout-ms"] == "3000"


@pytest.mark.parametrize("given", [None, 1, (1, 2)])
def test_without_a_deadline_it_stays_as_it_is(
    world: VirtualRuntime, monkeypatch: pytest.MonkeyPatch, given: Any
) -> None:
    request, timeout = sent(world, monkeypatch, Stack(), given)
    assert timeout is given
    assert "x-request-timeout-ms" not in request.headers
