"""Scripts in Redis or Valkey: from threads and from event loops, each with a hard time limit."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Awaitable, Sequence
from typing import Any
from weakref import WeakSet

from escala.errors import DeadlineExceeded, StoreUnavailable
from escala.kernel.context import remaining
from escala.kernel.runtime import LoopRuntime, Runtime
from escala.stores.redis_address import RedisAddress
from escala.stores.redis_frame import framed
from escala.stores.redis_pipeline import RedisPipeline
from escala.stores.redis_refusal import RedisRefusal, advice, remedy
from escala.stores.redis_socket import RedisSocket
from escala.stores.script_link import Word
from escala.stores.socket_wait import refuse_in_loop

_MOST_IDLE = 16


class RedisLink:
    """A `ScriptLink` to one Redis or Valkey; to a cluster only through a proxy.

    Threads take turns on blocking connections, as many as are in use at once. Each event loop
    has one connection, on which everything asked in one tick goes out in one write. No question
    takes longer than the URL's `timeout` (40 ms unless it says otherwise), connecting included;
    only a host's name is looked up by the system, for threads without a limit.

    redis-py reads the URL, and sets up TLS. Its command path would be most of what a question
    costs, so packed commands go to the socket and hiredis reads the replies.
    """

    def __init__(self, url: str) -> None:
        self._address = RedisAddress(url)
        self.where, self._pack = self._address.where, self._address.pack
        self._timeout = self._address.timeout
        self._begin()
        _links.add(self)

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._idle = deque[RedisSocket]()
        self._loops: dict[asyncio.AbstractEventLoop, RedisPipeline] = {}

    async def run(
        self, script: str, keys: Sequence[Word], args: Sequence[Word], runtime: Runtime
    ) -> Any:  # noqa: ANN401  whatever the script answers
        """See `ScriptLink`: one round trip, and one more where the script is not known yet."""
        piped = isinstance(runtime, LoopRuntime)
        packed = framed(script, keys, args)
        reply = await self._piped(packed, runtime) if piped else self._blocking(packed, runtime)
        if isinstance(reply, Exception):
            if str(reply).startswith("NOSCRIPT"):
                packed = self._pack(("EVAL", script, len(keys), *keys, *args))
                reply = (
                    await self._piped(packed, runtime) if piped else self._blocking(packed, runtime)
                )
            if isinstance(reply, Exception):
                raise StoreUnavailable(self._told("answered with an error", reply))
        return reply

    def close(self) -> None:
        """Close what no one uses, and what is in use when it comes back; see `ScriptLink`."""
        with self._lock:
            idle, self._idle = self._idle, deque()
            loops, self._loops = self._loops, {}
        while idle:
            idle.pop().close()
        here = asyncio._get_running_loop()  # noqa: SLF001  the public twin raises
        for loop, pipeline in loops.items():
            if loop is here:
                pipeline.close()
            elif not loop.is_closed():
                loop.call_soon_threadsafe(pipeline.close)

    async def _piped(self, packed: bytes, runtime: Runtime) -> Any:  # noqa: ANN401
        now = runtime.now()
        left = remaining(now)
        hurried = left < self._timeout and _in_time(left)
        try:
            waiter: Awaitable[Any] = self._pipeline().ask(packed)
            return await (runtime.timed(waiter, now + left) if hurried else waiter)
        except DeadlineExceeded:
            raise
        except OSError as error:
            raise self._failed(error, left) from error

    def _blocking(self, packed: bytes, runtime: Runtime) -> Any:  # noqa: ANN401
        if asyncio._get_running_loop() is not None:  # noqa: SLF001  the public twin raises
            refuse_in_loop(runtime)
        now, limit = runtime.now(), self._timeout
        left = remaining(now)
        if left < limit and _in_time(left):
            limit = left
        idle = self._idle
        try:
            try:
                connection = idle.pop()
                if connection.limit != limit:
                    connection.wait_at_most(limit)
                reply = connection.ask(packed, now + limit)
            except TimeoutError:
                raise
            except (IndexError, OSError):  # none is idle, or that one ended while no one looked
                connection = self._connected(runtime, now + limit)
                reply = connection.ask(packed, now + limit)
        except OSError as error:
            raise self._failed(error, left) from error
        if idle is self._idle and len(idle) < _MOST_IDLE:
            idle.append(connection)
        else:
            connection.close()
        return reply

    def _connected(self, runtime: Runtime, until: float) -> RedisSocket:
        connection = RedisSocket(self._address, runtime.now, until)
        if self._address.greetings:
            connection.greet(self._address.greeting, self._address.greetings, until)
        return connection

    def _failed(self, error: OSError, left: float) -> DeadlineExceeded | StoreUnavailable:
        """What a question came to that got no answer, and had `left` seconds for it."""
        if isinstance(error, TimeoutError):
            if left < self._timeout:
                return DeadlineExceeded("the call's time was up before the store answered")
            return StoreUnavailable(
                f"{self.where} did not answer within {self._timeout * 1000:g} ms: see whether it "
                "is overloaded or far away, or give it more in the URL (timeout=200ms)"
            )
        if isinstance(error, RedisRefusal):
            return StoreUnavailable(self._told("refused the connection", error))
        said = error.strerror or error
        return StoreUnavailable(f"{self.where}: {said}: {remedy(error)}")

    def _told(self, did: str, error: Exception) -> str:
        said = self._address.said(error)
        return f"{self.where} {did}: {said}{advice(said)}"

    def _pipeline(self) -> RedisPipeline:
        loop = asyncio.get_running_loop()
        found = self._loops.get(loop)
        if found is not None and not found.over:
            return found
        pipeline = RedisPipeline(self._address)
        with self._lock:
            alive = {each: kept for each, kept in self._loops.items() if not each.is_closed()}
            self._loops = {**alive, loop: pipeline}
        return pipeline

    def forked(self) -> None:
        """A forked child leaves its parent's connections alone and begins anew."""
        idle, loops = self._idle, self._loops
        self._begin()
        _parents.append(loops)
        for connection in idle:
            connection.close()


_links: WeakSet[RedisLink] = WeakSet()
_parents: list[object] = []  # not for a child to close, nor to lose


def _in_time(left: float) -> bool:
    if left <= 0:
        raise DeadlineExceeded("the deadline was over before the store was asked")
    return True


def _forked() -> None:
    for link in list(_links):
        link.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
