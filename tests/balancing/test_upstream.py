"""Who is picked, who is left out, and what is counted: no clock and no loop needed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.balancing import (
    Balancer,
    HealthCheck,
    LeastConnections,
    RoundRobin,
    Target,
    TargetChanged,
    Upstream,
)
from escala.balancing.pure.choice import Choice, Member
from escala.errors import (
    BackendError,
    ConfigError,
    NoHealthyBackend,
    RateLimited,
    Unavailable,
)
from escala.kernel.events import subscribe


def shop(
    balance: Balancer | str | None = None,
    *,
    count: int = 3,
    checked: bool = True,
    panic: bool = False,
) -> Upstream:
    health = HealthCheck() if checked else None
    targets = [f"10.0.0.{number}:80" for number in range(1, count + 1)]
    return Upstream("shop", targets, balance=balance, health=health, panic=panic)


def judge(upstream: Upstream, *oks: bool | None) -> None:
    """Let one check after another decide: True makes healthy, False unhealthy, None neither."""
    for target, ok in zip(upstream.targets, oks, strict=True):
        for _ in range(2):
            if ok is not None:
                upstream._observe(target, ok)


def numbers(targets: list[Target]) -> list[int]:
    return [int(target.host.rpartition(".")[2]) for target in targets]


def picked(upstream: Upstream, count: int) -> list[int]:
    return numbers([upstream.pick() for _ in range(count)])


# -- who may be picked


def test_without_a_health_check_everyone_is_picked() -> None:
    assert picked(shop(checked=False), 6) == [1, 2, 3, 1, 2, 3]


def test_before_the_first_check_everyone_is_picked() -> None:
    upstream = shop()
    assert picked(upstream, 6) == [1, 2, 3, 1, 2, 3]
    assert not upstream.ready


def test_once_one_is_known_to_be_healthy_only_such_are_picked() -> None:
    upstream = shop()
    judge(upstream, None, True, None)
    assert upstream.ready
    assert picked(upstream, 3) == [2, 2, 2]
    judge(upstream, None, True, True)
    assert picked(upstream, 4) == [3, 2, 3, 2]


def test_what_is_unknown_is_better_than_what_is_unhealthy() -> None:
    upstream = shop()
    judge(upstream, False, None, False)
    assert picked(upstream, 2) == [2, 2]
    assert not upstream.panicking


@pytest.mark.parametrize("balance", ["round_robin", "least_connections"])
@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=40),
    st.lists(st.integers(0, 3), max_size=3),
)
def test_an_unhealthy_target_is_never_picked(
    balance: str, checks: list[tuple[int, bool]], avoid: list[int]
) -> None:
    upstream = shop(balance, count=4)
    avoided = [upstream.targets[index] for index in avoid]
    for index, ok in checks:
        upstream._observe(upstream.targets[index], ok)
        states = {target.state.value for target in upstream.targets}
        try:
            target = upstream.pick(avoided)
        except NoHealthyBackend:
            assert states == {"unhealthy"}
        else:
            assert target.state.value == ("healthy" if "healthy" in states else "starting")
            alike = {each for each in upstream.targets if each.state is target.state}
            assert target not in avoided or alike.issubset(avoided)


def test_no_healthy_target_is_an_error_that_says_what_to_do() -> None:
    upstream = shop()
    judge(upstream, False, False, False)
    with pytest.raises(NoHealthyBackend) as refused:
        upstream.pick()
    assert isinstance(refused.value, Unavailable)
    assert str(refused.value) == (
        "upstream shop: none of its 3 targets is healthy ("
        "10.0.0.1:80 unhealthy: 2 checks in a row failed; "
        "10.0.0.2:80 unhealthy: 2 checks in a row failed; "
        "10.0.0.3:80 unhealthy: 2 checks in a row failed). "
        "See that they run and pass their health check, "
        "or set `panic` to send calls to them all the same"
    )
    assert [target.requests for target in upstream.targets] == [0, 0, 0]


def test_the_error_of_a_large_upstream_stays_short() -> None:
    upstream = shop(count=10)
    judge(upstream, *[False] * 10)
    with pytest.raises(NoHealthyBackend, match=r"none of its 10 targets .* failed; and 2 more\)"):
        upstream.pick()
    upstream = shop(count=2)
    judge(upstream, False, False)
    with pytest.raises(NoHealthyBackend, match="none of its 2 targets is healthy"):
        upstream.pick()
    upstream = shop(count=8)
    judge(upstream, *[False] * 8)
    with pytest.raises(NoHealthyBackend) as refused:
        upstream.pick()
    assert "10.0.0.8:80" in str(refused.value)
    assert "more" not in str(refused.value)


def test_the_error_of_a_single_target_is_in_the_singular() -> None:
    upstream = shop(count=1)
    judge(upstream, False)
    with pytest.raises(
        NoHealthyBackend, match=r"shop: its only target is not healthy \(10\.0\.0\.1:"
    ):
        upstream.pick()


def test_panic_is_for_those_who_asked_and_only_when_none_is_left() -> None:
    upstream = shop(panic=True)
    judge(upstream, False, False, True)
    assert picked(upstream, 2) == [3, 3]
    assert not upstream.panicking
    judge(upstream, False, False, False)
    assert upstream.panicking
    assert not upstream.ready
    assert picked(upstream, 3) == [1, 2, 3]
    judge(upstream, True, False, False)
    assert not upstream.panicking
    assert picked(upstream, 2) == [1, 1]


def test_without_panic_no_one_panics() -> None:
    upstream = shop()
    judge(upstream, False, False, False)
    assert not upstream.panicking


# -- which of them


def test_round_robin_is_the_default_and_weights_are_exact() -> None:
    targets = [Target("10.0.0.1:80", weight=2), Target("10.0.0.2:80"), Target("10.0.0.3:80")]
    upstream = Upstream("shop", targets)
    assert Counter(picked(upstream, 400)) == {1: 200, 2: 100, 3: 100}
    assert repr(upstream) == "Upstream('shop', 3 targets, RoundRobin())"


def test_least_connections_sees_calls_that_go_on() -> None:
    upstream = shop(LeastConnections())
    first, second, _ = (upstream.pick() for _ in range(3))
    upstream.release(second)
    assert upstream.pick() is second
    upstream.release(first)
    upstream.release(first := upstream.pick())
    assert first is upstream.targets[0]


def test_least_connections_lets_idle_targets_take_turns() -> None:
    upstream, order = shop(LeastConnections()), list[Target]()
    for _ in range(6):
        with upstream.pick() as target:
            order.append(target)
    assert numbers(order) == [1, 2, 3, 1, 2, 3]


def test_a_call_that_ends_while_its_target_is_out_is_no_one_elses() -> None:
    upstream = shop(LeastConnections())
    first = upstream.pick()
    judge(upstream, False, True, True)
    upstream.release(first)
    assert picked(upstream, 4) == [2, 3, 2, 3]


def test_calls_in_flight_outlive_a_change_of_health() -> None:
    upstream = shop("least_connections", count=2)
    busy = [upstream.pick() for _ in range(6)]
    judge(upstream, True, False)
    assert [target.in_flight for target in upstream.targets] == [3, 3]
    for target in busy:
        if target is upstream.targets[1]:
            upstream.release(target)
    judge(upstream, True, True)
    assert picked(upstream, 3) == [2, 2, 2], "it has none in flight, the other still three"
    assert sorted(picked(upstream, 2)) == [1, 2]


def test_a_call_that_ends_while_its_target_is_out_is_given_back() -> None:
    upstream = shop("least_connections", count=2)
    first = upstream.pick()
    judge(upstream, False, True)
    upstream.release(first, ok=False)
    assert upstream.snapshot()[0] == {
        "address": "10.0.0.1:80",
        "state": "unhealthy",
        "healthy": False,
        "ejected": False,
        "weight": 1,
        "zone": "",
        "priority": 0,
        "in_flight": 0,
        "requests": 1,
        "failures": 1,
        "ejections": 0,
    }


def test_a_call_that_ends_when_every_target_is_out_is_given_back() -> None:
    upstream = shop("least_connections", count=1)
    target = upstream.pick()
    judge(upstream, False)
    upstream.release(target)
    assert target.in_flight == 0


def test_a_change_of_health_goes_on_behind_the_last_one_picked() -> None:
    upstream = shop(count=4)
    judge(upstream, True, True, True, True)
    assert picked(upstream, 2) == [1, 2]
    judge(upstream, True, True, True, False)
    assert picked(upstream, 4) == [3, 1, 2, 3]
    judge(upstream, True, True, True, True)
    assert picked(upstream, 4) == [4, 1, 2, 3]


def test_news_that_changes_no_one_keep_the_round_going() -> None:
    targets = [Target("10.0.0.1:80", weight=3), Target("10.0.0.2:80"), Target("10.0.0.3:80")]
    upstream = Upstream("shop", targets, health=HealthCheck())
    judge(upstream, True, True, None)
    before = picked(upstream, 2)
    judge(upstream, None, None, False)  # it was not picked before either
    assert Counter(before + picked(upstream, 2)) == {1: 3, 2: 1}


def test_a_retry_goes_to_another_target_while_there_is_one() -> None:
    upstream = shop()
    tried: list[Target] = []
    for _ in range(3):
        tried.append(upstream.pick(tried))
    assert numbers(tried) == [1, 2, 3]
    assert upstream.pick(tuple(tried)) in tried
    judge(upstream, True, False, False)
    assert upstream.pick(frozenset(upstream.targets[:1])) is upstream.targets[0]


def test_targets_of_another_upstream_are_not_avoided() -> None:
    upstream, other = shop(), shop()
    assert picked(other, 1) == [1]
    assert numbers([upstream.pick([other.targets[0]])]) == [1]


def test_a_balancer_may_come_from_elsewhere() -> None:
    class Last(Balancer):
        kind = "last"

        def over(self, members: Sequence[Member], draw: Callable[[], float]) -> Choice:
            class Always(Choice):
                def pick(
                    self,
                    now: float,
                    skip: Collection[int] = (),
                    key: str | bytes | None = None,
                ) -> int:
                    return len(members) - 1

                def release(self, index: int, now: float, took: float | None = None) -> None:
                    assert index == len(members) - 1

            return Always()

    upstream = shop(Last())
    assert picked(upstream, 3) == [3, 3, 3]
    upstream.release(upstream.targets[2])
    assert repr(upstream.balance) == "Last()"


# -- what is counted


def test_a_block_gives_its_target_back() -> None:
    upstream = shop()
    with upstream.pick() as target:
        assert target.in_flight == 1
    assert (target.in_flight, target.requests, target.failures) == (0, 1, 0)


@pytest.mark.parametrize(
    ("error", "failures"),
    [
        (ValueError("no"), 1),
        (TimeoutError(), 1),
        (ConnectionResetError(), 1),
        (BackendError("garbage"), 1),
        (RateLimited("limit", "too many"), 0),
        (asyncio.CancelledError(), 0),
        (KeyboardInterrupt(), 0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_how_a_block_ends_counts(error: BaseException, failures: int) -> None:
    upstream = shop()
    with pytest.raises(type(error)), upstream.pick() as target:
        raise error
    assert (target.in_flight, target.requests, target.failures) == (0, 1, failures)


@pytest.mark.parametrize(("ok", "failures"), [(True, 0), (None, 0), (False, 1)], ids=str)
def test_how_a_call_is_released_counts(*, ok: bool | None, failures: int) -> None:
    upstream = shop()
    target = upstream.pick()
    upstream.release(target, ok=ok)
    assert (target.in_flight, target.requests, target.failures) == (0, 1, failures)


def test_a_target_cannot_be_released_twice() -> None:
    upstream = shop("least_connections")
    target = upstream.pick()
    upstream.release(target)
    with pytest.raises(
        RuntimeError, match=r"'http://10\.0\.0\.1:80'\) was released more often than"
    ):
        upstream.release(target, ok=False)
    assert (target.in_flight, target.failures) == (0, 0)


def test_a_stranger_is_neither_released_nor_reported() -> None:
    upstream, stranger = shop(), shop().pick()
    for call in (upstream.release, upstream.report):
        with pytest.raises(ValueError, match=r"10\.0\.0\.1:80'\) is no target of upstream shop"):
            call(stranger, ok=True)


def test_the_snapshot_is_plain() -> None:
    upstream = Upstream("shop", [Target("10.0.0.1:80", weight=3)], health=HealthCheck())
    upstream.release(upstream.pick(), ok=False)
    upstream.pick()
    assert upstream.snapshot() == [
        {
            "address": "10.0.0.1:80",
            "state": "starting",
            "healthy": False,
            "ejected": False,
            "weight": 3,
            "zone": "",
            "priority": 0,
            "in_flight": 1,
            "requests": 2,
            "failures": 1,
            "ejections": 0,
        }
    ]
    judge(upstream, True)
    assert upstream.snapshot()[0]["healthy"] is True


# -- what it refuses


def test_an_upstream_without_targets_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="upstream shop: expected at least one target, found none"
    ):
        Upstream("shop", [])


def test_a_target_listed_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"shop: the target http://a:1 is listed twice"):
        Upstream("shop", ["a:1", Target("http://A:1", weight=2)])


def test_a_target_of_two_upstreams_is_refused() -> None:
    target = Target("a:1")
    first = Upstream("first", [target])
    with pytest.raises(ConfigError, match=r"upstream second: Target.* belongs to upstream first"):
        Upstream("second", ["b:1", target])
    assert target.upstream is first


def test_an_unknown_balancer_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"least_connections.*found 'least_connection'"):
        Upstream("shop", ["a:1"], balance="least_connection")


def test_a_balancer_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("escala.kernel.registry.load", lambda group, name: (group, name))
    with pytest.raises(ConfigError, match=r"'odd' in escala\.balancers is no balancer class"):
        Upstream("shop", ["a:1"], balance="odd")


# -- what it tells


def test_changes_of_health_are_events() -> None:
    upstream, told = shop(count=2), list[TargetChanged]()
    stop = subscribe(TargetChanged, told.append)
    try:
        judge(upstream, True, False)
        judge(upstream, False, None)
        judge(upstream, True, None)
    finally:
        stop()
    assert [(event.name, event.target, event.healthy, event.reason) for event in told] == [
        ("shop", "10.0.0.1:80", True, "the first check passed"),
        ("shop", "10.0.0.2:80", False, "2 checks in a row failed"),
        ("shop", "10.0.0.1:80", False, "2 checks in a row failed"),
        ("shop", "10.0.0.1:80", True, "2 checks in a row passed"),
    ]


def test_a_listener_may_call_the_upstream_back() -> None:
    upstream, seen = shop(), list[Target]()
    stop = subscribe(TargetChanged, lambda event: seen.append(upstream.pick()))
    try:
        judge(upstream, True, None, None)
    finally:
        stop()
    assert numbers(seen) == [1]


# -- connections that fail, while no check runs


def test_failed_connections_take_no_one_out_while_no_check_could_bring_it_back() -> None:
    for upstream in (shop(checked=False), shop()):
        for _ in range(10):
            upstream.report(upstream.targets[0], ok=False)
        assert picked(upstream, 3) == [1, 2, 3]


def test_what_an_upstream_is_made_of_unless_told_otherwise() -> None:
    upstream = Upstream("shop", ["a:1"])
    assert isinstance(upstream.balance, RoundRobin)
    assert (upstream.health, upstream.panic) == (None, False)
