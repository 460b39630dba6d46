"""One pair of shards between which slots move: what each step does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from escala.databases.pure.reshard_steps import Action, State
from escala.databases.resharding import maps
from escala.databases.resharding.barrier import make_barriers
from escala.databases.resharding.clean_up import delete_rows
from escala.databases.resharding.cutting import Stale, cut
from escala.databases.resharding.follow import caught_up, wait_for_copy
from escala.databases.resharding.identity import identify
from escala.databases.resharding.moved_table import existing_table
from escala.databases.resharding.patience import PATIENCE, wait_for_old_transactions
from escala.databases.resharding.progress import Progress
from escala.databases.resharding.selection import Selection
from escala.databases.resharding.stream import Stream
from escala.databases.resharding.verify import verified
from escala.databases.resharding.waiting import now
from escala.databases.sharding.shard_move import ShardMove

if TYPE_CHECKING:
    from escala.databases.resharding.job import Job, Pair
    from escala.databases.resharding.node import Node


class Mover:
    """Does the steps of a pair; each may be done again after a coordinator died within it."""

    def __init__(
        self,
        job: Job,
        pair: Pair,
        nodes: Mapping[str, Node],
        *,
        max_pause: float,
        hear: Callable[[Progress], None] | None,
    ) -> None:
        self._job, self.pair, self._nodes = job, pair, nodes
        self._max_pause, self._hear = max_pause, hear
        self._source, self._target = nodes[pair.source], nodes[pair.target]

    def do(self, action: Action) -> None:
        """Do one step."""
        steps: dict[Action, Callable[[], None]] = {
            Action.MARK: self._mark,
            Action.STREAM: self._stream,
            Action.FOLLOW: self._follow,
            Action.VERIFY: self._verify,
            Action.CUT: self._cut,
            Action.SETTLE: self._settle,
            Action.CLEAN: self._clean,
            Action.UNDO: self._undo,
            Action.TURN_TO_CLEANING: lambda: None,
            Action.TURN_TO_UNDOING: lambda: None,
        }
        steps[action]()

    def tell(self, text: str) -> None:
        """Let whoever listens know what is being done."""
        if self._hear is not None:
            self._hear(Progress(self.pair.label, self.pair.state, text))

    @property
    def moved(self) -> bool:
        """Whether the target owns the slots, by the newest map that any shard has."""
        moving = self.pair.moving(maps.newest(self._nodes.values()).moving)
        return moving is not None and moving.owner == self.pair.target

    def there(self) -> Stream:
        """The stream of changes from the source to the target."""
        return self._one("to", self._source, self._target)

    def back(self) -> Stream:
        """The stream of changes from the target to the source."""
        return self._one("back", self._target, self._source)

    def _one(self, end: str, publisher: Node, subscriber: Node) -> Stream:
        return Stream(f"{self.pair.name}_{end}", publisher, subscriber, self._selections(publisher))

    def _selections(self, node: Node) -> list[Selection]:
        """What moves, as the tables of a shard have it."""
        return [
            Selection(existing_table(node, table), rows, heap)
            for table, (rows, heap) in self.pair.selected.items()
        ]

    def _identify(self, node: Node) -> None:
        tables = [selection.table for selection in self._selections(node)]
        identify(self._job, self._nodes, node, tables)

    def _mark(self) -> None:
        """Tell all routers which rows at the target are not to be seen yet."""
        self.tell("telling the shards what will move")
        newest = maps.newest(self._nodes.values())
        if self.pair.moving(newest.moving) is None:
            move = ShardMove(
                source=self.pair.source,
                target=self.pair.target,
                slots=self.pair.slots,
                keys=self.pair.keys,
            )
            newest = newest.with_moving(move)
        # The target first: it is there that a router with an older map would see too much.
        others = [node for node in self._nodes.values() if node is not self._target]
        maps.install([self._target, *others], newest)
        wait_for_old_transactions(self._target)

    def _stream(self) -> None:
        self.tell("making the stream")
        self._identify(self._source)
        make_barriers(self._source)
        make_barriers(self._target)
        self.there().make(copy=True)

    def _follow(self) -> None:
        stream = self.there()
        wait_for_copy(stream, self.tell)
        with caught_up(stream, self._max_pause / 5, self.tell):
            pass

    def _verify(self) -> None:
        stream = self.there()
        stream.start()
        with caught_up(stream, self._max_pause / 5, self.tell):
            self.pair.verified, self.pair.compared = verified(stream, self._max_pause, self.tell)

    def _cut(self) -> None:
        """Hand the slots to the other shard: forwards, or back again."""
        pair, nodes = self.pair, self._nodes
        forwards = pair.state is State.READY
        live, other = (self.there(), self.back()) if forwards else (self.back(), self.there())
        live.start()
        self._identify(live.subscriber)
        other.make(copy=False)
        try:
            took = cut(live, other, pair, nodes, max_pause=self._max_pause, tell=self.tell)
        except Stale:
            if forwards:
                pair.state = State.FOLLOWING
            raise
        pair.pauses.append(took)

    def _settle(self) -> None:
        """What follows from a decision: all know it, and changes flow the other way."""
        self.tell("settling")
        forwards = self.pair.state is State.CUT
        old, live = (self.there(), self.back()) if forwards else (self.back(), self.there())
        maps.install(self._nodes.values(), maps.newest(self._nodes.values()))
        old.drop(now() + PATIENCE)  # before the other starts: changes must not go round
        live.start()

    def _clean(self) -> None:
        self._end(self._source)

    def _undo(self) -> None:
        self._end(self._target)

    def _end(self, stranger: Node) -> None:
        """Take away the streams, and the rows of the shard that does not own them."""
        self.tell("dropping the streams")
        until = now() + PATIENCE
        self.there().drop(until)
        self.back().drop(until)
        newest = maps.newest(self._nodes.values())
        moving = self.pair.moving(newest.moving)
        if moving is not None:
            wait_for_old_transactions(stranger)
            delete_rows(stranger, self._selections(stranger), self.tell)
            newest = newest.without_moving(moving)
        maps.install(self._nodes.values(), newest)
