"""After an invalidation nothing is stored, for so long, and never for less."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from escala.caching.pure.hold_off import HoldOff


def test_a_name_is_held_until_then_and_no_other() -> None:
    holds = HoldOff()
    holds.hold("a", until=5, now=1)
    assert holds.blocks(["b", "a"], now=4.999)
    assert not holds.blocks(["a"], now=5)
    assert not holds.blocks(["b"], now=2)
    assert not holds.blocks([], now=2)


def test_the_later_end_counts() -> None:
    holds = HoldOff()
    holds.hold("a", until=5, now=1)
    holds.hold("a", until=3, now=2)
    assert holds.blocks(["a"], now=4)
    holds.hold("a", until=7, now=2)
    assert holds.blocks(["a"], now=6)


def test_all_are_held_until_the_later_end() -> None:
    holds = HoldOff()
    assert not holds.blocks([], now=0)
    holds.hold_all(until=5)
    holds.hold_all(until=3)
    assert holds.blocks([], now=4.999)
    assert holds.blocks(["a"], now=4)
    assert not holds.blocks(["a"], now=5)


def test_of_more_names_than_it_knows_all_are_held_until_the_last_has_passed() -> None:
    holds = HoldOff(limit=2)
    holds.hold("a", until=9, now=1)
    holds.hold("b", until=5, now=1)
    assert not holds.blocks(["x"], now=2)
    holds.hold("c", until=7, now=1)
    assert holds.blocks(["x"], now=8.999)
    assert not holds.blocks(["a", "b", "c"], now=9)
    holds.hold("d", until=20, now=9)
    assert not holds.blocks(["x"], now=10), "there is room again"


def test_the_newest_may_be_the_last_of_them() -> None:
    holds = HoldOff(limit=1)
    holds.hold("a", until=5, now=1)
    holds.hold("b", until=7, now=1)
    assert holds.blocks(["x"], now=6.999)
    assert not holds.blocks(["x"], now=7)


def test_nor_does_that_shorten_a_hold_on_all() -> None:
    holds = HoldOff(limit=1)
    holds.hold_all(until=10)
    holds.hold("a", until=3, now=1)
    holds.hold("b", until=3, now=1)
    assert holds.blocks(["x"], now=9.999)


def test_a_name_that_is_known_makes_no_room() -> None:
    holds = HoldOff(limit=1)
    holds.hold("a", until=5, now=1)
    holds.hold("a", until=6, now=1)
    assert not holds.blocks(["x"], now=2)


def test_what_has_passed_makes_room() -> None:
    holds = HoldOff(limit=2)
    holds.hold("", until=2, now=1)
    holds.hold("b", until=3, now=1)
    holds.hold("c", until=9, now=2)
    assert not holds.blocks(["x"], now=2), "the first had passed"
    holds.hold("d", until=9, now=2.999)
    assert holds.blocks(["x"], now=3), "the second had not"


def test_it_knows_ten_thousand_names() -> None:
    holds = HoldOff()
    for number in range(10_000):
        holds.hold(f"k{number}", until=9, now=1)
    assert not holds.blocks(["x"], now=2)
    holds.hold("one more", until=9, now=1)
    assert holds.blocks(["x"], now=2)


class HoldOffModel(RuleBasedStateMachine):
    """It blocks whatever an unbounded one would; and of few names nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.few, self.many = HoldOff(limit=2), HoldOff(limit=100)
        self.now = 0.0
        self.until: dict[str, float] = {}
        self.all = 0.0

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(name=st.sampled_from("abcd"), seconds=st.sampled_from([0.5, 1.0, 2.0]))
    def hold(self, name: str, seconds: float) -> None:
        until = self.now + seconds
        for holds in (self.few, self.many):
            holds.hold(name, until=until, now=self.now)
        self.until[name] = max(self.until.get(name, 0.0), until)

    @rule(seconds=st.sampled_from([0.5, 1.0]))
    def hold_all(self, seconds: float) -> None:
        for holds in (self.few, self.many):
            holds.hold_all(until=self.now + seconds)
        self.all = max(self.all, self.now + seconds)

    @rule(names=st.lists(st.sampled_from("abcd"), max_size=2))
    def blocks(self, names: list[str]) -> None:
        expected = self.now < max(self.all, *(self.until.get(name, 0.0) for name in names), 0.0)
        assert self.many.blocks(names, now=self.now) == expected
        if expected:
            assert self.few.blocks(names, now=self.now)
        if self.now >= max(self.all, *self.until.values(), 0.0):
            assert not self.few.blocks(names, now=self.now), "it ends with the last of them"


TestHoldOffModel = HoldOffModel.TestCase
TestHoldOffModel.settings = settings(max_examples=150, stateful_step_count=40)
