"""One worker process: serves what the supervisor tells it to, until it is told to stop.

    python -m escala.gateway.worker LISTEN_FD CONTROL_FD

The listening socket belongs to the supervisor, so connections that wait in it survive a worker
that dies. When the control channel closes, the supervisor is gone, and the worker drains too.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import msgspec

from escala.balancing import (
    DiscoveryFailed,
    PanicChanged,
    TargetChanged,
    TargetEjected,
    TargetsChanged,
)
from escala.errors import ConfigError
from escala.gateway.control import Control
from escala.gateway.gateway import Gateway
from escala.gateway.stack_file import stack_of
from escala.http.server import HttpServer
from escala.kernel.events import Event, subscribe
from escala.kernel.runtime import wall
from escala.limiting import LimiterStoreChanged
from escala.resilience import BreakerChanged, BreakerStoreChanged, Retried

_PATIENCE = 5.0  # seconds that a new gateway's discoveries have before it takes over
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MEMORY = Path("/proc/self/statm")
# Told as they are, by the name that `/status` and the log give them.
_TOLD: dict[type[Event], str] = {
    TargetChanged: "health",
    TargetEjected: "outlier",
    PanicChanged: "panic",
    TargetsChanged: "discovery",
    DiscoveryFailed: "discovery",
}


class Worker:
    """Answers requests with the newest gateway it was given, and the supervisor with figures."""

    def __init__(self, listener: socket.socket, control: Control) -> None:
        self._listener, self._control = listener, control
        self._gateway: Gateway | None = None
        self._server: HttpServer | None = None

    async def run(self) -> None:
        """Serve until told to stop, or until the supervisor is gone."""
        unsubscribe = subscribe(Event, self._on_event)
        patience = 0.0
        while (message := await self._control.receive()) is not None:
            match message["do"]:
                case "load":
                    await self._load(message)
                case "status":
                    self._control.send({"status": self._status(), "id": message["id"]})
                case "drain":
                    patience = message["patience"]
                    break
        else:
            patience = 5.0 if self._gateway is None else self._gateway.stack.drain_timeout
        if self._server is not None:
            clean = await self._server.drain(patience)
            self._control.send({"drained": clean, "status": self._status()})
        if self._gateway is not None:
            await self._gateway.close()
        unsubscribe()

    async def _load(self, message: dict[str, Any]) -> None:
        try:
            stack = stack_of(message["stack"], where="stack")
            gateway = Gateway(stack, workers=message["workers"], previous=self._gateway)
        except ConfigError as error:
            self._control.send({"failed": list(error.problems)})
            if self._gateway is None:
                raise SystemExit(2) from error
            return
        gateway.open()
        await gateway.found(_PATIENCE)
        old, self._gateway = self._gateway, gateway
        if self._server is None:
            self._server = HttpServer(gateway.handle, stack.limits.engine())
            await self._server.start(self._listener)
            self._sweep()
            # What exists now lives as long as the worker: it need not be looked at again.
            gc.collect()
            gc.freeze()
            gc.set_threshold(20_000, 20, 50)
        else:
            self._server.handler = gateway.handle
            self._server.limits = stack.limits.engine()
        self._control.send({"loaded": message["generation"]})
        if old is not None:
            await old.close(gateway)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        if self._gateway is not None:
            self._gateway.sweep(loop.time())
        loop.call_later(1.0, self._sweep)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Retried):
            if self._gateway is not None:
                self._gateway.retried(event.name)
        elif isinstance(event, (BreakerStoreChanged, LimiterStoreChanged)):
            self._tell(event, "store", {"away": event.away, "reason": event.reason})
        elif isinstance(event, BreakerChanged):
            before, after = event.before.value, event.after.value
            detail = {"before": before, "after": after, "reason": event.reason}
            self._tell(event, "breaker", detail)
        elif type(event) in _TOLD:
            fields = msgspec.structs.asdict(event)
            detail = {name: each for name, each in fields.items() if name not in ("name", "at")}
            self._tell(event, _TOLD[type(event)], detail)

    def _tell(self, event: Event, kind: str, detail: dict[str, Any]) -> None:
        told = {"at": wall(), "type": kind, "name": event.name, "detail": detail}
        self._control.send({"event": told})

    def _status(self) -> dict[str, Any]:
        server = self._server
        figures = {} if self._gateway is None else self._gateway.snapshot()
        resident = int(_MEMORY.read_text().split()[1]) * _PAGE
        return {
            "pid": os.getpid(),
            "resident_bytes": resident,
            "connections": 0 if server is None else len(server.connections),
            "refused": {}
            if server is None
            else {str(status): count for status, count in server.refusals.items()},
            **figures,
        }


async def _main(listen_fd: int, control_fd: int) -> None:
    # The supervisor decides when to stop; a Ctrl-C at the terminal reaches the whole group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    listener = socket.socket(fileno=listen_fd)
    listener.setblocking(False)  # noqa: FBT003  the socket module's own signature
    control = await Control.open(socket.socket(fileno=control_fd))
    await Worker(listener, control).run()


def main() -> None:
    """Entry point of the process."""
    try:
        import uvloop  # optional: the engine runs on either loop
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_main(int(sys.argv[1]), int(sys.argv[2])))


if __name__ == "__main__":
    main()
