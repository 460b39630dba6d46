"""A slot: who may serve, who may load, who may store, and until exactly when."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from escala.caching.pure.blob import Header, Mark
from escala.caching.pure.slot import NOTHING, Look, Slot
from escala.caching.pure.versions import Standing

EPOCH = b"12345678"


class Still:
    """A life in which nothing happens unless it is said."""

    epoch = EPOCH
    clock = 5
    found = Standing.VALID
    held = 0.0
    asked: tuple[int, tuple[str, ...]] | None = None

    def standing(self, clock: int, tags: tuple[str, ...]) -> Standing:
        self.asked = clock, tags
        return self.found

    def held_off(self, born: float, tags: tuple[str, ...]) -> bool:
        assert tags == ("t",)
        return born < self.held


def header(
    born: float = 100.0, *, clock: int = 5, epoch: bytes = EPOCH, fresh: float = 10.0
) -> Header:
    return Header(Mark(epoch, clock, born), fresh, 20.0, 0.1, ("t",), negative=False)


def filled(head: Header | None = None, *, keep: float = 1000.0, now: float = 100.0) -> Slot:
    slot = Slot()
    assert slot.lend(b"load", 1.0, now)
    assert slot.store(b"load", now, Still(), blob=b"blob", header=head or header(), keep=keep)
    return slot


def test_a_new_slot_has_nothing_and_is_over() -> None:
    slot = Slot()
    assert slot.look(0.0, Still()) == NOTHING == Look(there=False, expired=False, due=True)
    assert (slot.blob, slot.over, slot.wait(0.0)) == (b"", 0.0, 0.0)


@pytest.mark.parametrize(
    ("now", "there", "due"),
    [
        (98.0, False, True),
        (98.99, False, True),
        (99.0, True, False),
        (100.0, True, False),
        (109.99, True, False),
        (110.0, True, True),
        (129.99, True, True),
        (130.0, False, True),
    ],
)
def test_fresh_then_stale_then_gone(now: float, there: bool, due: bool) -> None:
    look = filled().look(now, Still())
    assert look == Look(there=there, expired=False, due=due)


def test_it_is_there_as_long_as_it_is_kept() -> None:
    slot = filled(keep=5.0)
    assert slot.over == 105.0
    assert slot.look(104.99, Still()).there
    assert slot.look(105.0, Still()) == NOTHING


def test_what_invalidations_say_is_asked_for_the_blobs_own_moment() -> None:
    slot, life = filled(header(clock=3)), Still()
    assert slot.look(100.0, life).there
    assert life.asked == (3, ("t",))


def test_a_blob_that_a_tag_has_hit() -> None:
    slot, life = filled(), Still()
    life.found = Standing.EXPIRED
    assert slot.look(100.0, life) == Look(there=True, expired=True, due=True)
    life.found = Standing.GONE
    assert slot.look(100.0, life) == NOTHING


@pytest.mark.parametrize(("clock", "there"), [(4, False), (5, True), (6, True)])
def test_a_clock_ahead_of_the_stores_is_of_another_life(clock: int, there: bool) -> None:
    slot, life = filled(), Still()
    life.clock = clock
    assert slot.look(100.0, life).there is there


def test_a_blob_of_another_epoch_is_gone() -> None:
    slot, life = filled(), Still()
    life.epoch = b"another1"
    assert slot.look(100.0, life) == NOTHING


def test_the_lease_is_one_callers_until_its_time_is_up() -> None:
    slot = Slot()
    assert slot.lend(b"a", 10.0, 100.0)
    assert slot.wait(104.0) == 6.0
    assert slot.lend(b"a", 10.0, 105.0), "the same caller's"
    assert not slot.lend(b"b", 10.0, 114.99)
    assert slot.wait(114.0) == 1.0
    assert slot.wait(116.0) == 0.0
    assert slot.lend(b"b", 10.0, 115.0)
    assert slot.over == 125.0


def test_a_lease_that_ends_is_no_ones() -> None:
    slot = Slot()
    slot.lend(b"a", 10.0, 100.0)
    slot.release(b"b")
    assert not slot.lend(b"b", 10.0, 101.0)
    slot.release(b"a")
    assert (slot.wait(101.0), slot.over) == (0.0, 0.0)
    assert slot.lend(b"b", 10.0, 101.0)


@pytest.mark.parametrize(
    ("token", "now", "stored"),
    [(b"a", 109.99, True), (b"a", 110.0, False), (b"b", 101.0, False)],
)
def test_only_the_lease_stores(token: bytes, now: float, stored: bool) -> None:
    slot = Slot()
    slot.lend(b"a", 10.0, 100.0)
    head = header()
    assert slot.store(token, now, Still(), blob=b"new", header=head, keep=50.0) is stored
    assert (slot.blob, slot.header) == ((b"new", head) if stored else (b"", None))
    assert slot.token == (b"a" if token == b"b" else None), "its own lease is over either way"
    if stored:
        assert slot.over == now + 50.0
        again = slot.store(token, now, Still(), blob=b"again", header=head, keep=50.0)
        assert not again


def test_without_a_lease_no_token_stores() -> None:
    slot = Slot()
    assert not slot.store(b"a", 1.0, Still(), blob=b"new", header=header(), keep=50.0)


@pytest.mark.parametrize(
    ("head", "found", "stored"),
    [
        (header(), Standing.VALID, True),
        (header(), Standing.EXPIRED, True),
        (header(), Standing.GONE, False),
        (header(epoch=b"another1"), Standing.VALID, False),
        (header(clock=6), Standing.VALID, False),
    ],
)
def test_what_is_gone_already_is_not_stored(head: Header, found: Standing, stored: bool) -> None:
    slot, life = filled(), Still()
    slot.lend(b"a", 10.0, 100.0)
    life.found = found
    assert slot.store(b"a", 101.0, life, blob=b"new", header=head, keep=50.0) is stored
    assert slot.blob == (b"new" if stored else b"blob")


@pytest.mark.parametrize(("held", "stored"), [(99.9, True), (100.0, True), (100.1, False)])
def test_what_was_loaded_during_a_hold_off_of_a_tag_is_not_stored(
    held: float, stored: bool
) -> None:
    slot, life = Slot(), Still()
    slot.lend(b"a", 10.0, 100.0)
    life.held = held
    assert slot.store(b"a", 105.0, life, blob=b"new", header=header(100.0), keep=9.0) is stored
    assert slot.token is None


def test_a_claim_deletes_and_takes_the_lease() -> None:
    slot = filled()
    slot.invalidate(100.0, 0.0, soft=True)
    slot.lend(b"a", 10.0, 100.0)
    slot.claim(b"b", 5.0, 101.0)
    assert (slot.blob, slot.header, slot.expired, slot.ends) == (b"", None, False, 0.0)
    assert (slot.token, slot.until) == (b"b", 106.0)
    assert not slot.store(b"a", 101.0, Still(), blob=b"old", header=header(), keep=9.0)
    assert slot.store(b"b", 101.0, Still(), blob=b"new", header=header(), keep=9.0)


def test_a_delete_takes_everything_with_it() -> None:
    slot = filled()
    slot.lend(b"a", 10.0, 100.0)
    slot.invalidate(101.0, 0.0, soft=False)
    assert (slot.blob, slot.header, slot.token, slot.until) == (b"", None, None, 0.0)
    assert slot.look(101.0, Still()) == NOTHING
    assert slot.over == 101.0


def test_an_expiry_leaves_the_blob_until_there_is_another() -> None:
    slot = filled()
    slot.lend(b"a", 10.0, 100.0)
    slot.invalidate(101.0, 0.0, soft=True)
    assert slot.look(101.0, Still()) == Look(there=True, expired=True, due=True)
    assert slot.token is None
    slot.lend(b"b", 10.0, 101.0)
    assert slot.store(b"b", 101.0, Still(), blob=b"new", header=header(101.0), keep=9.0)
    assert slot.look(101.0, Still()) == Look(there=True, expired=False, due=False)


def test_a_hold_off_ends_when_the_longest_does() -> None:
    slot = Slot()
    slot.invalidate(100.0, 10.0, soft=False)
    slot.invalidate(101.0, 2.0, soft=True)
    slot.invalidate(102.0, 0.0, soft=False)
    assert (slot.held, slot.over) == (110.0, 110.0)
    assert not slot.lend(b"a", 1.0, 109.99)
    assert slot.lend(b"a", 1.0, 110.0)


def test_during_a_hold_off_no_claim_stores() -> None:
    for now, stored in ((109.99, False), (110.0, True)):
        slot = Slot()
        slot.invalidate(100.0, 10.0, soft=False)
        slot.claim(b"a", 50.0, 101.0)
        assert slot.store(b"a", now, Still(), blob=b"new", header=header(), keep=9.0) is stored


class Model(RuleBasedStateMachine):
    """Never two leases at once, and nothing from before a deletion."""

    def __init__(self) -> None:
        super().__init__()
        self.slot, self.now = Slot(), 100.0
        self.deleted = -1.0
        self.leases: dict[bytes, tuple[float, float]] = {}  # since when, until when
        self.count = 0

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 3.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(lease=st.sampled_from([0.5, 2.0]), claims=st.booleans())
    def begin(self, lease: float, claims: bool) -> None:
        self.count += 1
        token = b"%d" % self.count
        free = all(until <= self.now for _, until in self.leases.values())
        if claims:
            self.slot.claim(token, lease, self.now)
            self.deleted, self.leases = self.now, {}
        elif not self.slot.lend(token, lease, self.now):
            assert not free or self.now < self.slot.held
            return
        else:
            assert free
        self.leases[token] = self.now, self.now + lease

    @rule(keep=st.sampled_from([1.0, 30.0]), nth=st.integers(1, 30))
    def store(self, keep: float, nth: int) -> None:
        token = b"%d" % nth
        since, until = self.leases.pop(token, (self.now, self.now))
        stored = self.slot.store(
            token, self.now, Still(), blob=token, header=header(since), keep=keep
        )
        assert stored == (since < until and self.now < until and self.now >= self.slot.held)

    @rule(hold=st.sampled_from([0.0, 1.0]), soft=st.booleans())
    def invalidate(self, hold: float, soft: bool) -> None:
        self.slot.invalidate(self.now, hold, soft=soft)
        self.leases = {}
        if not soft:
            self.deleted = self.now

    @invariant()
    def nothing_is_served_from_before_a_deletion(self) -> None:
        if self.slot.look(self.now, Still()).there:
            assert self.slot.header is not None
            assert self.slot.header.mark.now >= self.deleted


TestModel = Model.TestCase
