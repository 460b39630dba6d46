"""`hedge` in a gateway: one of two targets accepts and never answers, and no client notices."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live.processes import Child, ask, children, gateway, service, stack

pytestmark = pytest.mark.live

POLICIES = [
    {"deadline": "5s"},
    {"hedge": {"after": "50ms", "budget": "100%"}},
    {"bulkhead": {"slots": 9}},
]


@pytest.fixture
def started() -> Iterator[list[Child]]:
    with children() as running:
        yield running


class Silent:
    """A target that takes every request and answers none."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.links: list[socket.socket] = []
        self.closed = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self.listener.accept()
            except OSError:
                return
            self.links.append(link)
            threading.Thread(target=self._read, args=(link,), daemon=True).start()

    def _read(self, link: socket.socket) -> None:
        try:
            while link.recv(65536):
                pass
        except OSError:
            pass
        self.closed += 1
        link.close()


def test_a_silent_target_costs_no_one_an_answer(started: list[Child], tmp_path: Path) -> None:
    silent, port = Silent(), service(started, "well")
    values = stack([silent.port, port], POLICIES, upstream_balance="round_robin", explain=True)
    front = gateway(started, tmp_path, values)
    for _ in range(8):
        began = time.monotonic()
        assert front.get("/name").body == b"well"
        assert time.monotonic() - began < 1
    assert len(front.get("/big?n=3000000").body) == 3_000_000
    body = b"tea" * 10_000
    digest = hashlib.sha256(body).hexdigest()
    for _ in range(4):
        answer = ask(front.port, "PUT", "/echo", body=body)
        assert answer.body.decode() == f"{len(body)} {digest}"
    hedge = front.status()["routes"][0]["policies"]["hedge"]
    assert hedge["copies"] == hedge["won"] >= 4
    assert front.status()["routes"][0]["policies"]["bulkhead"] == {"in_use": 0.0, "waiting": 0.0}
    deadline = time.monotonic() + 5
    while silent.closed < len(silent.links) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert silent.closed == len(silent.links) >= 4, "each loser's connection was closed"
    silent.listener.close()


def test_what_is_not_idempotent_has_no_copy(started: list[Child], tmp_path: Path) -> None:
    port = service(started, "well")
    front = gateway(started, tmp_path, stack([port], POLICIES))
    assert ask(front.port, "POST", "/slow?s=0.2", body=b"tea").body == b"well"
    assert front.status()["routes"][0]["policies"]["hedge"]["copies"] == 0
    assert ask(front.port, "GET", "/slow?s=0.2").body == b"well"
    assert front.status()["routes"][0]["policies"]["hedge"]["copies"] == 1
