"""The queue beside a model that keeps every write: none lost, none out of order, bounds hold."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escala.caching.pure.write_place import Done, Entry
from escala.caching.pure.write_queue import WriteQueue
from escala.resilience.pure.backoff import Backoff

STEPS = 400
MAX_PENDING, MAX_BATCH, MAX_BYTES = 5, 3, 40


class World:
    """Random steps, a source that fails, and what each key ought to come to."""

    def __init__(self, seed: int, *, merge: bool) -> None:
        self.rng, self.merge, self.now = Random(seed), merge, 0.0
        self.queue = WriteQueue[str](
            flush=1.0,
            max_batch=MAX_BATCH,
            max_bytes=MAX_BYTES,
            max_pending=MAX_PENDING,
            park_after=2,
            backoff=Backoff(attempts=1, base=0.5, cap=4.0, jitter="equal"),
            merge=(lambda key, older, newer: older + newer) if merge else None,
        )
        self.sequence = 0
        self.written: dict[str, list[tuple[int, bytes | None]]] = {}  # all accepted, by key
        self.source: dict[str, bytes | None] = {}
        self.seen: dict[str, int] = {}
        self.sent: dict[tuple[str, int], bytes] = {}
        self.rows: dict[int, str] = {}
        self.line: dict[str, str] = {}  # waiter: key
        self.flushes: dict[str, dict[str, int]] = {}  # waiter: what has to be saved, by key
        self.batch: list[Entry[str]] = []
        self.poison: set[str] = set()
        self.waiters = 0
        self.forced: set[str] = set()
        self.through: dict[str, tuple[str, int, bytes]] = {}

    def step(self) -> None:
        steps = [self.write] * 6 + [self.send] * 4 + [self.pause] * 2 + [self.flush]
        steps += [self.leave, self.turn, self.retry, self.go_through]
        self.rng.choice(steps)()
        self.check()

    def pause(self) -> None:
        self.now += self.rng.choice([0.1, 0.5, 1.0, 5.0])

    def turn(self) -> None:
        self.poison = {key for key in "abcdefg" if self.rng.random() < 0.2}
        if self.rng.random() < 0.2:
            self.poison = set("abcdefg")  # an outage

    def new(self) -> tuple[str, str]:
        self.waiters += 1
        return self.rng.choice("abcdefg"), f"waiter-{self.waiters}"

    def write(self) -> None:
        key, waiter = self.new()
        if self.queue.admit(key):
            self.arrive(key)
        else:
            assert self.queue.keys >= MAX_PENDING
            self.queue.wait(key, waiter)
            self.line[waiter] = key

    def arrive(self, key: str) -> None:
        if self.rng.random() < 0.1:
            self.granted(self.queue.withdraw(key))
            return
        self.sequence += 1
        deleted = self.rng.random() < 0.2
        payload = b"" if deleted else f"{self.sequence},".encode()
        entry = Entry[str](key, payload, self.sequence, deleted=deleted)
        self.rows[self.sequence] = key
        self.drop(self.queue.accept(entry, self.now))
        self.written.setdefault(key, []).append((self.sequence, None if deleted else payload))

    def go_through(self) -> None:
        key, waiter = self.new()
        self.queue.force(key)
        self.forced.add(key)
        self.sequence += 1
        payload = f"{self.sequence},".encode()
        entry = Entry[str](key, payload, self.sequence, through=waiter)
        self.through[waiter] = key, self.sequence, payload
        assert self.queue.accept(entry, self.now) == []

    def leave(self) -> None:
        waiting = [*self.line, *self.flushes]
        if waiting:
            waiter = self.rng.choice(waiting)
            assert self.queue.leave(waiter)
            assert not self.queue.leave(waiter)
            self.line.pop(waiter, None)
            self.flushes.pop(waiter, None)

    def flush(self) -> None:
        _, waiter = self.new()
        parked = {entry.key for entry, _ in self.queue.parked()}
        targets = {
            key: writes[-1][0]
            for key, writes in self.written.items()
            if key not in parked and writes[-1][0] > self.seen.get(key, 0)
        }
        if self.queue.flush(waiter):
            assert not targets
        else:
            self.flushes[waiter] = targets

    def retry(self) -> None:
        parked = len(self.queue.parked())
        assert self.queue.retry_parked(self.now) == parked
        assert self.queue.parked() == []

    def send(self) -> None:
        if self.queue.due(self.now) > self.now:
            return
        batch = self.queue.take(self.now)
        assert 0 < len(batch) <= MAX_BATCH
        assert len({entry.key for entry in batch}) == len(batch)
        assert len(batch) == 1 or sum(len(entry.payload) for entry in batch) <= MAX_BYTES
        for _ in range(self.rng.choice([0, 0, 1, 3])):
            self.write()  # while it is being sent
        end = self.rng.random()
        if end < 0.1:
            self.queue.returned(self.now + 0.5)
            assert self.queue.due(self.now) >= self.now + 0.5
            return
        fails = any(entry.key in self.poison for entry in batch)
        if end < 0.3 or not fails:
            for entry in batch:
                if not (fails and entry.key in self.poison):
                    self.save(entry)
        if fails:
            done = self.queue.failed(self.now, self.rng.random(), "no")
            for waiter in done.through:
                self.through.pop(waiter)
        else:
            done = self.queue.saved()
            for waiter in done.through:
                key, sequence, _ = self.through.pop(waiter)
                assert self.seen[key] >= sequence
        self.after(done)

    def save(self, entry: Entry[str]) -> None:
        """As a source that compares sequences does."""
        if self.merge:
            # What was sent once never changes: only then is it safe to save it only once.
            assert self.sent.setdefault((entry.key, entry.sequence), entry.payload) == entry.payload
        if entry.sequence <= self.seen.get(entry.key, 0):
            return
        if entry.through is not None:
            place = self.written.setdefault(entry.key, [])
            place.append((entry.sequence, entry.payload))
            place.sort()
        self.seen[entry.key] = entry.sequence
        if entry.deleted:
            self.source[entry.key] = None
        elif self.merge:
            self.source[entry.key] = (self.source.get(entry.key) or b"") + entry.payload
        else:
            self.source[entry.key] = entry.payload
        assert self.source[entry.key] == self.expected(entry.key, entry.sequence)

    def expected(self, key: str, upto: int) -> bytes | None:
        value: bytes | None = None
        for sequence, payload in self.written[key]:
            if sequence <= upto:
                merged = payload is not None and self.merge
                value = (value or b"") + (payload or b"") if merged else payload
        return value

    def after(self, done: Done[str]) -> None:
        self.drop(done.rows)
        self.granted([waiter for waiter in done.wake if waiter in self.line])
        parked = {entry.key for entry, _ in self.queue.parked()}
        for entry in done.parked:
            assert entry.key in parked
            for targets in self.flushes.values():
                targets.pop(entry.key, None)
        for waiter in done.wake:
            for key, sequence in self.flushes.pop(waiter, {}).items():
                assert self.seen[key] >= sequence

    def granted(self, wake: list[str]) -> None:
        for waiter in wake:
            self.arrive(self.line.pop(waiter))

    def drop(self, rows: list[int]) -> None:
        for row in rows:
            key = self.rows.pop(row)
            # A row may go when a later one, or the source, has what it says.
            later = [number for number, other in self.rows.items() if other == key]
            assert self.seen.get(key, 0) >= row or any(number >= row for number in later)

    def check(self) -> None:
        self.forced &= self.queue._places.keys()
        assert self.queue.keys <= MAX_PENDING + len(self.forced)
        for key, writes in self.written.items():
            found = self.queue.look(key)
            if writes[-1][0] > self.seen.get(key, 0) or found is not None:
                assert found is not None, "what the source has not is pending"
                deleted, payload = found
                wanted = writes[-1][1]
                assert deleted is (wanted is None)
                if not self.merge and not deleted:
                    assert payload == wanted
                if self.merge and wanted is not None:
                    assert payload is not None
                    assert payload.endswith(wanted)

    def drain(self) -> None:
        self.poison = set()
        self.queue.retry_parked(self.now)
        for _ in range(1000):
            if self.queue.due(self.now) <= self.now:
                for entry in self.queue.take(self.now):
                    self.save(entry)
                self.after(self.queue.saved())
            elif self.queue.entries:
                self.now += 1.0
            else:
                break
        assert not self.queue.entries
        assert not self.queue.bytes
        assert not self.queue.keys
        assert not self.line
        assert not self.flushes
        assert not self.rows, "the journal is empty when the queue is"
        assert self.queue.due(self.now) == float("inf")
        for key, writes in self.written.items():
            assert self.source[key] == self.expected(key, writes[-1][0])


@pytest.mark.parametrize("merge", [False, True], ids=["last", "merge"])
@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_keeps_what_the_model_keeps(seed: int, *, merge: bool) -> None:
    world = World(seed, merge=merge)
    for _ in range(STEPS):
        world.step()
    world.drain()
