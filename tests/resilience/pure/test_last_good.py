"""The latest value of each key: how old, how many, and which goes first."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from escala.resilience.pure.last_good import LastGood

MOST, AGE = 3, 10.0


def kept() -> LastGood[str]:
    return LastGood(most=MOST, max_age=AGE)


def test_a_value_is_found_until_it_is_older_than_it_may_be() -> None:
    values = kept()
    values.keep("a", "tea", 5.0)
    assert values.find("a", 5.0) == ("tea",)
    assert values.find("a", 15.0) == ("tea",)
    assert values.find("a", 15.000001) is None
    assert len(values) == 0, "and is let go"
    assert values.find("b", 5.0) is None


def test_none_is_a_value_too() -> None:
    values: LastGood[None] = LastGood(most=1, max_age=1.0)
    values.keep("a", None, 0.0)
    assert values.find("a", 0.0) == (None,)


def test_a_new_value_replaces_the_old_one_and_makes_it_young() -> None:
    values = kept()
    values.keep("a", "tea", 0.0)
    values.keep("a", "cup", 9.0)
    assert len(values) == 1
    assert values.find("a", 19.0) == ("cup",)


def test_the_oldest_makes_room() -> None:
    values = kept()
    for at, key in enumerate("abc"):
        values.keep(key, key, float(at))
    values.keep("a", "again", 3.0)
    assert len(values) == 3
    values.keep("d", "d", 4.0)
    assert len(values) == 3
    assert [values.find(key, 4.0) for key in "abcd"] == [("again",), None, ("c",), ("d",)]


class LastGoodModel(RuleBasedStateMachine):
    """Keys that come, go stale and come again, beside a list in the order they were kept."""

    def __init__(self) -> None:
        super().__init__()
        self.values: LastGood[int] = LastGood(most=MOST, max_age=AGE)
        self.model: list[tuple[int, int, float]] = []
        self.now = 0.0

    @rule(seconds=st.floats(0, 6))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(key=st.integers(0, 5), value=st.integers())
    def keep(self, key: int, value: int) -> None:
        self.values.keep(key, value, self.now)
        self.model = [each for each in self.model if each[0] != key]
        self.model = [*self.model, (key, value, self.now)][-MOST:]

    @rule(key=st.integers(0, 5))
    def find(self, key: int) -> None:
        here = [(value, at) for other, value, at in self.model if other == key]
        found = self.values.find(key, self.now)
        if here and self.now - here[0][1] <= AGE:
            assert found == (here[0][0],)
        else:
            assert found is None
            self.model = [each for each in self.model if each[0] != key]

    @invariant()
    def bounded(self) -> None:
        assert len(self.values) == len(self.model) <= MOST


TestLastGoodModel = LastGoodModel.TestCase
