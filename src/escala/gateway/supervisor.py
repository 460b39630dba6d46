"""The process that `escala serve` is: owns the sockets, keeps workers alive, reloads, drains."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from escala.errors import ConfigError
from escala.gateway.admin import Admin
from escala.gateway.listening import listen
from escala.gateway.stack_file import StackFile, load_stack
from escala.gateway.worker_process import WorkerProcess
from escala.http.server import HttpServer
from escala.kernel.runtime import wall

_EVENTS = 1000
_LOGGED = frozenset({"health", "outlier", "panic", "discovery", "breaker", "store"})
_STABLE = 10.0  # seconds after which a worker's end is no longer taken for a failed start
_SLOWEST_RESTART = 2.0


class Supervisor:
    """Runs a stack file until SIGTERM or SIGINT; SIGHUP (or a change, with `watch`) reloads it.

    `tell` gets one line for whatever an operator wants to read. A file that cannot be used keeps
    the old stack in place and says why.
    """

    def __init__(
        self, path: Path, *, tell: Callable[[str], None], watch: bool = False, explain: bool = False
    ) -> None:
        self._path, self._tell, self._watch, self._explain = path, tell, watch, explain
        self.stack = self._read()
        self.generation = 1
        self._reload: dict[str, Any] = {"ok": True, "at": wall(), "problems": []}
        self._restarts = 0
        self._workers: list[WorkerProcess] = []
        self._events: deque[dict[str, Any]] = deque(maxlen=_EVENTS)
        self._seq = 0
        self._stopping = asyncio.Event()
        self._again = asyncio.Event()

    def _read(self) -> StackFile:
        stack = load_stack(self._path, warn=lambda problem: self._tell(f"warning: {problem}"))
        if self._explain and not stack.explain:
            stack = msgspec.structs.replace(stack, explain=True)
        return stack

    async def run(self) -> int:
        """Serve; the exit code: 0 after a clean drain, 1 when requests had to be cut off."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._again.set)
        stack = self.stack
        listeners = listen(stack.listen, stack.workers, field="listen")
        admin, pages = None, ""
        if stack.admin is not None:
            (admin_socket,) = listen(stack.admin, 1, field="admin")
            admin = HttpServer(Admin(self).handle)
            await admin.start(admin_socket)
            pages = f", admin on http://{_address(admin_socket)}"
        where = _address(listeners[0])
        self._workers = [
            WorkerProcess(index, listener, self._on_event)
            for index, listener in enumerate(listeners)
        ]
        keepers = [asyncio.create_task(self._keep(worker)) for worker in self._workers]
        reloader = asyncio.create_task(self._reload_when_told())
        ready = asyncio.create_task(self._all_ready())
        await asyncio.wait(
            [ready, asyncio.create_task(self._stopping.wait())],
            return_when=asyncio.FIRST_COMPLETED,
        )
        if ready.done():
            self._tell(f"ready: http://{where}, {stack.workers} worker(s){pages}")
        await self._stopping.wait()
        reloader.cancel()
        ready.cancel()
        self._tell("draining: no new connections, requests at hand are finished")
        for listener in listeners:
            listener.close()
        results = await asyncio.gather(
            *(worker.drain(self.stack.drain_timeout) for worker in self._workers)
        )
        await asyncio.gather(*keepers)
        if admin is not None:
            await admin.drain(0.5)
        clean = all(results)
        self._tell("stopped" if clean else "stopped: some requests were cut off by the drain's end")
        return 0 if clean else 1

    def _stop(self) -> None:
        self._stopping.set()

    async def _all_ready(self) -> None:
        for worker in self._workers:
            await worker.ready.wait()

    # Workers

    async def _keep(self, worker: WorkerProcess) -> None:
        """Start a worker, and start it again whenever it ends; faster ends wait longer."""
        loop = asyncio.get_running_loop()
        pause = 0.05
        while not self._stopping.is_set():
            began = loop.time()
            code = await worker.run(self._order())
            if self._stopping.is_set():
                return
            self._restarts += 1
            self._on_event(
                worker.index,
                {
                    "at": wall(),
                    "type": "worker",
                    "name": f"worker {worker.index}",
                    "detail": {"exit": code, "restarted": True},
                },
            )
            self._tell(f"worker {worker.index} ended ({_how(code)}); starting it again")
            pause = 0.05 if loop.time() - began > _STABLE else min(pause * 2, _SLOWEST_RESTART)
            try:
                await asyncio.wait_for(self._stopping.wait(), pause)
            except TimeoutError:
                continue

    def _order(self) -> dict[str, Any]:
        return {
            "do": "load",
            "generation": self.generation,
            "workers": self.stack.workers,
            "stack": json.loads(self.stack.to_json()),
        }

    def _on_event(self, worker: int, event: dict[str, Any]) -> None:
        self._seq += 1
        self._events.append({"seq": self._seq, "worker": worker, **event})
        if event["type"] in _LOGGED:
            detail = " ".join(f"{key}={value}" for key, value in event["detail"].items())
            self._tell(f"{event['type']}: {event['name']} {detail} (worker {worker})")

    # Reload

    async def _reload_when_told(self) -> None:
        seen = self._stamp()
        while True:
            try:
                await asyncio.wait_for(self._again.wait(), 0.5 if self._watch else None)
            except TimeoutError:
                stamp = self._stamp()
                if stamp == seen or stamp is None:
                    continue
                seen = stamp
            self._again.clear()
            seen = self._stamp()
            await self._load_again()

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    async def _load_again(self) -> None:
        try:
            stack = self._read()
        except ConfigError as error:
            self._reloaded(list(error.problems))
            return
        for field in ("listen", "admin", "workers"):
            if getattr(stack, field) != getattr(self.stack, field):
                self._tell(f"warning: a changed `{field}` takes effect at the next start")
        old, self.stack = self.stack, stack
        self.generation += 1
        answers = await asyncio.gather(*(worker.load(self._order()) for worker in self._workers))
        problems = [problem for answer in answers for problem in answer]
        if problems:
            self.stack = old
            self.generation += 1
            await asyncio.gather(*(worker.load(self._order()) for worker in self._workers))
        self._reloaded(problems)

    def _reloaded(self, problems: list[str]) -> None:
        self._reload = {"ok": not problems, "at": wall(), "problems": problems}
        if problems:
            self._tell("reload refused, the old stack stays in place:")
            for problem in problems:
                self._tell(f"  {problem}")
        else:
            self._tell(f"reloaded: generation {self.generation}")
        self._on_event(
            -1, {"at": wall(), "type": "reload", "name": str(self._path), "detail": self._reload}
        )

    # What the admin pages ask

    async def statuses(self) -> dict[str, dict[str, Any]]:
        """The figures of every worker that answers within a second, by index."""
        answers = await asyncio.gather(*(worker.status() for worker in self._workers))
        return {
            str(worker.index): answer
            for worker, answer in zip(self._workers, answers, strict=True)
            if answer is not None
        }

    def own(self) -> dict[str, Any]:
        """What the supervisor knows itself."""
        return {
            "pid": os.getpid(),
            "generation": self.generation,
            "restarts": self._restarts,
            "reload": self._reload,
            "draining": self._stopping.is_set(),
        }

    def events(self, since: int) -> list[dict[str, Any]]:
        """What happened after event number `since`; the newest thousand are kept."""
        return [event for event in self._events if event["seq"] > since]

    def readiness(self) -> str | None:
        """Why not ready, None when ready: at least one worker serves and no drain has begun."""
        if self._stopping.is_set():
            return "draining"
        if not any(worker.ready.is_set() for worker in self._workers):
            return "no worker has started yet"
        return None


def _address(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _how(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
