from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from escala.caching.pure.flight import Flight, Part, Seat


def test_all_who_wait_get_the_result() -> None:
    flight: Flight[str, str, str] = Flight(b"k", "v")
    seats = [flight.join(place) for place in "abc"]
    assert len(flight) == 3
    assert flight.land("result") == seats
    assert flight.result == "result"
    assert [seat.part for seat in seats] == [Part.TAKE] * 3
    assert len(flight) == 0


def test_the_one_who_waited_longest_takes_over() -> None:
    flight: Flight[str, str, str] = Flight(b"k", "v")
    first, second = flight.join("a"), flight.join("b")
    assert flight.hand_over() is first
    assert (first.part, second.part) == (Part.LEAD, Part.WAIT)
    assert flight.hand_over() is second
    assert flight.hand_over() is None


def test_a_waiter_that_leaves_disturbs_no_one() -> None:
    flight: Flight[str, str, str] = Flight(b"k", "v")
    first, second = flight.join("a"), flight.join("b")
    assert flight.leave(first) is None
    assert flight.leave(first) is None
    assert flight.land("r") == [second]
    assert flight.leave(second) is None
    assert second.part is Part.TAKE


def test_a_new_leader_that_leaves_hands_over_again() -> None:
    flight: Flight[str, str, str] = Flight(b"k", "v")
    first, second = flight.join("a"), flight.join("b")
    flight.hand_over()
    assert flight.leave(first) is second
    assert second.part is Part.LEAD
    assert flight.leave(second) is None


class FlightModel(RuleBasedStateMachine):
    """Any order of joining, leaving, handing over and landing: one leader, and no one forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.flight: Flight[str, int, str] = Flight(b"k", "v")
        self.waiting: list[Seat[int]] = []
        self.leader: Seat[int] | None = None
        self.led = True  # by the one who took off, who has no seat
        self.landed = False

    @precondition(lambda self: self.landed or not self.led)
    @rule()
    def take_off(self) -> None:
        assert not self.waiting
        self.flight, self.leader = Flight(b"k", "v"), None
        self.led, self.landed = True, False

    @precondition(lambda self: self.led and not self.landed)
    @rule()
    def join(self) -> None:
        self.waiting.append(self.flight.join(0))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        seat = data.draw(st.sampled_from(self.waiting))
        assert self.flight.leave(seat) is None
        self.waiting.remove(seat)

    @precondition(lambda self: self.led and not self.landed)
    @rule(as_waiter=st.booleans())
    def leader_goes(self, as_waiter: bool) -> None:
        if as_waiter and self.leader is not None:
            following = self.flight.leave(self.leader)
        else:
            following = self.flight.hand_over()
        assert following is (self.waiting[0] if self.waiting else None)
        self.leader, self.led = following, following is not None
        del self.waiting[:1]

    @precondition(lambda self: self.led and not self.landed)
    @rule()
    def land(self) -> None:
        seats, self.waiting = self.waiting, []
        assert self.flight.land("result") == seats
        assert all(seat.part is Part.TAKE for seat in seats)
        self.landed = True

    @invariant()
    def those_who_wait_are_known(self) -> None:
        assert len(self.flight) == len(self.waiting)
        assert all(seat.part is Part.WAIT for seat in self.waiting)
        if self.leader is not None:
            assert self.leader.part is Part.LEAD


TestFlightModel = FlightModel.TestCase
TestFlightModel.settings = settings(max_examples=100, stateful_step_count=30)
