"""The second level in Redis or Valkey, for processes on many machines."""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from escala.caching import redis_value_scripts as scripts
from escala.caching.listener import Listener
from escala.caching.pure.blob import Mark, unpack
from escala.caching.redis_wire import EVENTS, RedisWire
from escala.caching.value_store import Ear, Found, Put, Signal
from escala.errors import ConfigError, StoreUnavailable
from escala.kernel.runtime import Runtime, ThreadRuntime
from escala.kernel.wrong_value import not_among
from escala.stores.redis_address import RedisAddress
from escala.stores.redis_link import RedisLink
from escala.stores.script_link import Word
from escala.stores.url_parameters import taken_out

T = TypeVar("T")

_BATCH = 1000
_TOKEN = 16
_MOST_TAGS = 100_000
_LONGEST = 3e8  # seconds: for ever


class RedisValues:
    """The `ValueStore` behind "redis://host:6379/0": one script and one round trip for each verb.

    Guaranteed, on Redis 6.2 or newer or Valkey, as long as one server answers: what was deleted
    is not served again, and a load that began before cannot store what it read; of many callers
    one gets the lease, until it stores, releases, or the lease's time is up; a server that
    comes back without its memory, or was flushed, has another epoch, so that nothing from before
    is valid. Time is the server's own. A hit writes nothing. With its memory full the server keeps
    no new values, and still serves and invalidates.

    Not guaranteed: a replica that takes over may have missed the last writes, invalidations
    among them; Redis says so of itself. A server that evicts whatever it likes (`allkeys-*`)
    may evict the clock of invalidations, and then everything counts as gone. No cluster.

    Of 100,000 tags it is known when each was invalidated; one more, and whatever is older than
    that and has a tag counts as gone. Values pass up to 64 MB if the URL's `timeout` (40 ms)
    gives them the time. A thousand keys with two tags each take the server 3 ms.

    `events=tracking` in the URL hears of invalidations by client tracking, `pubsub` by a channel,
    and `auto` (the default) by tracking where the server has it; `transport` says which it is.
    """

    def __init__(self, url: str, name: str, writer: str) -> None:
        rest, said = taken_out(url, ("events",))
        events = said.get("events", "auto")
        if events not in EVENTS:
            raise ConfigError(f"events: {not_among('ways to listen', EVENTS, events)}")
        self._link = RedisLink(rest)
        base = f"escala:{{{name}}}:"
        self._base = base.encode(errors="surrogatepass")
        self._versions, self._keys = self._base + b"v", self._base + b"k:"
        self._writer, self._most_tags = writer, _MOST_TAGS
        address = RedisAddress(rest)
        now = ThreadRuntime().now  # it listens in real time, whatever the callers' time is

        def wire(bound: float) -> RedisWire:
            return RedisWire(address, self._base, writer, now, events=events, bound=bound)

        self._listener = Listener(wire, name)

    @property
    def transport(self) -> str:
        """How invalidations are heard of: "tracking", "pubsub", or "" while they are not."""
        return self._listener.transport

    async def read(
        self, keys: Sequence[str], lease: float, runtime: Runtime, *, early: bool = False
    ) -> list[Found]:
        """See `ValueStore.read`; two round trips if there is a blob that is not whole."""
        found = await self._read(keys, lease, runtime, early=early)
        cut = [nth for nth, each in enumerate(found) if _cut(each)]
        if not cut:
            return found
        # The script has not looked at the payload: what it thought to be fresh, it has not lent.
        unlent = [nth for nth in cut if found[nth].token is None]
        if unlent:
            again = await self._read([keys[nth] for nth in unlent], lease, runtime, early=True)
            for nth, each in zip(unlent, again, strict=True):
                found[nth] = each
        for nth in cut:
            if _cut(found[nth]):
                found[nth] = found[nth]._replace(blob=None, expired=False)
        return found

    async def claim(self, keys: Sequence[str], lease: float, runtime: Runtime) -> list[Found]:
        """See `ValueStore.claim`."""
        token, found = os.urandom(_TOKEN), list[Found]()
        for some in _batches(keys):
            words = (token, _millis(lease), self._writer)
            answer = await self._run(scripts.CLAIM, some, words, runtime)
            mark = _read(_mark, answer)
            found += [Found(None, False, token, 0.0, mark)] * len(some)  # noqa: FBT003
        return found

    async def store(
        self, puts: Sequence[Put], runtime: Runtime, *, tell: bool = False
    ) -> list[bool]:
        """See `ValueStore.store`. False, too, where it has stored but the answer was lost."""
        stored: list[bool] = []
        for some in _batches(puts):
            words: list[Word] = [os.urandom(_TOKEN), self._writer if tell else ""]
            for put in some:
                words += put.token, _millis(put.keep), put.blob
            answer = await self._run(scripts.STORE, [put.key for put in some], words, runtime)
            stored += _read(lambda answer: [bool(int(each)) for each in answer], answer)
        return stored

    async def release(self, keys_and_tokens: Sequence[tuple[str, bytes]], runtime: Runtime) -> None:
        """See `ValueStore.release`."""
        for some in _batches(keys_and_tokens):
            keys, tokens = [key for key, _ in some], [token for _, token in some]
            await self._run(scripts.RELEASE, keys, tokens, runtime)

    async def invalidate(
        self, signals: Sequence[Signal], runtime: Runtime, *, hold: float = 0.0
    ) -> None:
        """See `ValueStore.invalidate`."""
        for some in _batches(sorted(signals, key=lambda signal: signal.kind != "key")):
            words: list[Word] = [os.urandom(_TOKEN), _millis(hold), self._most_tags, self._writer]
            for kind, name, soft in some:
                words += kind, int(soft), name.encode(errors="surrogatepass")
            keys = [signal.name for signal in some if signal.kind == "key"]
            await self._run(scripts.INVALIDATE, keys, words, runtime)

    def listen(self, ear: Ear) -> None:
        """See `ValueStore.listen`: in a thread of its own, which serves both colours."""
        self._listener.listen(ear)

    def close(self) -> None:
        """Stop listening and close the connections."""
        self._listener.close()
        self._link.close()

    async def _read(
        self, keys: Sequence[str], lease: float, runtime: Runtime, *, early: bool
    ) -> list[Found]:
        found: list[Found] = []
        for some in _batches(keys):
            token = os.urandom(_TOKEN)
            words = (token, _millis(lease), int(early))
            answer = await self._run(scripts.READ, some, words, runtime)
            found += _read(_found, answer, token, some)
        return found

    def _run(
        self, script: str, keys: Sequence[str], words: Sequence[Word], runtime: Runtime
    ) -> Awaitable[Any]:
        self._listener.go_on()
        prefix = self._keys
        names = [self._versions, *(prefix + key.encode(errors="surrogatepass") for key in keys)]
        return self._link.run(script, names, words, runtime)


def _batches(items: Sequence[T]) -> list[Sequence[T]]:
    if len(items) <= _BATCH:
        return [items] if items else []
    return [items[begin : begin + _BATCH] for begin in range(0, len(items), _BATCH)]


def _millis(seconds: float) -> int:
    return math.ceil(min(seconds, _LONGEST) * 1000)


def _cut(found: Found) -> bool:
    return found.blob is not None and found.whole is None


def _read(reading: Callable[..., T], answer: Any, *more: Any) -> T:  # noqa: ANN401
    try:
        return reading(answer, *more)
    except (IndexError, TypeError, ValueError) as error:
        raise StoreUnavailable(f"the store gave no answer of ours: {answer!r:.100}") from error


def _mark(answer: list[Any]) -> Mark:
    return Mark(bytes(answer[0]), int(answer[1]), int(answer[2]) + int(answer[3]) / 1_000_000)


def _found(answer: list[Any], token: bytes, keys: Sequence[str]) -> list[Found]:
    mark, found, at = _mark(answer), [], 4
    for key in keys:
        blob, expired, lent, wait = answer[at : at + 4]
        whole = None if blob is None else unpack(key, blob)
        lease = token if lent else None
        found.append(Found(blob, bool(expired), lease, wait / 1000, mark, whole))
        at += 4
    return found
