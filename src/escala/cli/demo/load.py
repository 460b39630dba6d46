"""Send every planned request when it is due, whatever became of the ones before."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable, Sequence

from escala.cli.demo.http_client import LOOPBACK, Client, Reply, request_bytes
from escala.cli.demo.outcome import Outcome
from escala.cli.demo.plan import Planned
from escala.cli.demo.prices import cents_on
from escala.kernel.runtime import colours

PATIENCE = 4.0  # seconds after which a client gives up
MOST_OUTSTANDING = 2000
MOST_SOURCES = 64
BODILESS = "HEAD"


def sources() -> list[str]:
    """Loopback addresses that clients may come from: one only where the system has no more."""
    addresses = [f"127.1.0.{n}" for n in range(1, MOST_SOURCES + 1)]
    with socket.socket() as probe:
        try:
            probe.bind((addresses[-1], 0))
        except OSError:
            return [LOOPBACK]
    return addresses


def raise_file_limit() -> None:
    """Allow as many sockets as the system lets us; children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 16_384 if hard == resource.RLIM_INFINITY else min(hard, 16_384)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Load:
    """One half's traffic; `outcomes` fills while it runs."""

    def __init__(self, plan: Sequence[Planned], client: Client) -> None:
        self._plan, self._client = plan, client
        self.outcomes: list[Outcome] = []
        self.outstanding = 0
        self.most_outstanding = 0

    async def run(self, start: float) -> None:
        """Play the plan from the loop time `start`; ends when every request has its outcome."""
        loop = asyncio.get_running_loop()
        for planned in self._plan:
            due = start + planned.at
            if (wait := due - loop.time()) > 0:
                await colours.loop.sleep(wait)
            self._send(planned, due, loop.time)
        while self.outstanding:
            await colours.loop.sleep(0.02)

    def _send(self, planned: Planned, due: float, now: Callable[[], float]) -> None:
        late = now() - due
        if self.outstanding >= MOST_OUTSTANDING:
            self._record(planned, late, late, Reply(error="not sent: too many outstanding"))
            return
        self.outstanding += 1
        self.most_outstanding = max(self.most_outstanding, self.outstanding)

        def done(reply: Reply) -> None:
            self.outstanding -= 1
            self._record(planned, now() - due, late, reply)

        request = request_bytes(planned.method, planned.path, planned.body, planned.key)
        self._client.send(planned.source, request, done, bodiless=planned.method == BODILESS)

    def _record(self, planned: Planned, latency: float, late: float, reply: Reply) -> None:
        outcome = Outcome(
            at=planned.at,
            latency=latency,
            method=planned.method,
            kind=planned.kind,
            key=planned.key,
            status=reply.status,
            cache=reply.cache,
            rejected=reply.rejected,
            error=reply.error,
            late=late,
            path=planned.path,
            cents=cents_on(reply.body) if planned.kind == "product" else None,
        )
        self.outcomes.append(outcome)
