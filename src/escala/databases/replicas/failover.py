"""A new primary when the old one is lost, and no commit lost that was acknowledged."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import NamedTuple

from escala.databases.pure.durability import Durability, SyncSettings, judge
from escala.databases.pure.election import Candidate, elect
from escala.databases.pure.synchronous_names import read_names
from escala.databases.replicas.failover_node import FailoverNode, Look
from escala.errors import ConfigError, NoPrimary, StoreUnavailable
from escala.kernel.runtime import Runtime

_PAUSE = 0.01
_STILL = 0.05
_PATIENCE = 30.0
_UNKNOWN = Durability(0, (), 0, ("the synchronous settings of the primary were never seen",))


class Promoted(NamedTuple):
    """The primary after a failover; `changed` is False where one was there already.

    `kept` says whether it surely has every acknowledged commit. `astray` are the nodes that do
    not follow it: those that could not be reached, and an old primary, which has to be made anew.
    """

    node: str
    timeline: int
    changed: bool
    kept: bool
    astray: tuple[str, ...]


class Failover:
    """One failover over these nodes, done by `run`.

    `known` are the synchronous settings that the primary had when it was seen last: without them
    no one knows what it promised. `timeline` is the highest that was ever seen.
    """

    def __init__(
        self, nodes: Sequence[FailoverNode], *, known: SyncSettings | None, timeline: int
    ) -> None:
        self._nodes = list(nodes)
        self._known, self._timeline = known, timeline
        self._undo: list[Callable[[], Awaitable[None]]] = []

    async def run(self, runtime: Runtime, *, to: str | None, allow_loss: bool) -> Promoted:
        """Promote the standby that has the most, or `to` where the primary can hand over to it.

        Raises `NoPrimary` with the reason where none may be promoted; then all is as it was.
        """
        names = [node.name for node in self._nodes]
        if to is not None and to not in names:
            raise ConfigError(f"failover: to: expected one of {', '.join(names)}; found {to!r}")
        try:
            seen = await self._look(range(len(self._nodes)), runtime)
            primary = self._primary(seen)
            if primary is not None and to in {None, names[primary]}:
                return await self._stays(primary, seen, runtime, told=to is not None)
            standbys = {node: look for node, look in seen.items() if look.in_recovery}
            await self._take_turns(standbys, runtime)
            if primary is not None:
                winner = await self._handed_over(primary, standbys, names.index(to or ""), runtime)
                kept = True
            else:
                winner, kept = await self._elected(standbys, to, runtime, allow_loss=allow_loss)
            return await self._promote(winner, standbys, runtime, kept=kept)
        except StoreUnavailable as error:
            await self._back()
            raise NoPrimary(f"failover: {error}") from error
        except BaseException:
            await self._back()
            raise
        finally:
            for node in self._nodes:
                node.close()

    async def _look(self, nodes: Sequence[int], runtime: Runtime) -> dict[int, Look]:
        """Those that answer, without those of another cluster."""
        seen: dict[int, Look] = {}
        why: list[str] = []
        for node in nodes:
            try:
                seen[node] = await self._nodes[node].look(runtime)
            except StoreUnavailable as error:
                why.append(str(error))
        if not seen:
            raise NoPrimary(f"failover: no node of the database can be asked ({'; '.join(why)})")
        ours = Counter(look.system_id for look in seen.values()).most_common(1)[0][0]
        return {node: look for node, look in seen.items() if look.system_id == ours}

    def _primary(self, seen: dict[int, Look]) -> int | None:
        """The node that writes the newest timeline; an old one that is back is none."""
        newest = max(self._timeline, *(look.timeline for look in seen.values()))
        found = [
            node for node, look in seen.items() if not look.in_recovery and look.timeline == newest
        ]
        if len(found) > 1:
            both = " and ".join(self._nodes[node].name for node in found)
            raise NoPrimary(f"failover: {both} both write timeline {newest}: stop one of them")
        return found[0] if found else None

    async def _stays(
        self, primary: int, seen: dict[int, Look], runtime: Runtime, *, told: bool
    ) -> Promoted:
        """Nothing to do but to put back what a failover left that was killed."""
        standbys = {node: look for node, look in seen.items() if look.in_recovery}
        left = {node: look for node, look in standbys.items() if look.is_cut}
        writes = not (told and seen[primary].read_only)
        if left or not writes:
            await self._take_turns(standbys, runtime)
        if not writes:
            await self._nodes[primary].unfence(runtime)
        for node, look in left.items():
            await self._nodes[node].restore(look, runtime)
        return self._done(primary, seen[primary], standbys.keys(), changed=False, kept=True)

    async def _take_turns(self, standbys: dict[int, Look], runtime: Runtime) -> None:
        for node in standbys:
            if not await self._nodes[node].take_turn(runtime):
                raise NoPrimary(f"failover: another one is under way on {self._nodes[node].name}")
        now = await self._look(tuple(standbys), runtime) if standbys else standbys
        if now.keys() != standbys.keys() or not all(look.in_recovery for look in now.values()):
            raise NoPrimary("failover: another one came before, or a standby was lost; try again")

    async def _handed_over(
        self, primary: int, standbys: dict[int, Look], winner: int, runtime: Runtime
    ) -> int:
        """The primary ends its work, and the winner gets all of it: whatever the settings say."""
        old, new = self._nodes[primary], self._nodes[winner]
        if winner not in standbys:
            raise NoPrimary(f"failover: {new.name} cannot be reached, or is no standby")
        self._undo.append(partial(old.unfence, runtime))
        await old.fence(runtime)
        await self._until(partial(old.emptied, runtime), runtime, f"{old.name} has no client left")
        last = (await old.look(runtime)).position

        async def has_all() -> bool:
            return (await new.look(runtime)).position >= last

        await self._until(has_all, runtime, f"{new.name} has all that {old.name} has")
        await self._cut(standbys, runtime)
        return winner

    async def _elected(
        self, standbys: dict[int, Look], to: str | None, runtime: Runtime, *, allow_loss: bool
    ) -> tuple[int, bool]:
        """The most advanced standby, and whether it surely has all that was acknowledged."""
        promise = self._promise(standbys)
        if not promise.keeps and not allow_loss:
            raise NoPrimary(
                f"failover: acknowledged commits may be lost ({promise}). To promote the most "
                "advanced standby all the same, say allow_loss=True"
            )
        await self._cut(standbys, runtime)
        candidates = [
            Candidate(node, look.name, look.timeline, look.position)
            for node, look in standbys.items()
        ]
        sure = elect(candidates, among=promise.among, needed=promise.needed)
        kept = promise.keeps and sure.winner is not None
        found = elect(candidates) if allow_loss else sure
        if found.winner is None:
            raise NoPrimary(f"failover: {found.reason}")
        most = found.winner
        wanted = [each for each in candidates if self._nodes[each.node].name == to]
        if to is None:
            return most.node, kept
        if not wanted or wanted[0][2:] != most[2:]:
            raise NoPrimary(f"failover: {self._nodes[most.node].name} has more than {to}")
        return wanted[0].node, kept

    def _promise(self, standbys: dict[int, Look]) -> Durability:
        if self._known is None:
            return _UNKNOWN
        names = [look.name for look in standbys.values()]
        with contextlib.suppress(ConfigError):  # which `judge` tells
            listed = read_names(self._known.names)
            here = {name.lower() for name in names}
            names += [name for name in (listed.names if listed else ()) if name not in here]
        return judge(self._known, names)

    async def _cut(self, standbys: dict[int, Look], runtime: Runtime) -> None:
        """Let the standbys receive nothing any more, and look at what they have then.

        From then on a primary that is alive where we cannot see it has no one to acknowledge
        commits with.
        """
        for node, look in standbys.items():
            self._undo.append(partial(self._nodes[node].restore, look, runtime))
            await self._nodes[node].cut(look, runtime)
        for node in list(standbys):
            standbys[node] = await self._settled(node, runtime)

    async def _settled(self, node: int, runtime: Runtime) -> Look:
        """What a standby has when it receives nothing and has replayed what it had on disk."""
        looks = [await self._nodes[node].look(runtime)]

        async def still() -> bool:
            await runtime.sleep(_STILL)
            looks.append(await self._nodes[node].look(runtime))
            return looks[-2] == looks[-1] and not looks[-1].receiving

        await self._until(still, runtime, f"{self._nodes[node].name} stops receiving")
        return looks[-1]

    async def _promote(
        self, winner: int, standbys: dict[int, Look], runtime: Runtime, *, kept: bool
    ) -> Promoted:
        node = self._nodes[winner]
        self._undo.clear()  # what was begun here no one can take back
        await node.promote(runtime)

        async def writes() -> bool:
            return not (await node.look(runtime)).in_recovery

        await self._until(writes, runtime, f"{node.name} is promoted")
        look = await node.look(runtime)
        with contextlib.suppress(StoreUnavailable):
            await node.restore(standbys[winner], runtime)
        if look.read_only:  # left from a time when it was the old primary
            await node.unfence(runtime)
        follow = set()
        for other in standbys.keys() - {winner}:
            with contextlib.suppress(StoreUnavailable):
                await self._nodes[other].follow(standbys[other], node, runtime)
                follow.add(other)
        return self._done(winner, look, follow, changed=True, kept=kept)

    def _done(
        self, primary: int, look: Look, follow: Collection[int], *, changed: bool, kept: bool
    ) -> Promoted:
        astray = tuple(
            node.name
            for index, node in enumerate(self._nodes)
            if index != primary and index not in follow
        )
        return Promoted(self._nodes[primary].name, look.timeline, changed, kept, astray)

    async def _back(self) -> None:
        while self._undo:
            with contextlib.suppress(StoreUnavailable):
                await self._undo.pop()()

    async def _until(self, so: Callable[[], Awaitable[bool]], runtime: Runtime, what: str) -> None:
        deadline = runtime.now() + _PATIENCE
        while not await so():
            if runtime.now() > deadline:
                raise NoPrimary(f"failover: waited {_PATIENCE:g} s in vain until {what}")
            await runtime.sleep(_PAUSE)
