"""What a cache does for a caller, in either colour: find, load, count, and tell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

from escala.caching.answer import Answer
from escala.caching.events import CacheMissed, CacheServed
from escala.caching.landing import NOTHING, Landing
from escala.caching.levels import Levels
from escala.caching.named import LONGEST_KEY
from escala.caching.pure.entry import ABSENT, Entry, Terms
from escala.caching.reader import Reader
from escala.caching.rules import Load, Rules, one
from escala.caching.write import Pending
from escala.errors import Unavailable, Undecodable
from escala.kernel import events
from escala.kernel.events import publish
from escala.kernel.runtime import Runtime

Overlay: TypeAlias = Callable[[str, Runtime], Awaitable[Any]]
_NO_TERMS = Terms(fresh=0.0)


class Desk:
    """Where `Cache`, its memos and its batches come to. Keys are `checked`."""

    def __init__(self, levels: Levels) -> None:
        self._name, self._reader = levels.name, Reader(levels)
        self.tally, self.hit, self._levels = levels.tally, levels.first.hit, levels
        self.overlays: tuple[Overlay, ...] = ()  # writes that the source may not have yet

    def load(self, key: str, load: Callable[[], Any] | None, runtime: Runtime) -> Load | None:
        """What to ask for a key: its own load, or the third level; None if there is neither."""
        origin = self._levels.origin
        if load is not None or origin is None:
            return one(load, runtime)
        if len(key) > LONGEST_KEY:
            raise ValueError(
                f"{self._name}: expected a key of at most {LONGEST_KEY} characters, for the third "
                f"level is asked for it; found {len(key):,}"
            )

        async def fetch(_: object) -> list[Any]:
            found = await origin.fetch(key, runtime)
            return [ABSENT if found is None else found]

        return fetch

    async def value(
        self,
        key: str,
        load: Load | None,
        rules: Rules,
        runtime: Runtime,
        default: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """The value of a key; `default` if there is none."""
        entry = (await self._landing(key, load, rules, runtime)).entry
        return default if entry is None or entry.value is ABSENT else entry.value

    async def values(
        self, parts: Mapping[str, Any], load: Load, rules: Rules, runtime: Runtime
    ) -> dict[str, Any]:
        """The values of several keys, `ABSENT` where there is none; or the first one's error."""
        landings: dict[str, Landing] = {}
        if self.overlays:
            for key in parts:
                landing = await self._pending(key, runtime)
                if landing is not None:
                    landings[key] = landing
            parts = {key: part for key, part in parts.items() if key not in landings}
        if parts:
            landings |= await self._reader.serve(parts, load, rules, runtime)
        now = runtime.now()
        for key, landing in landings.items():
            self._tell(key, landing, now)
        for landing in landings.values():
            landing.check()
        return {
            key: ABSENT if landing.entry is None else landing.entry.value
            for key, landing in landings.items()
        }

    async def renewed(self, key: str, load: Load, rules: Rules, runtime: Runtime) -> Any:  # noqa: ANN401
        """The value of a key, loaded now."""
        landing = await self._pending(key, runtime) if self.overlays else None
        if landing is None:
            landing = await self._reader.renew(key, None, load, rules, runtime)
        if landing.cause is not None:  # an old value is no answer to who asks for a new one
            landing = Landing.failed(landing.cause)
        self._tell(key, landing, runtime.now())
        landing.check()
        entry = landing.entry
        return None if entry is None or entry.value is ABSENT else entry.value

    async def answer(self, key: str, load: Load | None, rules: Rules, runtime: Runtime) -> Answer:
        """The value of a key, with what is known of it."""
        landing = await self._landing(key, load, rules, runtime)
        entry = landing.entry
        if entry is None or entry.value is ABSENT:
            return Answer(value=None, source="none")
        age = max(0.0, runtime.now() - entry.born)
        return Answer(value=entry.value, source=landing.source, age=age, why=landing.why)

    async def _landing(
        self, key: str, load: Load | None, rules: Rules, runtime: Runtime
    ) -> Landing:
        landing = await self._pending(key, runtime) if self.overlays else None
        if landing is not None:
            pass
        elif load is None:
            landing = await self._reader.look(key, rules, runtime)
        else:
            landing = (await self._reader.serve({key: None}, load, rules, runtime))[key]
        self._tell(key, landing, runtime.now())
        landing.check()
        return landing

    async def _pending(self, key: str, runtime: Runtime) -> Landing | None:
        """What was written and is on its way to the source."""
        ahead = self._levels.first.ahead.get(key)
        for look in self.overlays:
            with suppress(Unavailable, Undecodable):  # it cannot be read: ask the source
                value = await look(key, runtime)
                if value is Pending.DELETED:
                    return NOTHING
                if value is not Pending.NOTHING:
                    now = runtime.now()
                    entry = self._levels.entry(key, value, _NO_TERMS, (), now)
                    return Landing(entry, source="pending")
                if ahead is not None:  # it was lost, or another has the journal now
                    self._levels.first.caught_up(key, ahead)
        return None

    def _tell(self, key: str, landing: Landing, now: float) -> None:
        """Count what a caller got, and tell who listens."""
        tally, entry = self.tally, landing.entry
        if entry is None:
            tally.misses += 1
            if events.listeners and landing.error is None:
                publish(CacheMissed(name=self._name, at=now, key=key))
            return
        if landing.source == "l1":
            tally.hits += 1
        elif landing.source == "stale":
            tally.stale += 1
            tally.oldest_stale = max(tally.oldest_stale, now - entry.fresh_until)
        else:
            tally.misses += 1
        if events.listeners:
            publish(
                CacheServed(
                    name=self._name,
                    at=now,
                    key=key,
                    source=landing.source,
                    age=max(0.0, now - entry.born),
                    why=landing.why,
                )
            )

    def told(self, key: str, entry: Entry, now: float) -> None:
        """Tell who listens of a hit; called when someone does."""
        publish(CacheServed(name=self._name, at=now, key=key, source="l1", age=now - entry.born))
