"""Loads and changes of several workers in every order: after a change nothing old is given."""

from __future__ import annotations

import asyncio
import random
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.http.cache_world import World
from tests.http.shared_world import Between, worlds

from escala.http.message import HttpRequest, Response
from escala.kernel.context import current_request

SPAN = 3.0


class Seen(NamedTuple):
    """Which version a client got of which page, and what had been made before it asked."""

    target: str
    version: int
    made: int


class Play:
    """Clients of three workers, each of which does something at a moment of its own."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        stale = self.draw.choice([0, 0, 100])
        self.worlds = worlds(3, seed, stale_while_revalidate=stale, stale_if_error=stale)
        for nth, world in enumerate(self.worlds):
            Between(world, slow=self.draw.choice([0.0, 0.01, 0.3]), seed=seed + nth)
        self.versions = {"/a": 1, "/b": 1}
        self.made = dict(self.versions)  # those whose change has been answered
        self.seen: list[Seen] = []
        self.headers = [(b"cache-control", b"max-age=%d" % self.draw.choice([0, 1, 1000]))]
        if self.draw.random() < 0.5:
            self.headers.append((b"vary", b"accept-language"))
        self.tagged = self.draw.random() < 0.5

    async def origin(self) -> Response:
        request = current_request()
        assert isinstance(request, HttpRequest)
        target, runtime = request.target.decode(), self.worlds[0].runtime
        await runtime.sleep(self.draw.uniform(0, 0.3))
        if request.method == "PUT":
            self.versions[target] += 1
        version = self.versions[target]
        await runtime.sleep(self.draw.uniform(0, 0.3))
        tag = b'"%d"' % version
        headers = [*self.headers, *([(b"etag", tag)] if self.tagged else [])]
        if self.tagged and request.header(b"if-none-match") == tag:
            return Response(304, headers)
        return Response(200, headers, b"%d" % version)

    async def client(self) -> None:
        world, target = self.draw.choice(self.worlds), self.draw.choice(list(self.versions))
        language = (b"accept-language", self.draw.choice([b"de", b"en"]))
        how, patience = self.draw.random(), self.draw.choice([0.1, 100.0, 100.0, 100.0])
        await world.sleep(self.draw.uniform(0, SPAN))
        if how < 0.15:
            reply = await world.get(target, method="PUT")
            self.done(target, int(reply.body))
        elif how < 0.2:
            self.versions[target] += 1
            version = self.versions[target]
            await world.cache.aforget(f"http://shop{target}")
            self.done(target, version)
        elif how < 0.22:
            self.versions[target] += 1
            version = self.versions[target]
            await world.cache.aclear()
            self.done(target, version)
        else:
            await self.read(world, target, language, patience)

    async def read(
        self, world: World, target: str, language: tuple[bytes, bytes], patience: float
    ) -> None:
        made = self.made[target]
        try:
            async with asyncio.timeout(patience):
                reply = await world.get(target, language)
        except TimeoutError:
            return
        self.seen.append(Seen(target, int(reply.body), made))

    def done(self, target: str, version: int) -> None:
        self.made[target] = max(self.made[target], version)

    async def all(self) -> None:
        await asyncio.gather(*(self.client() for _ in range(40)))
        await self.worlds[0].sleep(20)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**9))
def test_after_a_change_was_answered_no_worker_gives_what_was_before(seed: int) -> None:
    play = Play(seed)
    for world in play.worlds:
        world.origin = play.origin  # type: ignore[assignment]
    play.worlds[0].run(play.all())
    stale = [seen for seen in play.seen if seen.version < seen.made]
    assert not stale
    assert len(play.seen) > 10
    for world in play.worlds:
        assert world.counts("loading", "l2_repairs", "l2_undecodable") == [0, 0, 0]
