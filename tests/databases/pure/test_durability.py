from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.databases.pure.durability import Durability, SyncSettings, judge
from escala.databases.pure.election import Candidate, Election, elect

ADVICE = "set synchronous_standby_names = 'ANY 1 (n1, n2)'"


def judged(names: str, *standbys: str, commit: str = "on", own: str = "n0") -> Durability:
    return judge(SyncSettings(names, commit, own), standbys or ("n1", "n2"))


@pytest.mark.parametrize("commit", ["on", "remote_apply"])
@pytest.mark.parametrize(
    ("names", "copies", "needed"),
    [
        ("ANY 1 (n1, n2)", 1, 2),
        ("FIRST 1 (n1, n2)", 1, 2),
        ("n2, n1", 1, 2),
        ("ANY 2 (n1, N2)", 2, 1),
        ("ANY 1 (n0, n1, n2)", 1, 2),
        ("N2", 1, 1),
    ],
)
def test_what_is_kept(names: str, copies: int, needed: int, commit: str) -> None:
    found = judged(names, commit=commit)
    assert (found.keeps, found.copies, found.needed) == (True, copies, needed)
    assert found.problems == ()
    assert set(found.among) <= {"n1", "n2"}


def test_it_says_what_is_kept() -> None:
    assert str(judged("ANY 2 (n0, n1, n2)")) == (
        "every acknowledged commit is on 2 of the standbys n1, n2; "
        "a failover needs to see 1 of them"
    )


@pytest.mark.parametrize(
    ("names", "commit", "problem"),
    [
        ("", "on", f"no standby has to have a commit: {ADVICE}"),
        (
            "ANY 1 (*)",
            "on",
            f"'*' counts whoever streams, so no one knows who has a commit: {ADVICE}",
        ),
        (
            "ANY 3 (n1, n2)",
            "on",
            f"no commit ever ends: 3 of 2 standbys have to have it: {ADVICE}",
        ),
        (
            "ANY 1 (n1, n2, n3)",
            "on",
            (
                "a failover needs to see 3 of the standbys n1, n2, n3, and the database's URL "
                f"leads to 2 of them: add the others to it, or {ADVICE}"
            ),
        ),
        (
            "n1",
            "off",
            "a commit is acknowledged before any disk has it: set synchronous_commit = on",
        ),
        (
            "n1",
            "local",
            "a commit is acknowledged before any standby has it: set synchronous_commit = on",
        ),
        (
            "n1",
            "remote_write",
            (
                "a commit is acknowledged while a standby has it in memory only: "
                "set synchronous_commit = on"
            ),
        ),
        (
            "any any",
            "on",
            "synchronous_standby_names: expected such as 'ANY 1 (n1, n2)', found 'any any'",
        ),
    ],
)
def test_what_cannot_be_kept_and_what_to_set(names: str, commit: str, problem: str) -> None:
    found = judged(names, commit=commit)
    assert (found.keeps, found.problems, str(found)) == (False, (problem,), problem)


@pytest.mark.parametrize("names", ["", "any any"])
def test_where_nothing_is_kept_there_is_nothing_to_see(names: str) -> None:
    found = judged(names)
    assert (found.copies, found.among, found.needed) == (0, (), 0)


def test_the_node_itself_is_left_out_in_any_case() -> None:
    assert judged("ANY 1 (n0, n1, n2)", own="N0").among == ("n1", "n2")
    assert judged("ANY 1 (N0, n1, n2)").needed == 2


def test_problems_are_joined() -> None:
    found = judged("", commit="off")
    assert str(found) == "; ".join(found.problems)


def test_every_problem_is_told() -> None:
    assert judged("", commit="off").problems == (
        "a commit is acknowledged before any disk has it: set synchronous_commit = on",
        f"no standby has to have a commit: {ADVICE}",
    )
    assert len(judged("any any", commit="local").problems) == 2


def test_standbys_of_one_name_cannot_be_told_apart() -> None:
    found = judged("ANY 1 (walreceiver)", "walreceiver", "WalReceiver")
    assert found.problems == (
        "two standbys are called 'walreceiver': give each a cluster_name of its own",
    )
    assert judged("n1", "n1", "walreceiver", "walreceiver").keeps


def test_without_standbys_there_is_one_to_add() -> None:
    assert judge(SyncSettings("", "on", "n0"), ()).problems == (
        "no standby has to have a commit: add a standby, and name it in synchronous_standby_names",
    )


def test_a_list_of_the_node_alone_waits_for_ever() -> None:
    assert "no commit ever ends: 1 of 0" in str(judged("n0"))


def test_names_are_quoted_in_the_advice() -> None:
    assert 'ANY 1 ("eu-1", n2)\'' in str(judged("", "eu-1", "n2"))


def candidate(node: int, position: int, timeline: int = 1) -> Candidate:
    return Candidate(node, f"n{node}", timeline, position)


def test_the_furthest_is_elected() -> None:
    assert elect([candidate(1, 5), candidate(2, 7), candidate(3, 6)]) == Election(
        candidate(2, 7), ""
    )


def test_a_higher_timeline_goes_before_more_of_a_lower_one() -> None:
    found = elect([candidate(1, 9, timeline=1), candidate(2, 3, timeline=2)])
    assert found.winner == candidate(2, 3, timeline=2)


def test_the_first_of_equals_is_elected() -> None:
    assert elect([candidate(1, 5), candidate(2, 5)]).winner == candidate(1, 5)


def test_no_one_is_elected_where_no_one_is() -> None:
    assert elect([]) == Election(None, "no standby can be reached")


def test_too_few_elect_no_one() -> None:
    assert elect([candidate(1, 5), candidate(9, 9)], among=["N1", "n2"], needed=2) == Election(
        None,
        "2 of the standbys that acknowledged commits are on have to be seen, and 1 are: "
        "commits may be on n2 alone",
    )
    assert elect([candidate(1, 5), candidate(2, 6)], among=["N1", "n2"], needed=2).winner


def test_names_are_compared_in_any_case() -> None:
    upper = Candidate(1, "N1", 1, 5)
    assert elect([upper], among=["n1"], needed=1).winner == upper
    assert "alone" in elect([upper], among=["n1", "n2", "n3"], needed=2).reason
    assert "commits may be on n2, n3 alone" in elect([upper], among=["n1", "n3", "n2"], needed=2)[1]


def test_who_is_not_among_them_may_have_the_most() -> None:
    found = elect([candidate(1, 5), candidate(9, 9)], among=["n1"], needed=1)
    assert found.winner == candidate(9, 9)


@given(st.data())
def test_no_acknowledged_commit_is_lost(data: st.DataObject) -> None:
    """A model: each commit is acknowledged by some `copies` standbys, which have all before it."""
    count = data.draw(st.integers(1, 5))
    copies = data.draw(st.integers(1, count))
    names = [f"n{number}" for number in range(count)]
    settings = SyncSettings(f"ANY {copies} ({', '.join(names)})", "on", "")
    promise = judge(settings, names)
    assert promise.keeps
    has = [0] * count
    acknowledged = 0
    for _ in range(data.draw(st.integers(0, 6))):
        acknowledged += 1
        for node in data.draw(st.sets(st.integers(0, count - 1), min_size=copies)):
            has[node] = acknowledged
    for seen in range(count + 1):
        for nodes in combinations(range(count), seen):
            found = elect(
                [candidate(node, has[node]) for node in nodes],
                among=promise.among,
                needed=promise.needed,
            )
            assert (found.winner is not None) == (seen >= promise.needed)
            if found.winner is not None:
                assert found.winner.position == acknowledged
