"""Each algorithm by its name: its options, and how one set of targets follows another."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

import escala
from escala.balancing import (
    Balancer,
    ConsistentHash,
    LeastConnections,
    PeakEwma,
    PowerOfTwoChoices,
    RoundRobin,
    Target,
    Upstream,
    WeightedRoundRobin,
)
from escala.balancing.balancer import BALANCERS, balancer, balancer_class
from escala.balancing.pure.choice import Member
from escala.errors import ConfigError
from escala.hashing import HashRing
from escala.kernel import registry
from escala.kernel.config import options

KINDS: dict[str, type[Balancer]] = {
    "round_robin": RoundRobin,
    "weighted_round_robin": WeightedRoundRobin,
    "least_connections": LeastConnections,
    "p2c": PowerOfTwoChoices,
    "peak_ewma": PeakEwma,
    "consistent_hash": ConsistentHash,
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def members(count: int, **more: Any) -> list[Member]:
    return [Member(f"http://10.0.0.{number}:80", **more) for number in range(count)]


def draw() -> float:
    return 0.5


def test_all_are_installed_by_their_names() -> None:
    assert set(registry.names(BALANCERS)) >= set(KINDS)
    for name, kind in KINDS.items():
        assert balancer_class(name) is kind
        assert type(balancer(name)) is kind
        assert kind.kind == name
        assert getattr(escala, kind.__name__) is kind


@every_kind
def test_the_constructor_and_the_options_have_the_same_defaults(kind: str) -> None:
    made = KINDS[kind]()
    assert made.options == options(KINDS[kind].Options, {}, where="test")
    assert KINDS[kind].build(made.options).options == made.options
    assert repr(made) == f"{KINDS[kind].__name__}()"


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (PeakEwma(decay=5), "PeakEwma(decay='5s')"),
        (PeakEwma(decay="500ms"), "PeakEwma(decay='500ms')"),
        (PeakEwma(decay="10s"), "PeakEwma()"),
        (ConsistentHash(load_factor=2), "ConsistentHash(load_factor=2.0)"),
        (ConsistentHash(load_factor=1.1, vnodes=64), "ConsistentHash(load_factor=1.1, vnodes=64)"),
    ],
    ids=str,
)
def test_options_are_kept_and_shown(made: Balancer, shown: str) -> None:
    assert repr(made) == shown
    again = type(made).build(made.options)
    assert (again.options, repr(again)) == (made.options, shown)
    plain = {
        name: getattr(value, "text", value)
        for name, value in msgspec.structs.asdict(made.options).items()
    }
    assert options(type(made).Options, plain, where="test") == made.options


@pytest.mark.parametrize(
    ("kind", "given", "text"),
    [
        (PeakEwma, {"decay": 0}, r"PeakEwma: decay: expected a duration.*found 0"),
        (PeakEwma, {"decay": "soon"}, r"PeakEwma: decay: expected .*found 'soon'"),
        (ConsistentHash, {"load_factor": 1}, r"ConsistentHash: load_factor: .*found 1"),
        (ConsistentHash, {"load_factor": 1001}, r"ConsistentHash: load_factor: .*found 1001"),
        (ConsistentHash, {"vnodes": 0}, r"ConsistentHash: vnodes: .*found 0"),
        (ConsistentHash, {"vnodes": 65_537}, r"ConsistentHash: vnodes: .*found 65537"),
    ],
    ids=str,
)
def test_options_that_make_no_sense(kind: type[Balancer], given: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        kind(**given)


@every_kind
def test_a_choice_goes_on_from_the_calls_in_flight(kind: str) -> None:
    busy = [Member("http://a:80", in_flight=50), Member("http://b:80"), Member("http://c:80")]
    choice = KINDS[kind]().over(busy, random.Random(1).random)
    had = Counter(choice.pick(0.0, (), str(number)) for number in range(60))
    if kind.endswith("round_robin"):
        assert had == {0: 20, 1: 20, 2: 20}
    elif kind != "consistent_hash":
        assert had[0] < 5
    else:
        assert had[0] == 0, "its bound is 1.25 thirds of 51 to 110 calls"


@every_kind
def test_weights_count(kind: str) -> None:
    heavy = [Member("http://a:80", 8), Member("http://b:80", 1), Member("http://c:80", 1)]
    choice = KINDS[kind]().over(heavy, random.Random(1).random)
    had = Counter(choice.pick(0.0, (), str(number)) for number in range(1000))
    assert had[0] == pytest.approx(800, abs=100)


@every_kind
def test_skipped_targets_are_picked_only_when_all_are(kind: str) -> None:
    choice = KINDS[kind]().over(members(5), random.Random(1).random)
    for _ in range(200):
        assert choice.pick(0.0, {0, 2, 3, -1, 9}, "key") in {1, 4}
        assert choice.pick(0.0, {0, 1, 2, 3, 4}, "key") in range(5)


@every_kind
def test_a_single_target_is_always_the_one(kind: str) -> None:
    choice = KINDS[kind]().over(members(1), draw)
    for _ in range(20):
        assert choice.pick(1.0, {0}, b"key") == 0
        assert choice.pick(1.0) == 0
        choice.release(0, 2.0, 1.0)


def test_latencies_outlive_a_change_of_the_targets() -> None:
    upstream = Upstream("shop", ["a:1", "b:1"], balance=PeakEwma())
    first, second = upstream.targets
    for target, took in ((first, 3.0), (second, 0.1)):
        assert upstream.pick([each for each in upstream.targets if each is not target]) is target
        upstream.release(target, took=took)
    upstream.update(["a:1", "b:1", "c:1"])
    third = upstream.targets[2]
    upstream.release(upstream.pick([first, second]), took=0.1)
    had = Counter[Target]()
    for _ in range(100):
        had[target := upstream.pick()] += 1
        upstream.release(target, took=0.1)
    assert had[first] == 0
    assert min(had[second], had[third]) > 20


# -- consistent hashing over changing sets


def homes(balance: ConsistentHash, these: list[Member]) -> dict[str, str]:
    choice, found = balance.over(these, draw), {}
    for number in range(2000):
        key = f"user:{number}"
        index = choice.pick(0.0, (), key)
        choice.release(index, 0.0)
        found[key] = these[index].name
    return found


def test_a_target_that_goes_moves_its_own_keys_only_and_gets_them_back() -> None:
    balance, all_of_them = ConsistentHash(), members(10)
    before = homes(balance, all_of_them)
    gone = all_of_them.pop(3)
    between = homes(balance, all_of_them)
    assert {key for key in before if before[key] != between[key]} == {
        key for key in before if before[key] == gone.name
    }
    assert homes(balance, [*all_of_them, gone]) == before, "in any order"


def test_the_places_are_those_of_a_ring_in_every_process() -> None:
    balance = ConsistentHash(vnodes=64)
    homes(balance, members(7))  # what came before does not matter
    ring = HashRing([each.name for each in members(9)], vnodes=64)
    assert all(ring.node(key) == home for key, home in homes(balance, members(9)).items())


def test_a_target_that_warms_up_gets_its_keys_by_and_by_and_moves_no_others() -> None:
    balance, others = ConsistentHash(), members(5)[1:]
    (warming,) = members(1)
    settled = homes(balance, [warming, *others])
    before = homes(balance, others)
    for tenth in range(1, 11):
        # What an upstream says meanwhile: weights in tenths, since they are whole numbers.
        scaled = [each._replace(weight=10, share=1.0) for each in others]
        now = homes(balance, [warming._replace(weight=tenth, share=tenth / 10), *scaled])
        moved = {key for key in now if now[key] != before[key]}
        assert {now[key] for key in moved} == {warming.name}
        before = now
    assert before == settled


def test_an_upstream_says_shares_that_mean_the_same_in_every_set() -> None:
    targets = [Target("a:1", weight=6), Target("b:1", weight=3), Target("c:1", weight=3)]
    upstream = Upstream("shop", targets, balance=ConsistentHash())

    def all_homes() -> dict[str, Target]:
        found = {}
        for number in range(500):
            with upstream.pick(key=f"user:{number}") as target:
                found[f"user:{number}"] = target
        return found

    before = all_homes()
    upstream.update([Target("b:1", weight=3), Target("c:1", weight=3)])
    after = all_homes()
    assert {before[key] for key in after if after[key] is not before[key]} == {targets[0]}


@every_kind
def test_threads_share_a_choice_and_no_call_is_lost(kind: str) -> None:
    upstream = Upstream("shop", ["a:1", "b:1", Target("c:1", weight=2)], balance=kind)

    def work(thread: int) -> None:
        held: list[Target] = []
        for turn in range(500):
            held.append(upstream.pick(held[-1:], key=f"{thread} {turn}"))
            if turn % 3:
                upstream.release(held.pop(turn % len(held)), took=0.01 * (turn % 7))
        for target in held:
            upstream.release(target)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert sum(target.requests for target in upstream.targets) == 6 * 500
    assert [target.in_flight for target in upstream.targets] == [0, 0, 0]
    choice: Any = upstream._fleet._choice
    if hasattr(choice, "_in_flight"):
        assert list(choice._in_flight) == [0, 0, 0]
