"""Priorities, zones and panic, as tables and as laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.balancing.pure.plan import Group, Plan, Rank, Standing, plan

RANKS = {"h": Rank.HEALTHY, "s": Rank.STARTING, "e": Rank.EJECTED, "u": Rank.UNHEALTHY}


def targets(*words: str) -> list[Standing]:
    """As in "h", "u1" (priority 1), "h0a" (zone a), "h0ax3" (weight 3)."""
    made = []
    for word in words:
        rest, _, weight = word.partition("x")
        made.append(Standing(RANKS[rest[0]], int(weight or 1), int(rest[1:2] or 0), rest[2:3]))
    return made


def shares(made: Plan) -> dict[tuple[int, ...], float]:
    return {group.members: round(group.share, 6) for group in made.groups}


# -- ranks


@pytest.mark.parametrize(
    ("words", "members"),
    [
        ("h h u", (0, 1)),
        ("h s e u", (0,)),
        ("s e u", (0,)),
        ("e u e", (0, 2)),
        ("u s u s", (1, 3)),
        ("u u", ()),
        ("", ()),
    ],
)
def test_only_the_best_rank_is_picked(words: str, members: tuple[int, ...]) -> None:
    made = plan(targets(*words.split()))
    assert made == Plan((Group(1.0, members),) if members else (), panic=False)


# -- priorities


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("h0 h0 h1 h1", {(0, 1): 1.0}),
        # 3 of 4 are well: 0.75 * 1.4 covers everything
        ("h0 h0 h0 u0 h1", {(0, 1, 2): 1.0}),
        # 2 of 3: 0.9333 of the calls, the rest spills
        ("h0 h0 u0 h1", {(0, 1): 0.933333, (3,): 0.066667}),
        # 1 of 2 here, 1 of 2 there: 0.7, then 0.3 of its 0.7
        ("h0 u0 h1 u1 h2", {(0,): 0.7, (2,): 0.3}),
        # Together they cover 0.28 + 0.35, and share all of it in that proportion
        ("h0 u0 u0 u0 u0 h1 u1 u1 u1", {(0,): 0.444444, (5,): 0.555556}),
        ("u0 u0 h1 h1", {(2, 3): 1.0}),
        ("u0 h2 u1 h7", {(1,): 1.0}),
        # Weights are what counts, not heads
        ("h0x9 u0x1 h1", {(0,): 1.0}),
        ("h0x1 u0x9 h1", {(0,): 0.14, (2,): 0.86}),
        # A target that is not known yet says nothing of the share
        ("h0 s0 s0 h1", {(0,): 1.0}),
        ("s0 h1", {(1,): 1.0}),
        ("s0 s1", {(0,): 1.0}),
        ("e0 u0 h1", {(2,): 1.0}),
        ("h0 e0 h1", {(0,): 0.7, (2,): 0.3}),
    ],
)
def test_a_level_takes_what_it_can_and_the_rest_spills(
    words: str, expected: dict[tuple[int, ...], float]
) -> None:
    made = plan(targets(*words.split()))
    assert shares(made) == expected
    assert not made.panic


# -- panic


@pytest.mark.parametrize(
    ("words", "panic", "members"),
    [
        ("h u", 0.5, (0,)),
        ("h u u", 0.5, (0, 1, 2)),
        ("h u u", 0.33, (0,)),
        ("h h u", 1.0, (0, 1, 2)),
        ("h h h", 1.0, (0, 1, 2)),
        ("u u", 0.01, (0, 1)),
        ("u u", 0.0, ()),
        ("h u u u u u u u u u", 0.0, (0,)),
        ("h e e", 0.5, (0, 1, 2)),
        ("e u u", 0.5, (0, 1, 2)),
        ("s s u", 0.5, (0, 1)),
        ("s u u", 0.5, (0, 1, 2)),
        ("h s s u", 0.5, (0,)),
        ("hx3 ux2", 0.5, (0,)),
        ("hx2 ux3", 0.5, (0, 1)),
    ],
)
def test_panic_is_below_a_share(words: str, panic: float, members: tuple[int, ...]) -> None:
    standings = targets(*words.split())
    made = plan(standings, panic=panic)
    assert made.groups == ((Group(1.0, members),) if members else ())


@pytest.mark.parametrize(
    ("words", "panic", "told"),
    [("h h h", 1.0, False), ("h u u", 0.5, True), ("u u", 0.5, True), ("h u", 0.5, False)],
)
def test_panic_is_told(words: str, panic: float, *, told: bool) -> None:
    assert plan(targets(*words.split()), panic=panic).panic is told


def test_no_targets_are_no_reason_to_panic() -> None:
    assert plan([], panic=1.0) == Plan((), panic=False)


@pytest.mark.parametrize(
    ("words", "expected", "panic"),
    [
        # The second level can take everything: no panic, only a spill.
        ("h0 u0 u0 h1 h1", {(0,): 0.466667, (3, 4): 0.533333}, False),
        ("h0 u0 u0 h1 h1 h1 u1", {(0,): 0.466667, (3, 4, 5): 0.533333}, False),
        # It cannot: the first is picked from whole, and so is the second.
        ("h0 u0 u0 h1 u1 u1", {(0, 1, 2): 0.5, (3, 4, 5): 0.5}, True),
        # 0.4667 and 0.7 cover everything, but neither does so alone.
        ("h0 u0 u0 h1 u1", {(0, 1, 2): 0.466667, (3,): 0.533333}, True),
        # A level with no healthy target gets nothing, so that it does not panic.
        ("u0 u0 h1 u1", {(2,): 1.0}, False),
    ],
)
def test_a_level_panics_only_where_the_others_cannot_take_over(
    words: str, expected: dict[tuple[int, ...], float], *, panic: bool
) -> None:
    made = plan(targets(*words.split()), panic=0.5)
    assert (shares(made), made.panic) == (expected, panic)


# -- zones


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        # As many in each zone: all calls stay.
        ("h0a h0a h0b h0b", {(0, 1): 1.0}),
        ("h0a h0b h0a h0c", {(0, 2): 1.0}),
        # A zone with more than its share does not ask the others.
        ("h0a h0a h0a h0b", {(0, 1, 2): 1.0}),
        # One of four: a full share is two, so half of the calls stay.
        ("h0a h0b h0b h0b", {(0,): 0.5, (1, 2, 3): 0.5}),
        # What is left over goes where there is more than a share: b has 5/3 over, c 2/3.
        (
            "h0a h0b h0b h0b h0b h0b h0c h0c h0c h0c",
            {(0,): 0.3, (1, 2, 3, 4, 5): 0.5, (6, 7, 8, 9): 0.2},
        ),
        # A zone that has just its share has nothing over.
        ("u0a h0a h0b h0b h0c h0c h0c", {(1,): 0.5, (4, 5, 6): 0.5}),
        # None is left here: calls go where there is room; b and c took over a's share.
        ("u0a h0b h0c", {(1,): 0.5, (2,): 0.5}),
        # The callers of a dead zone are still there.
        ("h0a h0a u0b u0b h0c h0c", {(0, 1): 1.0}),
        ("h0ax2 h0bx1 h0bx1", {(0,): 1.0}),
        ("h0ax1 h0bx3", {(0,): 0.5, (1,): 0.5}),
    ],
)
def test_calls_stay_in_their_zone_as_far_as_it_can_take_them(
    words: str, expected: dict[tuple[int, ...], float]
) -> None:
    assert shares(plan(targets(*words.split()), zone="a")) == expected


@pytest.mark.parametrize("zone", ["", "z"], ids=["none", "unknown"])
def test_without_a_zone_of_its_own_a_caller_goes_anywhere(zone: str) -> None:
    assert shares(plan(targets("h0a", "h0b", "h0b"), zone=zone)) == {(0, 1, 2): 1.0}


def test_a_single_zone_is_no_choice() -> None:
    assert shares(plan(targets("h0a", "u0a", "h0a"), zone="a")) == {(0, 2): 1.0}


def test_zones_are_looked_at_inside_each_level() -> None:
    made = plan(targets("h0a", "u0b", "h1a", "h1b"), zone="a")
    assert shares(made) == {(0,): 0.7, (2,): 0.3}
    made = plan(targets("u0a", "h0b", "h1b", "h1c"), zone="a")
    assert shares(made) == {(1,): 0.7, (2, 3): 0.3}


def test_in_panic_zones_do_not_matter() -> None:
    made = plan(targets("h0a", "u0a", "u0b"), zone="a", panic=0.5)
    assert shares(made) == {(0, 1, 2): 1.0}


# -- laws

standing = st.builds(
    Standing,
    st.sampled_from(list(Rank)),
    st.integers(1, 5),
    st.integers(0, 2),
    st.sampled_from(["a", "b", "c"]),
)


@given(st.lists(standing, max_size=12), st.sampled_from(["", "a", "b", "z"]), st.floats(0, 1))
def test_shares_add_up_and_no_one_is_picked_twice(
    standings: list[Standing], zone: str, panic: float
) -> None:
    made = plan(standings, zone=zone, panic=panic)
    members = [at for group in made.groups for at in group.members]
    assert len(members) == len(set(members))
    assert all(group.members and group.share > 0 for group in made.groups)
    if made.groups:
        assert sum(group.share for group in made.groups) == pytest.approx(1.0)
    best = min((each.rank for each in standings), default=Rank.UNHEALTHY)
    if best is not Rank.UNHEALTHY:
        assert made.groups
    if not made.panic:
        assert all(standings[at].rank is best for at in members)
    assert not made.panic or panic > 0


@given(st.lists(standing, min_size=1, max_size=12), st.sampled_from(["a", "b"]))
def test_where_all_are_well_the_first_level_gets_everything(
    standings: list[Standing], zone: str
) -> None:
    well = [each._replace(rank=Rank.HEALTHY) for each in standings]
    made = plan(well, zone=zone)
    first = min(each.priority for each in well)
    assert {well[at].priority for group in made.groups for at in group.members} == {first}


@given(st.lists(standing, min_size=1, max_size=12))
def test_zones_whose_callers_all_do_so_load_every_target_alike(standings: list[Standing]) -> None:
    # The same number of calls comes from each zone: then each target gets calls by its weight.
    level = [each._replace(rank=Rank.HEALTHY, priority=0) for each in standings]
    zones = {each.zone for each in level}
    load = [0.0] * len(level)
    for zone in zones:
        for group in plan(level, zone=zone).groups:
            weight = sum(level[at].weight for at in group.members)
            for at in group.members:
                load[at] += group.share * level[at].weight / weight / len(zones)
    total = sum(each.weight for each in level)
    assert load == pytest.approx([each.weight / total for each in level])
