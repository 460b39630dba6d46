"""A process of ours: started in its own group, told to stop, killed if deaf, always reaped."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from escala.cli.demo.http_client import Client
from escala.errors import Unavailable
from escala.kernel.runtime import colours

START_PATIENCE = 15.0
STOP_PATIENCE = 5.0
_STEP = 0.02
_OK = 200
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """Between fork and exec: should the demo be killed hard, its children go with it (Linux)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """A command that answers 200 to GET `ready` once it is up."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        ready: tuple[int, str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        nice: int = 0,
    ) -> None:
        self.name = name
        self._command, self._ready, self._log, self._nice = command, ready, log, nice
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the process is there; one that ended is reaped by asking."""
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Start it and wait until it is ready; `Unavailable` with its last words otherwise."""
        with self._log.open("ab") as log:
            # A group of its own: Ctrl-C reaches the demo alone, which then stops all in order.
            self._process = subprocess.Popen(  # noqa: ASYNC220  a fork, and our own command
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                process_group=0,
                preexec_fn=_die_with_parent,  # noqa: PLW1509  the demo has one thread
            )
        if self._nice:
            with contextlib.suppress(OSError):
                ours = os.getpriority(os.PRIO_PROCESS, 0)
                os.setpriority(os.PRIO_PROCESS, self._process.pid, ours + self._nice)
        await self._wait_until_ready()

    async def _wait_until_ready(self) -> None:
        port, path = self._ready
        client = Client(port, timeout=1.0)
        until = colours.loop.now() + START_PATIENCE
        try:
            while colours.loop.now() < until:
                if not self.running:
                    raise Unavailable(f"{self.name} did not start: {self._last_words()}")
                if (await client.ask("GET", path)).status == _OK:
                    return
                await colours.loop.sleep(_STEP)
        finally:
            await client.close()
        msg = f"{self.name} was not ready within {START_PATIENCE:.0f} s: {self._last_words()}"
        raise Unavailable(msg)

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")

    def kill(self) -> None:
        """SIGKILL to its whole group, and reap it: no time to say goodbye to anyone."""
        process = self._process
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL if it is still there `STOP_PATIENCE` seconds later."""
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            until = colours.loop.now() + STOP_PATIENCE
            while process.poll() is None and colours.loop.now() < until:
                await colours.loop.sleep(_STEP)
            self.kill()
