"""S3-FIFO does, step by step, what a slow and plain form of it does."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from tests.caching.pure.s3_fifo_model import SlowS3Fifo

from escala.caching.pure.entry import Entry, Terms, WeighedEntry
from escala.caching.pure.s3_fifo import S3Fifo

KEYS = st.integers(0, 40)
NONE = 10**9


class Beside(RuleBasedStateMachine):
    """Both get the same steps and must keep the same entries, with the same visits."""

    fifo: S3Fifo
    model: SlowS3Fifo

    def __init__(self) -> None:
        super().__init__()
        self.now, self.before = 0.0, 0

    @initialize(
        max_entries=st.sampled_from([None, 1, 2, 3, 9, 10, 20, 30]),
        max_weight=st.sampled_from([None, 1, 7, 16, 40, 100]),
    )
    def begin(self, max_entries: int | None, max_weight: int | None) -> None:
        if max_entries is None and max_weight is None:
            max_entries = 12
        self.weighed = max_weight is not None
        self.most, self.heaviest = max_entries or NONE, max_weight or NONE
        self.fifo = S3Fifo(max_entries=max_entries, max_weight=max_weight)
        self.model = SlowS3Fifo(self.most, self.heaviest)

    def entry(self, key: int, weight: int, left: float) -> Entry:
        terms = Terms(9.0, revalidate=0.5, rescue=1.0, early=0.25)
        until = self.now + left - 1.25
        if self.weighed:
            return WeighedEntry(key, object(), until=until, terms=terms, weight=weight)
        return Entry(key, object(), until=until, terms=terms)

    @rule(key=KEYS, weight=st.integers(1, 14), left=st.sampled_from([1.0, 5.0, 1e6]))
    def put(self, key: int, weight: int, left: float) -> None:
        weight = weight if self.weighed else 0
        entry = self.entry(key, weight, left)
        kept = self.fifo.put(entry, self.now)
        assert kept is self.model.put(key, weight, self.now + left, self.now)
        assert (self.fifo.table.get(key) is entry) is kept

    @rule(keys=st.lists(KEYS, max_size=30))
    def look_up(self, keys: list[int]) -> None:
        """What callers do: count a hit, or load and put."""
        for key in keys:
            entry = self.fifo.table.get(key)
            assert (entry is not None) is self.model.hit(key)
            if entry is None:
                self.put(key, 1, 1e6)
            elif entry.visits < 3:
                entry.visits += 1

    @rule(key=KEYS)
    def remove(self, key: int) -> None:
        before = self.fifo.table.get(key)
        assert self.fifo.remove(key) is before
        assert self.model.remove(key) is (before is not None)

    @rule(seconds=st.sampled_from([0.5, 1.0, 4.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: len(self.fifo.table) > 8)
    @rule()
    def clear(self) -> None:
        self.fifo.clear()
        self.before += self.model.evictions
        self.model = SlowS3Fifo(self.most, self.heaviest)

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "fifo"):
            return
        seen = {key: entry.visits for key, entry in self.fifo.table.items()}
        assert seen == {key: kept.visits for key, kept in self.model.kept.items()}
        assert self.fifo.evicted == self.before + self.model.evictions
        assert self.fifo.weight == self.model.weight <= self.heaviest
        assert len(seen) <= self.most
        assert [*self.fifo._small, *self.fifo._main] == list(self.model.places())


Beside.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestBeside = Beside.TestCase
