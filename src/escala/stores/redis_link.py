"""Scripts in Redis or Valkey: from threads and from event loops, each with a hard time limit."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Awaitable, Sequence
from functools import lru_cache
from hashlib import sha1
from typing import Any
from weakref import WeakSet

from escala.errors import DeadlineExceeded, StoreUnavailable
from escala.kernel.context import remaining
from escala.kernel.runtime import LoopRuntime, Runtime
from escala.stores.redis_address import RedisAddress
from escala.stores.redis_pipeline import RedisPipeline
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
        refuse_in_loop(runtime)
        words = (len(keys), *keys, *args)
        reply = await self._ask(self._pack(("EVALSHA", _digest(script), *words)), runtime)
        if isinstance(reply, Exception):
            if str(reply).startswith("NOSCRIPT"):
                reply = await self._ask(self._pack(("EVAL", script, *words)), runtime)
            if isinstance(reply, Exception):
                raise StoreUnavailable(f"{self.where} answered with an error: {_first(reply)}")
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

    async def _ask(self, packed: bytes, runtime: Runtime) -> Any:  # noqa: ANN401
        now, timeout = runtime.now(), self._address.timeout
        left = remaining(now)
        if left <= 0:
            raise DeadlineExceeded("the deadline was over before the store was asked")
        try:
            if not isinstance(runtime, LoopRuntime):
                return self._blocking(packed, runtime, now, min(timeout, left))
            waiter: Awaitable[Any] = self._pipeline().ask(packed)
            return await (waiter if left >= timeout else runtime.timed(waiter, now + left))
        except DeadlineExceeded:
            raise
        except TimeoutError as error:
            if left < timeout:
                raise DeadlineExceeded(
                    "the call's time was up before the store answered"
                ) from error
            raise StoreUnavailable(
                f"{self.where} did not answer within {timeout * 1000:g} ms: see whether it is "
                "overloaded or far away, or give it more in the URL (timeout=200ms)"
            ) from error
        except OSError as error:
            raise StoreUnavailable(
                f"{self.where}: {error.strerror or error}: see whether it is up and reachable"
            ) from error

    def _blocking(self, packed: bytes, runtime: Runtime, now: float, limit: float) -> Any:  # noqa: ANN401
        idle, until = self._idle, now + limit
        reply = None
        try:
            connection = idle.pop()
            if connection.limit != limit:
                connection.wait_at_most(limit)
            reply = connection.ask(packed, until)
        except TimeoutError:
            raise
        except (IndexError, OSError):  # none is idle, or that one ended while no one looked
            connection = RedisSocket(self._address, runtime.now, until)
            if self._address.greetings:
                connection.greet(self._address.greeting, self._address.greetings, until)
            reply = connection.ask(packed, until)
        if len(idle) < _MOST_IDLE and idle is self._idle:
            idle.append(connection)
        else:
            connection.close()
        return reply

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


def _forked() -> None:
    for link in list(_links):
        link.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@lru_cache(maxsize=256)
def _digest(script: str) -> str:
    return sha1(script.encode(), usedforsecurity=False).hexdigest()


def _first(error: Exception) -> str:
    """The first line of what a server said."""
    return (str(error).splitlines() or ["without a word"])[0][:200]
