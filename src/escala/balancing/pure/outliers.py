"""Which targets answer worse than the others do: counted from the calls themselves."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, inf, sqrt
from typing import NamedTuple

LEAST_DEVIATION = 0.05  # of success rates: what is less is chance
LEAST_DELAY = 0.01  # seconds above the median: what is less is chance too


class Rules(NamedTuple):
    """When a target is an outlier, and for how long; `None` or 0 where nothing is looked for."""

    in_a_row: int
    deviations: float
    slower: float
    interval: float
    calls: int
    ejection: float
    longest: float
    most: float


class Ejection(NamedTuple):
    """A target is left out for so many seconds, or (0) it is picked again; and why."""

    name: str
    at: float
    seconds: float
    reason: str


class Record:
    """What is counted of one target: a few numbers, whatever the traffic."""

    __slots__ = ("calls", "failed", "in_a_row", "name", "seconds", "strikes", "timed", "until")

    def __init__(self, name: str) -> None:
        self.name = name
        self.in_a_row = 0
        self.strikes = 0  # how often it was ejected, less the intervals it was good for since
        self.until = -inf  # ejected until then
        self.forget()

    def forget(self) -> None:
        """Begin a new interval."""
        self.calls = self.failed = self.timed = 0
        self.seconds = 0.0

    @property
    def rate(self) -> float:
        """The share of its calls in this interval that did not fail."""
        return 1.0 - self.failed / self.calls

    @property
    def mean(self) -> float:
        """Seconds a call took that did not fail."""
        return self.seconds / self.timed


class Outliers:
    """Ejects targets that fail `in_a_row` times, or do worse in an `interval` than the others.

    - A row of failures ejects at once. At the end of each interval, with at least `calls` calls
      to each target that is looked at, and at least three of those:
      a success rate below the mean of the others minus `deviations` times their standard
      deviation (or 5 points, if that is more) ejects; so does a mean time of successful calls
      above `slower` times the median of all, and 10 ms above it. The target itself is left out
      of the mean and the deviation:
      within n values none can be more than `(n - 1) / sqrt(n)` deviations from a mean that it is
      part of (Shiffler, "Maximum Z scores and outliers", 1988), so that among five targets a
      dead one would go unnoticed at 1.9, where Envoy draws the line.
    - The n-th ejection lasts `n * ejection` seconds, `longest` at most; n shrinks by one for each
      whole interval in which the target was not out. One that is out counts for nothing.
    - At most a share of `most` of the targets is out at a time, one if that is less, and never
      the last one. Who would be one too many stays in, and is judged again by its next calls.

    O(1) a call and O(n log n) at the end of an interval, which comes with the first call after it.
    """

    __slots__ = ("_ends", "_out", "_records", "_rules", "due")

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._records: dict[str, Record] = {}
        self._out: set[str] = set()
        self._ends = inf
        self.due = inf
        """When `turn` has something to do."""

    @property
    def ejected(self) -> int:
        """How many targets are out."""
        return len(self._out)

    def watch(self, names: set[str], now: float) -> list[Ejection]:
        """These are the targets from now on; what is known of those that stay is kept.

        When fewer are left, fewer may be out: those whose time is over first come back.
        """
        for name in self._records.keys() - names:
            del self._records[name]
            self._out.discard(name)
        for name in names - self._records.keys():
            self._records[name] = Record(name)
        if self._ends == inf:
            self._ends = now + self._rules.interval
        out = sorted(self._out, key=lambda name: (self._records[name].until, name))
        back = out[: max(0, len(out) - self._room())]
        self._out.difference_update(back)
        self._set_due()
        return [Ejection(name, now, 0.0, "too many would be out") for name in back]

    def out(self, name: str) -> bool:
        """Whether this target is ejected."""
        return name in self._out

    def until(self, name: str) -> float:
        """When an ejected target comes back."""
        return self._records[name].until

    def record(
        self, name: str, now: float, *, ok: bool, took: float | None = None
    ) -> Ejection | None:
        """A call to this target is over."""
        record = self._records.get(name)
        if record is None or name in self._out:
            return None
        record.calls += 1
        if ok:
            record.in_a_row = 0
            if took is not None:
                record.timed += 1
                record.seconds += took
            return None
        record.failed += 1
        record.in_a_row += 1
        if not 0 < self._rules.in_a_row <= record.in_a_row:
            return None
        failed = f"{record.in_a_row} calls in a row" if record.in_a_row > 1 else "a call"
        return self._eject(record, now, f"{failed} failed")

    def turn(self, now: float) -> list[Ejection]:
        """Bring back whose time is over, and judge the interval if it is."""
        changes = []
        for name in sorted(self._out):
            if self._records[name].until <= now:
                self._out.discard(name)
                changes.append(Ejection(name, now, 0.0, "its time is over"))
        if now >= self._ends:
            changes += self._judge(now)
            self._ends = now + self._rules.interval
        self._set_due()
        return changes

    def _judge(self, now: float) -> Iterator[Ejection]:
        rules = self._rules
        inside = [each for each in self._records.values() if each.name not in self._out]
        began = self._ends - rules.interval
        for record in inside:
            peace = int((now - max(record.until, began)) / rules.interval)
            record.strikes = max(record.strikes - peace, 0)
        found: list[tuple[float, Record, str]] = []
        if rules.deviations:
            found += self._failing([each for each in inside if each.calls >= rules.calls])
        if rules.slower:
            found += self._slow([each for each in inside if each.timed >= rules.calls])
        for _, record, reason in sorted(found, key=lambda each: (-each[0], each[1].name)):
            if record.name not in self._out and (made := self._eject(record, now, reason)):
                yield made
        for record in self._records.values():
            record.forget()

    def _failing(self, records: list[Record]) -> Iterator[tuple[float, Record, str]]:
        if len(records) < _FEWEST:
            return
        others = len(records) - 1
        total = sum(record.rate for record in records)
        squares = sum(record.rate**2 for record in records)
        for record in records:
            mean = (total - record.rate) / others
            variance = max((squares - record.rate**2) / others - mean**2, 0.0)
            least = mean - self._rules.deviations * max(sqrt(variance), LEAST_DEVIATION)
            if record.rate < least:
                reason = f"{record.rate:.0%} of its calls succeeded, {mean:.0%} of the others'"
                yield mean - record.rate, record, reason

    def _slow(self, records: list[Record]) -> Iterator[tuple[float, Record, str]]:
        if len(records) < _FEWEST:
            return
        means = sorted(record.mean for record in records)
        middle = (means[(len(means) - 1) // 2] + means[len(means) // 2]) / 2
        for record in records:
            if record.mean > max(self._rules.slower * middle, middle + LEAST_DELAY):
                reason = f"its calls took {_time(record.mean)}, the median is {_time(middle)}"
                yield 0.0, record, reason

    def _eject(self, record: Record, now: float, reason: str) -> Ejection | None:
        if len(self._out) >= self._room():
            return None
        rules = self._rules
        record.strikes = min(record.strikes + 1, ceil(rules.longest / rules.ejection))
        seconds = min(record.strikes * rules.ejection, rules.longest)
        record.until = now + seconds
        record.in_a_row = 0
        record.forget()
        self._out.add(record.name)
        self._set_due()
        return Ejection(record.name, now, seconds, reason)

    def _room(self) -> int:
        """How many may be out: 29 % of 100 is 28.999... in floats."""
        many = len(self._records)
        return min(max(1, int(round(self._rules.most * many, 6))), max(0, many - 1))

    def _set_due(self) -> None:
        back = min((self._records[name].until for name in self._out), default=inf)
        self.due = min(self._ends, back)


_FEWEST = 3  # two cannot say which of them is odd


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"
