"""What no server can be made to do at will; the rest is in tests/live and tests/crash."""

from __future__ import annotations

from typing import Any, cast

import pytest

from escala.databases.pure.durability import SyncSettings
from escala.databases.replicas.failover import Failover
from escala.databases.replicas.failover_node import FailoverNode, Look
from escala.errors import NoPrimary, StoreUnavailable
from escala.kernel.runtime import colours, drive

SETTINGS = SyncSettings("ANY 2 (n0, n1, n2)", "on", "n0")
STANDBY = Look(
    system_id=7,
    in_recovery=True,
    timeline=1,
    position=9,
    receiving=False,
    conninfo="host=h0",
    is_cut=False,
    settings=SETTINGS,
    read_only=False,
)
PRIMARY = STANDBY._replace(in_recovery=False, timeline=2)


class Node:
    """Says what it is told to say, and notes what it is told to do."""

    def __init__(self, name: str, *looks: Look | None) -> None:
        self.name, self.looks = name, list(looks)
        self.told: list[str] = []

    async def look(self, _: object) -> Look:
        look = self.looks.pop(0)
        if look is None:
            raise StoreUnavailable(f"{self.name} is down")
        return look

    def __getattr__(self, name: str) -> Any:
        async def done(*_: object) -> bool:
            self.told.append(name)
            return True

        return done

    def close(self) -> None:
        self.told.append("close")


def run(*nodes: Node, timeline: int = 1) -> object:
    failover = Failover(cast("list[FailoverNode]", nodes), known=SETTINGS, timeline=timeline)
    return drive(failover.run(colours.thread, to=None, allow_loss=False))


@pytest.mark.parametrize("second", [PRIMARY, None], ids=["promoted", "lost"])
def test_what_changed_before_our_turn_is_noticed(second: Look | None) -> None:
    first = Node("h1", STANDBY, STANDBY)
    other = Node("h2", STANDBY, second)
    with pytest.raises(NoPrimary, match="another one came before, or a standby was lost"):
        run(Node("h0", None), first, other)
    assert first.told == other.told == ["take_turn", "close"]


def test_no_node_can_be_asked() -> None:
    with pytest.raises(NoPrimary, match=r"no node of the database can be asked \(h0 is down; h1"):
        run(Node("h0", None), Node("h1", None))


def test_two_primaries_of_one_timeline() -> None:
    nodes = [Node("h0", PRIMARY), Node("h1", PRIMARY)]
    with pytest.raises(NoPrimary, match="h0 and h1 both write timeline 2: stop one of them"):
        run(*nodes)
    assert [node.told for node in nodes] == [["close"], ["close"]]


def test_an_old_primary_is_none() -> None:
    old, new = Node("h0", PRIMARY._replace(timeline=1)), Node("h1", PRIMARY)
    assert run(old, new) == ("h1", 2, False, True, ("h0",))


def test_a_primary_older_than_what_was_ever_seen_is_none() -> None:
    with pytest.raises(NoPrimary, match="commits may be on n1, n2 alone"):
        run(Node("h0", PRIMARY), timeline=3)


def test_a_node_of_another_cluster_is_left_out() -> None:
    stranger = Node("h2", PRIMARY._replace(system_id=8, timeline=9))
    standby = Node("h1", STANDBY._replace(timeline=2))
    assert run(Node("h0", PRIMARY), standby, stranger) == ("h0", 2, False, True, ("h2",))
