from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.databases.pure.topology import WHOLE, NodeView, Sighting, Topology, View

OURS, OTHERS = 7, 8
NAMES = ("a", "b", "c")


def topology(
    names: tuple[str, ...] = NAMES,
    max_bytes: float = 1000,
    max_age: float = 2.0,
    slow_start: float = 8.0,
) -> Topology:
    return Topology(names, max_bytes=max_bytes, max_age=max_age, slow_start=slow_start)


def primary(node: int = 0, at: float = 0.0, lsn: int = 100, timeline: int = 1) -> Sighting:
    return Sighting(node, at, at, OURS, in_recovery=False, timeline=timeline, lsn=lsn)


def standby(
    node: int, at: float = 0.0, lsn: int = 100, timeline: int = 1, age: float | None = None
) -> Sighting:
    return Sighting(node, at, at, OURS, in_recovery=True, timeline=timeline, lsn=lsn, age=age)


def known(**options: float) -> Topology:
    """All three have been seen, "a" is the primary."""
    made = topology(**options)  # type: ignore[arg-type]
    for sighting in (primary(), standby(1), standby(2)):
        made.saw(sighting)
    return made


def readable(view: View) -> list[str]:
    assert [index for index, _ in view.readable] == [
        index for index, node in enumerate(view.nodes) if node.readable
    ]
    return [view.nodes[index].name for index, _ in view.readable]


def node(view: View, name: str) -> NodeView:
    return next(each for each in view.nodes if each.name == name)


def test_nothing_is_believed_before_a_majority_agrees() -> None:
    made = topology()
    view = made.view()
    assert (view.primary, view.system_id, view.timeline, view.generation) == (None, None, 0, 0)
    assert {each.reason for each in view.nodes} == {"it was not seen yet"}
    assert {each.role for each in view.nodes} == {"unknown"}
    unseen = NodeView("c", "unknown", False, "it was not seen yet", 0, 0, 0, None, None, WHOLE)
    assert view.nodes[2] == unseen
    view = made.saw(primary())
    assert view.primary is None
    assert view.nodes[0].received == 0
    assert view.nodes[2] == unseen
    assert view.nodes[0].reason.startswith("fewer than 2 of 3 nodes have named the same system")
    assert (view.nodes[0].role, view.system_id) == ("fenced", None)
    view = made.saw(standby(1))
    assert (view.primary, view.system_id, view.timeline, view.generation) == (0, OURS, 1, 1)
    assert [each.role for each in view.nodes] == ["primary", "replica", "unknown"]
    assert readable(view) == ["b"]


@pytest.mark.parametrize(("count", "enough"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_a_majority_of_all_nodes(count: int, enough: int) -> None:
    made = topology(tuple("abcde"[:count]))
    made.saw(primary())
    for number in range(1, enough):
        assert made.view().primary is None
        made.saw(standby(number))
    assert made.view().primary == 0


def test_fewer_are_enough_when_that_was_said() -> None:
    made = Topology(("a", "b", "c"), max_bytes=1, max_age=1.0, slow_start=0.0, quorum=1)
    assert made.saw(primary()).primary == 0
    assert made.saw(standby(1)._replace(system_id=OTHERS)).nodes[1].role == "stranger"
    made = Topology(("a", "b"), max_bytes=1, max_age=1.0, slow_start=0.0, quorum=1)
    assert made.saw(standby(1)).system_id == OURS
    assert made.saw(primary()).primary == 0


def test_half_of_the_nodes_with_another_identifier_is_no_majority() -> None:
    made = topology(("a", "b"))
    made.saw(primary())
    view = made.saw(standby(1)._replace(system_id=OTHERS))
    assert view.primary is None
    assert readable(view) == []


def test_a_node_of_another_system_is_never_used() -> None:
    made = topology()
    made.saw(primary())
    made.saw(standby(1))
    stranger = primary(2, lsn=10**9, timeline=99)._replace(system_id=OTHERS)
    view = made.saw(stranger)
    assert (view.primary, view.timeline) == (0, 1)
    assert node(view, "c").role == "stranger"
    assert node(view, "c").reason == "it belongs to another cluster (system identifier 8)"
    view = made.saw(standby(2)._replace(system_id=OTHERS))
    assert readable(view) == ["b"]
    assert node(view, "c").lag_bytes is None


def test_the_majority_decides_whose_system_it_is_whoever_came_first() -> None:
    made = topology()
    made.saw(primary(2, timeline=5)._replace(system_id=OTHERS))
    made.saw(primary(0))
    view = made.saw(standby(1))
    assert (view.primary, view.timeline, view.system_id) == (0, 1, OURS)
    assert node(view, "c").role == "stranger"


def test_the_primary_stays_while_it_cannot_be_reached() -> None:
    made = known()
    view = made.failed(0, 1.0, "refused")
    assert (view.primary, view.generation) == (0, 1)
    assert node(view, "a").reason == "refused"
    assert readable(view) == ["b", "c"]


def test_a_higher_timeline_takes_over_and_fences_the_old_one_for_good() -> None:
    made = known()
    view = made.saw(primary(1, at=1.0, lsn=120, timeline=2))
    assert (view.primary, view.timeline, view.generation) == (1, 2, 2)
    assert node(view, "a").reason == "it writes timeline 1, and 2 has been seen"
    assert node(view, "a").role == "fenced"
    assert node(view, "c").reason == "it follows timeline 1, and 2 has been seen"
    view = made.saw(primary(0, at=2.0, lsn=10**6))
    assert (view.primary, view.generation) == (1, 2)
    view = made.failed(1, 3.0, "refused")
    assert view.primary == 1
    view = made.saw(primary(0, at=4.0, lsn=10**6))
    assert view.primary == 1


def test_a_standby_that_follows_a_higher_timeline_fences_the_primary() -> None:
    made = known()
    view = made.saw(standby(2, at=1.0, timeline=2))
    assert (view.primary, view.timeline, view.generation) == (None, 2, 2)
    assert readable(view) == ["c"], "it was the primary's, and lags behind what was known of it"
    view = made.saw(primary(1, at=2.0, timeline=2))
    assert (view.primary, view.generation) == (1, 3)


def test_two_writers_of_one_timeline_are_no_primary() -> None:
    made = topology()
    made.saw(primary(0))
    view = made.saw(primary(1))
    assert (view.primary, view.generation) == (None, 0)
    assert node(view, "b").reason == "it says it is primary too"
    view = made.failed(0, 1.0, "refused")
    view = made.saw(standby(2, at=1.0))
    assert view.primary is None, "one of them being away settles nothing"
    view = made.saw(standby(0, at=2.0))
    assert view.primary == 1


def test_the_first_of_two_writers_of_one_timeline_stays() -> None:
    made = known()
    view = made.saw(primary(1, at=1.0, lsn=500))
    assert (view.primary, view.generation) == (0, 1)
    assert node(view, "b").role == "fenced"
    view = made.saw(standby(0, at=2.0, lsn=500))
    assert (view.primary, view.generation) == (1, 2)


def test_a_writer_that_cannot_be_reached_does_not_become_the_primary() -> None:
    made = topology()
    made.saw(primary(0))
    made.failed(0, 1.0, "refused")
    view = made.saw(standby(1, at=2.0))
    assert view.primary is None
    assert (view.system_id, view.generation) == (OURS, 0)
    assert made.saw(primary(0, at=3.0)).primary == 0


def test_a_standby_keeps_the_timeline_that_it_has_streamed() -> None:
    made = known()
    made.saw(primary(1, at=1.0, timeline=2))
    view = made.saw(standby(2, at=1.0, timeline=2))
    assert readable(view) == ["c"]
    view = made.saw(standby(2, at=2.0, timeline=1))  # the last checkpoint, since nothing streams
    assert readable(view) == ["c"]
    assert node(view, "c").timeline == 2
    view = made.saw(primary(2, at=3.0, timeline=1))
    assert (view.primary, node(view, "c").timeline) == (1, 1)


def test_a_lag_in_bytes_up_to_the_limit() -> None:
    made = known()
    made.saw(primary(at=1.0, lsn=1100))
    view = made.saw(standby(1, at=1.0, lsn=100))
    assert readable(view) == ["b", "c"]
    assert (node(view, "b").lag_bytes, node(view, "b").lag_seconds) == (1000, 0.0)
    view = made.saw(standby(1, at=1.0, lsn=99))
    assert readable(view) == ["c"]
    assert node(view, "b").reason == "it lags by 1001 bytes"


def test_it_is_back_at_half_of_the_lag() -> None:
    made = known()
    made.saw(primary(at=1.0, lsn=2000))
    made.saw(standby(1, at=1.0, lsn=500))
    assert readable(made.saw(standby(1, at=1.1, lsn=1499))) == ["c"]
    assert readable(made.saw(standby(1, at=1.2, lsn=1500))) == ["b", "c"]
    assert readable(made.saw(standby(1, at=1.3, lsn=1000))) == ["b", "c"]


def test_a_lag_in_seconds_is_how_long_the_primary_has_had_it() -> None:
    made = known()
    made.saw(primary(at=10.0, lsn=100))  # nothing was written meanwhile
    made.saw(primary(at=11.0, lsn=150))
    made.saw(primary(at=12.0, lsn=200))
    view = made.saw(standby(1, at=13.0, lsn=100, age=3600.0))
    assert node(view, "b").lag_seconds == 2.0, "an idle hour is no lag"
    assert readable(view) == ["b", "c"]
    assert node(made.saw(standby(1, at=13.0, lsn=149)), "b").lag_seconds == 2.0
    assert node(made.saw(standby(1, at=13.0, lsn=150)), "b").lag_seconds == 1.0
    assert node(made.saw(standby(1, at=13.0, lsn=200)), "b").lag_seconds == 0.0
    view = made.saw(standby(1, at=13.25, lsn=149))
    assert readable(view) == ["c"]
    assert node(view, "b").reason == "it lags by 2.25 s"
    assert readable(made.saw(standby(1, at=13.01, lsn=150))) == ["c"]
    assert readable(made.saw(standby(1, at=13.0, lsn=150))) == ["b", "c"]


def test_a_lag_that_began_before_the_first_look_is_what_the_replica_says() -> None:
    made = topology()
    made.saw(primary(at=0.0, lsn=200))
    view = made.saw(standby(1, at=0.5, lsn=150, age=2.5))
    assert (node(view, "b").lag_seconds, node(view, "b").readable) == (2.5, False)
    view = made.saw(standby(2, at=0.5, lsn=150))
    assert node(view, "c").lag_seconds == 0.5
    view = made.saw(standby(2, at=0.5, lsn=150, age=0.25))
    assert node(view, "c").lag_seconds == 0.5


def test_a_replica_ahead_of_the_last_look_at_the_primary_does_not_lag() -> None:
    view = known().saw(standby(1, at=0.1, lsn=10**6))
    assert (node(view, "b").lag_bytes, node(view, "b").lag_seconds) == (0, 0.0)


def test_a_replica_seen_before_the_primary_is_judged_when_that_is_found() -> None:
    made = topology()
    view = made.saw(standby(1, lsn=10))
    assert node(view, "b").lag_bytes is None
    view = made.saw(standby(2, lsn=100))
    assert node(view, "c").reason == "no primary was seen yet, so its lag is not known"
    assert readable(view) == []
    view = made.saw(primary(lsn=1011))
    assert readable(view) == ["c"]
    assert node(view, "b").lag_bytes == 1001


def test_a_dead_replica_is_out_at_once_and_comes_back_slowly() -> None:
    made = known()
    view = made.failed(1, 1.0, "refused")
    assert readable(view) == ["c"]
    weights = []
    for at in (2.0, 2.5, 3.0, 4.0, 6.0, 9.9, 10.0, 99.0):
        view = made.saw(standby(1, at=at))
        weights.append(dict(view.readable)[1])
        assert node(view, "b").weight == weights[-1]
    assert weights == [1, 1, 1, 2, 4, 8, 8, 8]
    assert dict(view.readable)[2] == WHOLE


def test_without_slow_start_it_is_back_at_once() -> None:
    made = known(slow_start=0.0)
    made.failed(1, 1.0, "refused")
    assert made.saw(standby(1, at=2.0)).readable == ((1, WHOLE), (2, WHOLE))


def test_who_was_never_in_takes_its_full_share_at_once() -> None:
    made = topology()
    made.failed(2, 0.0, "refused")
    made.saw(primary())
    made.saw(standby(1))
    assert made.saw(standby(2, at=1.0)).readable == ((1, WHOLE), (2, WHOLE))


def test_what_is_read_is_the_same_object_until_it_changes() -> None:
    made = known()
    before = made.view().readable
    assert made.saw(standby(1, at=1.0, lsn=101)).readable is before
    assert made.failed(1, 2.0, "refused").readable is not before


def test_a_failure_is_forgotten_with_the_next_answer() -> None:
    made = known()
    made.failed(1, 1.0, "refused")
    assert node(made.saw(standby(1, at=2.0)), "b").reason == ""
    assert node(made.view(), "a").reason == "it is the primary"


def test_what_the_primary_had_written_after_a_moment() -> None:
    made = known()
    made.saw(primary(at=1.0, lsn=150))
    view = made.saw(primary(at=2.0, lsn=200))
    assert view.samples == ((0.0, 100), (1.0, 150), (2.0, 200))
    assert [view.lsn_after(at) for at in (-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.1)] == [
        100, 100, 150, 150, 200, 200, None
    ]  # fmt: skip
    view = made.saw(primary(1, at=3.0, lsn=120, timeline=2))
    assert view.samples == ((3.0, 120),)


def test_samples_are_bounded() -> None:
    made = known()
    for number in range(1, 500):
        made.saw(primary(at=float(number), lsn=100 + number))
    view = made.view()
    assert len(view.samples) == 128
    assert view.lsn_after(0.5) == view.samples[0][1]


def test_what_a_view_says_of_a_node() -> None:
    made = known()
    made.saw(primary(at=1.0, lsn=160))
    view = made.saw(standby(1, at=1.0, lsn=150)._replace(received=155))
    assert view.nodes[1] == NodeView(
        name="b",
        role="replica",
        readable=True,
        reason="",
        timeline=1,
        lsn=150,
        received=155,
        lag_bytes=10,
        lag_seconds=0.0,
        weight=WHOLE,
    )


SIGHTINGS = st.builds(
    Sighting,
    node=st.integers(0, 3),
    began=st.just(0.0),
    at=st.just(0.0),
    system_id=st.sampled_from([OURS, OURS, OURS, OURS, OTHERS]),
    in_recovery=st.booleans(),
    timeline=st.integers(1, 3),
    lsn=st.integers(0, 3000),
    received=st.just(0),
    age=st.none() | st.floats(0, 10),
)
EVENTS = st.lists(
    st.tuples(st.floats(0, 2), SIGHTINGS | st.integers(0, 3)), min_size=1, max_size=40
)


@given(EVENTS)
def test_whatever_the_nodes_say(events: list[tuple[float, Sighting | int]]) -> None:
    made = topology(("a", "b", "c", "d"))
    now = 0.0
    last: dict[int, Sighting] = {}
    away: dict[int, bool] = {}
    before = made.view()
    for passed, event in events:
        now += passed
        if isinstance(event, int):
            view = made.failed(event, now, "refused")
            away[event] = True
        else:
            view = made.saw(event._replace(began=now, at=now))
            last[event.node], away[event.node] = event, False
        assert view == made.view()
        assert view.timeline >= before.timeline
        changed = view.primary != before.primary
        assert view.generation == before.generation + changed
        if before.system_id is not None:
            assert view.system_id == before.system_id
        if changed and before.primary is not None:
            old = last[before.primary]
            newer = view.timeline > before.timeline
            stranger = old.system_id != view.system_id  # of those that the majority named
            assert newer or old.in_recovery or stranger or (old.timeline < view.timeline)
        if view.primary is not None:
            seen = last[view.primary]
            assert not seen.in_recovery
            assert (seen.system_id, seen.timeline) == (view.system_id, view.timeline)
        for index, weight in view.readable:
            seen, found = last[index], view.nodes[index]
            assert not away[index]
            assert seen.in_recovery
            assert seen.system_id == view.system_id
            assert found.timeline == view.timeline
            assert found.lag_bytes is not None
            assert found.lag_bytes <= 1000
            assert found.lag_seconds is not None
            assert found.lag_seconds <= 2.0
            assert 1 <= weight <= WHOLE
        for found in view.nodes:
            assert found.readable == (not found.reason)
        before = view
