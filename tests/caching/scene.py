"""A database, caches in front of it, and a script of readers, writers and failures, step by step.

It keeps one promise under watch: a read that began after an invalidation had returned never gets
what the database held before. Whatever else happens is free: errors, stale values from before,
loads that are given up.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.caching.stepped_threads import SteppedThreads

from escala.caching import Cache
from escala.caching.value_store import Found, Put, Signal
from escala.errors import DeadlineExceeded, StoreUnavailable
from escala.kernel.runtime import Runtime, drive

KEYS = (1, 2)
NAPS = (0.0, 0.0, 0.0, 0.01, 0.02, 0.05, 0.3)
_numbers = itertools.count()


@dataclass(frozen=True)
class Plan:
    """What a scene is made of."""

    kind: str  # how writers invalidate: key, tag, namespace or clear
    nodes: int = 1
    second: bool = False
    breaks: bool = False  # the second level fails now and then
    fails: bool = False  # so does the database
    times: dict[str, Any] = field(default_factory=dict)


class Rough:
    """A store that takes time, and that fails: before it has done what it was asked, or after."""

    def __init__(self, inner: Any, scene: Scene) -> None:
        self.inner, self._scene = inner, scene
        self.listen, self.close = inner.listen, inner.close

    async def _rough(self, call: Callable[[], Awaitable[Any]], runtime: Runtime) -> Any:
        scene = self._scene
        await runtime.sleep(scene.nap())
        broken = scene.broken()
        if broken and scene.chance(0.5):
            raise StoreUnavailable("the question was lost")
        answer = await call()
        await runtime.sleep(scene.nap())
        if broken:
            raise StoreUnavailable("the answer was lost")
        return answer

    async def read(
        self, keys: Sequence[str], lease: float, runtime: Runtime, *, early: bool = False
    ) -> list[Found]:
        return await self._rough(
            lambda: self.inner.read(keys, lease, runtime, early=early), runtime
        )

    async def claim(self, keys: Sequence[str], lease: float, runtime: Runtime) -> list[Found]:
        return await self._rough(lambda: self.inner.claim(keys, lease, runtime), runtime)

    async def store(self, puts: Sequence[Put], runtime: Runtime, **how: Any) -> list[bool]:
        return await self._rough(lambda: self.inner.store(puts, runtime, **how), runtime)

    async def release(self, leases: Sequence[tuple[str, bytes]], runtime: Runtime) -> None:
        await self._rough(lambda: self.inner.release(leases, runtime), runtime)

    async def invalidate(
        self, signals: Sequence[Signal], runtime: Runtime, *, hold: float = 0.0
    ) -> None:
        await self._rough(lambda: self.inner.invalidate(signals, runtime, hold=hold), runtime)


LOADS = (
    "find",
    "board",
    "take_off",
    "overtake",
    "join",
    "part",
    "stay",
    "leave",
    "give_up",
    "fits",
)
LANDS = ("land", "forget", "offer", "rescue", "look_up", "found")
ENTRANCES = (*LOADS, *LANDS, "drop", "invalidate", "invalidate_all")


def stepped(owner: Any, names: Sequence[str], stage: SteppedThreads) -> None:
    """Let another thread go first wherever one comes to a lock."""

    def entered(name: str) -> Any:
        enter = getattr(owner, name)

        def method(*args: Any, **kwargs: Any) -> Any:
            if not owner.lock._is_owned():
                stage.step()
            return enter(*args, **kwargs)

        return method

    for name in names:
        setattr(owner, name, entered(name))


class Node:
    """One cache with its memo and its batch, and the versions below which it may give nothing."""

    def __init__(self, cache: Cache, scene: Scene) -> None:
        self.cache = cache
        self.floor = dict.fromkeys(KEYS, 0)
        load, load_many = scene.load, scene.load_many
        self.one: Any
        self.many: Any
        self.through = {key: cache.write_through(scene.save(), tags=[f"t{key}"]) for key in KEYS}
        if scene.asynchronous:

            @cache.memo("user:{id}", tags=["t{id}"])
            async def aone(id: int) -> int:  # noqa: A002  as a user would call it
                return await load(id)

            @cache.batch("user:{id}", tags=["t1", "t2"])
            async def amany(ids: list[int]) -> dict[int, int]:
                return await load_many(ids)

            self.one, self.many = aone, amany
        else:

            @cache.memo("user:{id}", tags=["t{id}"])
            def one(id: int) -> int:  # noqa: A002
                return drive(load(id))

            @cache.batch("user:{id}", tags=["t1", "t2"])
            def many(ids: list[int]) -> dict[int, int]:
                return drive(load_many(ids))

            self.one, self.many = one, many


class Scene:
    """One run. `runtime` is that of the colour that is tested; every nap and chance is `rng`'s."""

    def __init__(self, plan: Plan, runtime: Runtime, rng: random.Random, *, sync: bool) -> None:
        self.plan, self.runtime, self.rng = plan, runtime, rng
        self.asynchronous = not sync
        self.database = dict.fromkeys(KEYS, 0)
        self.log: list[str] = []
        self.stale: list[str] = []
        self.calm = False  # at the end: nothing fails any more, and nothing takes long
        place = f"memory://scene{next(_numbers)}" if plan.second else None
        self.nodes = []
        for _ in range(plan.nodes):
            cache = Cache("scene", l2=place, rng=rng, **({"ttl": "500ms±0%"} | plan.times))
            second = cache._levels.second
            if second is not None:
                second.store = Rough(second.store, self)
            if isinstance(runtime, SteppedThreads):
                stepped(cache._levels.first, ENTRANCES, runtime)
                if second is not None:
                    stepped(second, ("owe", "repair"), runtime)
            self.nodes.append(Node(cache, self))

    # Chance

    def nap(self) -> float:
        return 0.0 if self.calm else self.rng.choice(NAPS)

    def chance(self, share: float) -> bool:
        return not self.calm and self.rng.random() < share

    def broken(self) -> bool:
        return self.plan.breaks and self.chance(0.15)

    # The database

    async def load(self, key: int) -> int:
        await self.runtime.sleep(self.nap())
        if self.plan.fails and self.chance(0.2):
            raise ConnectionError("the database is down")
        version = self.database[key]
        self.log.append(f"{self.runtime.now():.3f} read {key}={version} of the database")
        await self.runtime.sleep(self.nap())
        if self.plan.fails and self.chance(0.1):
            raise ConnectionError("the database went down")
        return version

    async def load_many(self, keys: list[int]) -> dict[int, int]:
        return {key: await self.load(key) for key in keys}

    def save(self) -> Callable[[str, int], Any]:
        async def asave(name: str, version: int) -> None:
            await self.runtime.sleep(self.nap())
            self.database[int(name[-1])] = version
            await self.runtime.sleep(self.nap())

        if self.asynchronous:
            return asave
        return lambda name, version: drive(asave(name, version))

    # Readers

    async def _call(self, cache: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        if self.asynchronous:
            return await getattr(cache, "a" + name)(*args, **kwargs)
        return getattr(cache, name)(*args, **kwargs)

    def _loader(self, key: int) -> Callable[[], Any]:
        if self.asynchronous:
            return lambda: self.load(key)
        return lambda: drive(self.load(key))

    async def read(self, how: str, key: int, at: int) -> None:
        node = self.nodes[at]
        floor = dict(node.floor)
        self.log.append(f"{self.runtime.now():.3f} {how} {key} at {at} begins, floor {floor[key]}")
        try:
            found = await self._found(how, key, node)
        except (ConnectionError, DeadlineExceeded) as error:
            late = isinstance(error, DeadlineExceeded)
            if late and "hard_timeout" not in self.plan.times:
                raise
            if not late and not self.plan.fails:
                raise
            return
        for each, version in found.items():
            self.log.append(
                f"{self.runtime.now():.3f} {how} {each} at {at} got {version} "
                f"(not below {floor[each]})"
            )
            if version is not None and version < floor[each]:
                self.stale.append(self.log[-1])

    async def _found(self, how: str, key: int, node: Node) -> dict[int, int | None]:
        cache, name, tags = node.cache, f"user:{key}", [f"t{key}"]
        match how:
            case "get":
                return {key: await self._call(cache, how, name, self._loader(key), tags=tags)}
            case "entry":
                answer = await self._call(cache, how, name, self._loader(key), tags=tags)
                return {key: answer.value}
            case "look":
                return {key: await self._call(cache, "get", name)}
            case "refresh":
                return {key: await self._call(node.one, how, key)}
            case "memo":
                value = node.one(key)
                return {key: await value if self.asynchronous else value}
        keys = [key, *(other for other in KEYS if other != key)]
        values = node.many(keys)
        found: dict[int, int | None] = await values if self.asynchronous else values
        return found

    # Writers

    async def write(self, how: str, key: int, at: int) -> None:
        """Change the database, and then the cache; or only the cache."""
        node, soft = self.nodes[at], how == "expire"
        if how == "through":
            version = {key: self.database[key] + 1}
            self.log.append(f"{self.runtime.now():.3f} {how} {version} at {at} begins")
            await self._call(node.through[key], "set", f"user:{key}", version[key])
            self._promised(self.nodes if not self.plan.breaks else [node], version)
            return
        if how != "delete":
            self.database[key] += 1
            await self.runtime.sleep(self.nap())
        version = dict(self.database)
        self.log.append(f"{self.runtime.now():.3f} {how} {key}={version[key]} at {at} begins")
        if how == "set":
            await self._call(node.cache, "set", f"user:{key}", version[key], tags=[f"t{key}"])
            everywhere, hit = not self.plan.breaks, [key]
        else:
            everywhere, hit = await self._invalidated(node, key, soft=soft)
        if soft and (self.plan.times.keys() & {"stale_while_revalidate", "stale_if_error"}):
            return
        self._promised(self.nodes if everywhere else [node], {each: version[each] for each in hit})

    def _promised(self, nodes: Sequence[Node], versions: dict[int, int]) -> None:
        self.log.append(f"{self.runtime.now():.3f} {versions} has returned")
        for node in nodes:
            for key, version in versions.items():
                node.floor[key] = max(node.floor[key], version)

    async def _invalidated(self, node: Node, key: int, *, soft: bool) -> tuple[bool, list[int]]:
        verb = "expire" if soft else "delete"
        match self.plan.kind:
            case "key":
                return await self._call(node.cache, verb, f"user:{key}"), [key]
            case "tag":
                return await self._call(node.cache, verb, tag=f"t{key}"), [key]
            case "namespace":
                return await self._call(node.cache, verb, namespace="user"), list(KEYS)
        return await self._call(node.cache, "clear", soft=soft), list(KEYS)

    # The end

    async def settle(self) -> None:
        """When all is over: nothing is left behind, and what is given is what there is."""
        self.calm = True
        await self.runtime.sleep(40)
        self._nothing_is_left()
        for at in range(len(self.nodes)):
            for key in KEYS:
                await self.read("memo", key, at)
        await self.runtime.sleep(1)
        self._nothing_is_left()
        for node in self.nodes:
            assert node.cache.snapshot().get("l2_repairs", 0) == 0, "an invalidation is owed"

    def _nothing_is_left(self) -> None:
        for node in self.nodes:
            first, second = node.cache._levels.first, node.cache._levels.second
            assert not first._flights, "a flight is left behind"
            assert not first._lookups, "a lookup is left behind"
            if second is not None and not self.plan.breaks:
                slots = second.store.inner._table.slots  # type: ignore[attr-defined]
                left = [key for key, slot in slots.items() if slot.token is not None]
                assert not left, "a lease is left behind"


Step = tuple[str, int, int, float]  # what, which key, at which node, after how long


async def swallowed(call: Awaitable[None]) -> None:
    """A step whose caller was cancelled, or had no more time."""
    with suppress(asyncio.CancelledError, DeadlineExceeded):
        await call
