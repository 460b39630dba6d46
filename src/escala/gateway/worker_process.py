"""A worker as the supervisor sees it: a child process and the channel to it."""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
from collections.abc import Callable
from typing import Any

from escala.gateway.control import Control

_STATUS_TIME = 1.0
_LOAD_TIME = 10.0


class WorkerProcess:
    """Starts, asks, reloads and ends one worker; `run` returns when the process has ended."""

    def __init__(
        self,
        index: int,
        listener: socket.socket,
        on_event: Callable[[int, dict[str, Any]], None],
    ) -> None:
        self.index = index
        self.ready = asyncio.Event()
        self._listener, self._on_event = listener, on_event
        self._control: Control | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loading: asyncio.Future[list[str]] | None = None
        self._drained: asyncio.Future[bool] | None = None

    async def run(self, order: dict[str, Any]) -> int:
        """Start the process with what it should load; its exit code when it has ended."""
        mine, theirs = socket.socketpair()
        fds = self._listener.fileno(), theirs.fileno()
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "escala.gateway.worker",
                *map(str, fds),
                pass_fds=fds,
                stdin=asyncio.subprocess.DEVNULL,
            )
        finally:
            theirs.close()
        self._control = await Control.open(mine)
        self._control.send(order)
        await self._listen(self._control)
        self.ready.clear()
        for asked in (*self._asked.values(), self._loading, self._drained):
            if asked is not None and not asked.done():
                asked.cancel()
        self._asked.clear()
        self._control.close()
        return await self._process.wait()

    async def _listen(self, control: Control) -> None:
        while (message := await control.receive()) is not None:
            if "event" in message:
                self._on_event(self.index, message["event"])
            elif "id" in message:
                asked = self._asked.pop(message["id"], None)
                if asked is not None and not asked.done():
                    asked.set_result(message["status"])
            elif "loaded" in message or "failed" in message:
                self.ready.set()
                if self._loading is not None and not self._loading.done():
                    self._loading.set_result(message.get("failed", []))
            elif "drained" in message and self._drained is not None:
                self._drained.set_result(message["drained"])

    async def load(self, order: dict[str, Any]) -> list[str]:
        """Hand over a new stack; the problems it found, empty when it serves it now.

        A worker that is just being restarted gets the newest stack when it comes up.
        """
        if self._control is None or not self.ready.is_set():
            return []
        self._loading = asyncio.get_running_loop().create_future()
        self._control.send(order)
        try:
            return await asyncio.wait_for(self._loading, _LOAD_TIME)
        except TimeoutError:
            return [f"worker {self.index} did not answer in {_LOAD_TIME:g} s"]
        except asyncio.CancelledError:
            if self._loading.cancelled():  # the worker died: see above
                return []
            raise

    async def status(self) -> dict[str, Any] | None:
        """The worker's figures; None when it does not answer in time."""
        if self._control is None or not self.ready.is_set():
            return None
        number = next(self._ids)
        asked = self._asked[number] = asyncio.get_running_loop().create_future()
        self._control.send({"do": "status", "id": number})
        done, _ = await asyncio.wait([asked], timeout=_STATUS_TIME)
        self._asked.pop(number, None)
        if not done or asked.cancelled():
            return None
        answer: dict[str, Any] = asked.result()
        return answer

    async def drain(self, patience: float) -> bool:
        """Let it finish what it is doing; False when it had to be cut off or killed."""
        process = self._process
        if self._control is None or process is None or process.returncode is not None:
            return True
        self._drained = asyncio.get_running_loop().create_future()
        self._control.send({"do": "drain", "patience": patience})
        done, _ = await asyncio.wait([self._drained], timeout=patience + 5.0)
        clean = bool(done) and not self._drained.cancelled() and self._drained.result()
        try:
            await asyncio.wait_for(process.wait(), 5.0)
        except TimeoutError:
            process.kill()
            return False
        return clean
