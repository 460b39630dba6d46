"""What happens to a flight when those who should take it over are no longer there."""

from __future__ import annotations

from escala.caching.pure.flight import Part
from escala.http.pure.asked import NOTHING_ASKED
from escala.http.shared_answers import Lead, SharedAnswers, Wait


class Place:
    """A parker that is woken, or whose event loop has ended."""

    def __init__(self, *, alive: bool) -> None:
        self.alive = alive
        self.woken = 0

    async def park(self, timeout: float | None = None) -> bool:
        return True

    def unpark(self) -> bool:
        self.woken += 1
        return self.alive


def crowd(*alive: bool) -> tuple[SharedAnswers, Lead, list[Wait], list[Place]]:
    shared = SharedAnswers(100_000)
    places = [Place(alive=here) for here in alive]
    coming = iter(places)

    def plan() -> object:
        return shared.plan(b"k", NOTHING_ASKED, [], now=0, joins=True, place=lambda: next(coming))

    first = plan()
    assert isinstance(first, Lead)
    waits = [plan() for _ in places]
    assert all(isinstance(wait, Wait) for wait in waits)
    return shared, first, waits, places  # type: ignore[return-value]


def test_the_first_one_who_is_still_there_leads() -> None:
    shared, lead, waits, places = crowd(False, False, True, True)
    shared.hand_over(lead.flight)
    assert [place.woken for place in places] == [1, 1, 1, 0]
    assert waits[2].seat.part is Part.LEAD
    assert waits[3].seat.part is Part.WAIT
    assert shared.snapshot()["loading"] == 1


def test_a_flight_that_no_one_can_lead_ends() -> None:
    shared, lead, _, _ = crowd(False, False)
    shared.hand_over(lead.flight)
    assert shared.snapshot()["loading"] == 0


def test_a_new_leader_that_leaves_at_once_hands_over() -> None:
    shared, lead, waits, places = crowd(True, False, True)
    shared.hand_over(lead.flight)
    shared.leave(lead.flight, waits[0].seat)
    assert [place.woken for place in places] == [1, 1, 1]
    assert shared.snapshot()["loading"] == 1
    assert waits[2].seat.part is Part.LEAD
    shared.leave(lead.flight, waits[2].seat)
    assert shared.snapshot()["loading"] == 0


def test_a_waiter_that_leaves_ends_no_flight() -> None:
    shared, lead, waits, _ = crowd(True)
    shared.leave(lead.flight, waits[0].seat)
    assert shared.snapshot()["loading"] == 1
