from __future__ import annotations

import os
import random
import threading
import warnings

from escala.balancing import LeastConnections, RoundRobin
from escala.databases.pure.durability import SyncSettings
from escala.databases.pure.topology import Sighting, Topology
from escala.databases.replicas.cluster import Cluster, PrimaryChanged, ReplicaChanged
from escala.databases.replicas.monitor import Monitor
from escala.databases.replicas.replicas import Replicas
from escala.kernel.events import Event, subscribe


def cluster(names: str = "pabc") -> Cluster:
    made = Cluster("shop", Topology(names, max_bytes=100, max_age=2, slow_start=8))
    for node in range(len(names)):
        see(made, node)
    return made


def see(cluster: Cluster, node: int, at: float = 0.0, lsn: int = 10) -> None:
    cluster.saw(Sighting(node, at, at, 7, node > 0, 1, lsn))


def replicas(balancer: RoundRobin | LeastConnections) -> Replicas:
    return Replicas(balancer, random.Random(1).random)


def test_picks_take_turns_and_are_given_back() -> None:
    made, view = replicas(RoundRobin()), cluster().view
    picks = [made.pick(view, 0.0) for _ in range(4)]
    assert [pick and pick.node for pick in picks] == [1, 2, 3, 1]
    assert made.in_flight == {1: 2, 2: 1, 3: 1}
    for pick in picks:
        assert pick is not None
        made.release(pick, 1.0, 0.1)
    assert made.in_flight == {1: 0, 2: 0, 3: 0}


def test_none_is_left() -> None:
    made, view = replicas(RoundRobin()), cluster().view
    assert made.pick(view, 0.0, {1, 2, 3}) is None
    found = made.pick(view, 0.0, {1, 3, 0})
    assert found is not None
    assert found.node == 2
    assert made.pick(cluster("p").view, 0.0) is None


def test_what_is_in_flight_outlives_a_change_of_replicas() -> None:
    made, known = replicas(LeastConnections()), cluster()
    held = [made.pick(known.view, 0.0) for _ in range(3)]
    assert {pick.node for pick in held if pick} == {1, 2, 3}
    known.failed(2, 1.0, "refused")
    assert made.pick(known.view, 1.0) is not None
    see(known, 2, at=20.0)
    assert made.in_flight == {1: 2, 2: 1, 3: 1}
    pick = made.pick(known.view, 20.0)
    assert pick is not None
    assert pick.node == 3, "1 has two already, and 2 comes back slowly"


def test_a_release_after_the_replica_has_gone() -> None:
    made, known = replicas(LeastConnections()), cluster()
    held = made.pick(known.view, 0.0)
    assert held is not None
    known.failed(held.node, 1.0, "refused")
    other = made.pick(known.view, 1.0)
    assert other is not None
    assert other.node != held.node
    made.release(held, 2.0, None)
    assert made.in_flight[held.node] == 0


def test_a_replica_that_is_back_gets_a_growing_share() -> None:
    made, known = replicas(RoundRobin()), cluster("pab")
    known.failed(1, 1.0, "refused")
    see(known, 1, at=10.0)
    picks = [made.pick(known.view, 10.0) for _ in range(90)]
    assert sum(pick is not None and pick.node == 1 for pick in picks) == 10


def test_changes_are_told() -> None:
    known = cluster()
    heard: list[Event] = []
    stop = subscribe(Event, heard.append)
    try:
        known.failed(2, 5.0, "refused")
        known.failed(2, 6.0, "refused")
        see(known, 2, at=7.0)
        known.saw(Sighting(1, 8.0, 8.0, 7, in_recovery=False, timeline=2, lsn=10))
    finally:
        stop()
    told = [event for event in heard if isinstance(event, (ReplicaChanged, PrimaryChanged))]
    assert told[0] == ReplicaChanged(
        name="shop", at=5.0, node="b", readable=False, reason="refused"
    )
    assert told[1] == ReplicaChanged(name="shop", at=7.0, node="b", readable=True, reason="")
    assert told[2] == PrimaryChanged(name="shop", at=8.0, node="a", timeline=2)
    out = {event.node for event in told[3:] if isinstance(event, ReplicaChanged)}
    assert out == {"a", "b", "c"}
    assert known.why().startswith("p: it writes timeline 1, and 2 has been seen; a: it is the")


def test_a_database_that_is_closed_has_no_replicas_to_read() -> None:
    known = cluster()
    assert known.why().startswith("p: it is the primary; a: it is a replica")
    known.unwatched(1.0)
    assert (known.view.readable, known.view.primary) == ((), 0)
    assert {node.reason for node in known.view.nodes} == {"the database was closed"}
    assert known.why().startswith("it is not open: db.open()")
    see(known, 1, at=2.0)
    assert known.view.readable == ((1, 1),), "it comes back like any other"


def test_a_monitor_that_is_stopped_by_who_hears_of_it() -> None:
    known = cluster("p")
    monitor = Monitor(known, ["postgresql://app@127.0.0.1:1/shop"], interval=0.01, patience=1)
    ended = threading.Event()

    def stop(*_: object) -> None:
        monitor.stop()
        ended.set()

    known.failed = stop  # type: ignore[method-assign, assignment]
    assert monitor.start() is True
    assert ended.wait(5)
    known.failed = lambda *_: None  # type: ignore[method-assign]
    assert monitor.start() is True
    assert monitor.start() is False
    monitor.stop()


def test_a_forked_child_has_no_transactions() -> None:
    made, view = replicas(RoundRobin()), cluster().view
    held = made.pick(view, 0.0)
    assert held is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        child = os.fork()
    if child == 0:
        code = 1
        try:
            pick = made.pick(view, 0.0)
            made.release(held, 1.0, None)  # by a session that the child got from its parent
            code = 0 if pick is not None and made.in_flight == {pick.node: 1} else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert made.in_flight == {1: 1}


def test_how_the_primary_waits_is_known_from_its_first_look_on() -> None:
    topology = Topology(["p", "a", "b"], max_bytes=100, max_age=1, slow_start=0)
    known, said = Cluster("shop", topology), SyncSettings("ANY 1 (a, b)", "on", "")
    known.saw(Sighting(0, 0.0, 0.0, 7, in_recovery=False, timeline=1, lsn=10), said)
    assert (known.view.primary, known.settings) == (None, None), "one of three is no majority"
    other = SyncSettings("", "off", "")
    known.saw(Sighting(1, 0.0, 0.0, 7, in_recovery=True, timeline=1, lsn=10), other)
    assert (known.view.primary, known.settings) == (0, said)
    known.saw(Sighting(0, 1.0, 1.0, 7, in_recovery=False, timeline=1, lsn=10), other)
    assert known.settings == other
