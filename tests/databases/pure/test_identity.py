from __future__ import annotations

import pytest

from escala.databases.pure.identity import Identity, check
from escala.databases.pure.topology import Sighting, Topology, View
from escala.errors import Fenced, NoPrimary

SYSTEM, OTHER = 7, 8


def view(timeline: int = 2) -> View:
    topology = Topology(["h1"], max_bytes=1, max_age=1, slow_start=0)
    return topology.saw(Sighting(0, 0, 0, SYSTEM, in_recovery=False, timeline=timeline, lsn=1))


def unseen() -> View:
    return Topology(["h1"], max_bytes=1, max_age=1, slow_start=0).view()


@pytest.mark.parametrize("writes", [True, False])
@pytest.mark.parametrize("timeline", [2, 3])
def test_the_primary_is_taken(writes: bool, timeline: int) -> None:
    check(Identity(SYSTEM, in_recovery=False, timeline=timeline), "h1", view(), writes=writes)


@pytest.mark.parametrize("writes", [True, False])
def test_before_anything_was_seen_the_server_is_believed(writes: bool) -> None:
    check(Identity(OTHER, in_recovery=False, timeline=1), "h1", unseen(), writes=writes)


@pytest.mark.parametrize("writes", [True, False])
@pytest.mark.parametrize("in_recovery", [True, False])
def test_another_cluster_is_refused(writes: bool, in_recovery: bool) -> None:
    with pytest.raises(
        Fenced,
        match=r"^h1 belongs to another cluster: it has the system identifier 8, the database 7\. "
        r"Take it out of the URL$",
    ):
        check(Identity(OTHER, in_recovery, timeline=2), "h1", view(), writes=writes)


@pytest.mark.parametrize("writes", [True, False])
def test_an_old_primary_is_refused(writes: bool) -> None:
    with pytest.raises(
        Fenced,
        match=r"^h1 writes timeline 1, and the cluster is at 2: it is an old primary\. Make it a "
        r"standby of the new one \(pg_rewind or pg_basebackup\)$",
    ):
        check(Identity(SYSTEM, in_recovery=False, timeline=1), "h1", view(), writes=writes)


@pytest.mark.parametrize("timeline", [1, 2])
def test_a_standby_is_read_and_not_written(timeline: int) -> None:
    found = Identity(SYSTEM, in_recovery=True, timeline=timeline)
    check(found, "h1", view(), writes=False)
    with pytest.raises(NoPrimary, match=r"^h1 is a standby now, and takes no writes; try again$"):
        check(found, "h1", view(), writes=True)
