"""What a coordinator writes down, so that another one can go on where it died."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from escala.databases.pure.key_value import KeyValue, from_json
from escala.databases.pure.reshard_steps import State
from escala.databases.resharding.node import Node
from escala.databases.sharding.shard_move import Moving, Slots
from escala.errors import CannotReshard


class Pair(msgspec.Struct, kw_only=True):
    """Slots or single keys that go from one shard to another, and how far they are."""

    name: str  # of its streams, before "_to" or "_back"
    source: str
    target: str
    slots: Slots = ()
    listed: list[Any] = []  # single keys, as JSON
    state: State = State.PLANNED
    selected: dict[str, tuple[str, str]] = {}  # by table: SQL for the rows, and for their heap
    verified: dict[str, str] = {}  # by shard: its tables as they were when rows were compared
    compared: int = 0  # how many rows were compared
    pauses: list[float] = []  # seconds without writes, of each cutover

    @property
    def keys(self) -> tuple[KeyValue, ...]:
        """The single keys that move."""
        return tuple(map(from_json, self.listed))

    @property
    def label(self) -> str:
        """What it is called when told about."""
        return f"{self.source} -> {self.target}"

    def moving(self, moves: Iterable[Moving]) -> Moving | None:
        """Its own among the moves of a map; None before the first mark and after the last one."""
        for move in moves:
            shards = {move.source, move.target}
            same = (move.slots, move.keys) == (self.slots, self.keys)
            if same and shards == {self.source, self.target}:
                return move
        return None


class Job(msgspec.Struct, kw_only=True):
    """A change from one map to another; kept on the first pair's source until all is done."""

    id: str
    home: str
    goal: str  # the map to come, as JSON
    tables: dict[str, str]  # as in SQL, to the shard key's column
    pairs: list[Pair]
    identities: dict[str, dict[str, str]] = {}  # by shard and table: what to restore at the end

    def save(self, nodes: Mapping[str, Node]) -> None:
        """Write it down on its home."""
        nodes[self.home].rows(
            "INSERT INTO escala.move (state) VALUES (%s) "
            "ON CONFLICT (only_row) DO UPDATE SET state = excluded.state",
            (msgspec.json.encode(self).decode(),),
        )

    def forget(self, nodes: Mapping[str, Node]) -> None:
        """Take it from its home: all is done."""
        nodes[self.home].rows("DELETE FROM escala.move")


def job_on(nodes: Iterable[Node]) -> Job | None:
    """The job that is under way, wherever it is kept."""
    for node in nodes:
        text = node.value("SELECT state FROM escala.move")
        if text is not None:
            try:
                return msgspec.json.decode(text, type=Job)
            except msgspec.DecodeError as error:
                raise CannotReshard(
                    f"{node.name}: escala.move has a job that this version cannot read: {error}"
                ) from error
    return None
